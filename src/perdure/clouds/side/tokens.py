"""GCP and Azure as their machines see them: tokens of the machine's own identity, and one file.

"Authenticate workloads using the metadata server" in GCP's documentation; "How to use managed
identities on a virtual machine to acquire an access token" in Azure's. Standard library only: a
machine begins with nothing else, and this very text is in its user-data.
"""

from __future__ import annotations

import json
import os
import urllib.request
from urllib.parse import quote

LINK_LOCAL = "http://169.254.169.254"
_BLOB_VERSION = "2021-08-06"
COMPUTE = "https://compute.googleapis.com/compute/v1/"
MANAGER = "https://management.azure.com"
SCALE_SETS = "2024-11-01"


def google_metadata(path: str) -> str:
    """Return what GCP's metadata server says of this machine.

    Raises:
        OSError: it does not answer, or has no such word.
    """
    # The name of the variable is that of Google's own libraries.
    other = os.environ.get("GCE_METADATA_HOST")
    base = f"http://{other}" if other else LINK_LOCAL
    url = f"{base}/computeMetadata/v1/{path}"
    return answer("GET", url, {"Metadata-Flavor": "Google"}).decode()


def google_token() -> str:
    """Return a token of the machine's service account. Raises OSError, ValueError: it has none."""
    found = json.loads(google_metadata("instance/service-accounts/default/token"))
    return str(found["access_token"])


def azure_metadata(path: str) -> str:
    """Return what Azure's metadata service says of this machine. Raises as `google_metadata`."""
    # The name of the variable is that of Azure's own libraries.
    base = os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", LINK_LOCAL).rstrip("/")
    return answer("GET", f"{base}/metadata/{path}", {"Metadata": "true"}).decode()


def azure_token(resource: str) -> str:
    """Return a token of the machine's identity for one of Azure's services."""
    asked = f"identity/oauth2/token?api-version=2018-02-01&resource={quote(resource, safe='')}"
    return str(json.loads(azure_metadata(asked))["access_token"])


def fetch_google(bucket: str, key: str) -> bytes:
    """Return an object of Google's storage. Raises OSError, ValueError: it is not to be had."""
    base = os.environ.get("STORAGE_EMULATOR_HOST", "https://storage.googleapis.com").rstrip("/")
    url = f"{base}/storage/v1/b/{bucket}/o/{quote(key, safe='')}?alt=media"
    return answer("GET", url, {"Authorization": f"Bearer {google_token()}"})


def fetch_azure(account: str, container: str, key: str) -> bytes:
    """Return a blob of Azure's storage. Raises OSError, ValueError: it is not to be had."""
    base = f"https://{account}.blob.core.windows.net"
    token = azure_token("https://storage.azure.com/")
    headers = {"Authorization": f"Bearer {token}", "x-ms-version": _BLOB_VERSION}
    return answer("GET", f"{base}/{container}/{quote(key)}", headers)


def compute_base() -> str:
    """Return where Compute Engine is asked, as `gcloud` has it."""
    other = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", COMPUTE)
    return f"{other.rstrip('/')}/"


def manager_base() -> str:
    """Return where Azure's resource manager is asked: clouds of states have another one."""
    return os.environ.get("AZURE_RESOURCE_MANAGER_ENDPOINT", MANAGER).rstrip("/")


def end_google(project: str, region: str, group: str) -> None:
    """Have a group have no machine: `regionInstanceGroupManagers.resize`.

    Raises:
        OSError, ValueError: GCP refuses, or does not answer.
    """
    where = f"projects/{project}/regions/{region}"
    url = f"{compute_base()}{where}/instanceGroupManagers/{group}/resize?size=0"
    answer("POST", url, {"Authorization": f"Bearer {google_token()}"}, b"")


def end_azure(owner: str, group: str) -> None:
    """Have a scale set of a subscription's resource group have no machine: its capacity is 0.

    Raises:
        OSError, ValueError: Azure refuses, or does not answer.
    """
    subscription, _, resources = owner.partition("/")
    where = f"/subscriptions/{subscription}/resourceGroups/{resources}"
    kind = f"{where}/providers/Microsoft.Compute/virtualMachineScaleSets"
    url = f"{manager_base()}{kind}/{group}?api-version={SCALE_SETS}"
    token = azure_token(f"{MANAGER}/")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    # Of a set with several sizes the name of its sku is not a size: all of it goes back.
    found = json.loads(answer("GET", url, headers))
    content = json.dumps({"sku": {**found["sku"], "capacity": 0}}).encode()
    answer("PATCH", url, headers, content)


def answer(
    method: str,
    url: str,
    headers: dict[str, str],
    body: bytes | None = None,
    timeout_s: float = 30.0,
) -> bytes:
    """Return what a server answers. Raises OSError: it refuses, or does not answer."""
    # The caller's own address: http of a link-local service, or https of the provider.
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=timeout_s) as reply:  # noqa: S310
        found: bytes = reply.read()
        return found
