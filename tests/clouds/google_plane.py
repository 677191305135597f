"""GCP's managed instance groups with the documented life of one of size 1, and no more.

Permissions are those that each method's page of the Compute Engine API names.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.message import Message
from typing import ClassVar

from perdure.clouds import gcp_setup
from perdure.clouds.commanding import Command
from perdure.model.settings import CloudSettings
from tests.clouds import google_prices
from tests.clouds.planes import (
    GONE,
    MACHINE,
    USER,
    Answer,
    Plane,
    Right,
    Values,
    address,
    close,
    serve,
)

_HANG_S = 0.05
_VERBS = {"POST": "create", "DELETE": "delete", "GET": "get"}


def bound(commands: Iterable[Command]) -> set[str]:
    """Return what `gcloud` lets a service account do with managed instance groups of a project.

    "Resource attributes for IAM Conditions": of these a condition knows neither type nor name, so
    that one which asks for them is never met.
    """
    roles: dict[str, set[str]] = {}
    found: set[str] = set()
    for each in commands:
        words = [str(word) for word in each]
        given = dict(itertools.pairwise(words))
        if words[1:4] == ["iam", "roles", "create"]:
            roles[words[4]] = {*given["--permissions"].split(",")}
        elif words[1:3] == ["projects", "add-iam-policy-binding"] and "--condition=None" in words:
            found |= roles[given["--role"].rpartition("/")[2]]
    return found


@dataclass
class GooglePlane(Plane):
    """Instance templates, regional managed instance groups, and instances."""

    templates: dict[str, Values] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)
    firewalls: dict[str, Values] = field(default_factory=dict)
    TYPES: ClassVar[dict[str, int]] = {"e2-standard-4": 0, "e2-standard-8": 0, "g2-standard-4": 1}
    region: str = "europe-west4"
    project: str = "my-project"
    #: Of processors of spot machines, and of others.
    limits: tuple[int, int] = (8, 4)

    @property
    def user(self) -> dict[str, str]:
        """Return the variables of a user: a machine of Google's that may do all."""
        self.home = serve(lambda *asked: self.metadata("", *asked))
        base = f"http://{address(self.server)}"
        return {
            "GCE_METADATA_HOST": address(self.home),
            "GCE_METADATA_IP": address(self.home),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{base}/compute/v1/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": f"{base}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING": f"{base}/",
            "GOOGLE_CLOUD_PROJECT": self.project,
        }

    def wants(self, group: Values | None) -> bool:
        return group is not None and int(group["targetSize"]) > 0

    def made_of(self, group: Values) -> tuple[str, dict[str, str]]:
        properties = self.templates[group["instanceTemplate"].rpartition("/")[2]]["properties"]
        items = {each["key"]: each["value"] for each in properties["metadata"]["items"]}
        return items["user-data"], {**properties["labels"], "perdure-job": items["perdure-job"]}

    def variables(self, metadata: str) -> dict[str, str]:
        base = f"http://{address(self.server)}/compute/v1/"
        return {"GCE_METADATA_HOST": metadata, "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": base}

    def granted(self) -> set[Right]:
        return {("project", each) for each in gcp_setup.IN_PROJECT}

    def granted_to_machines(self) -> set[Right]:
        types = ("e2-standard-4",)
        wanted = CloudSettings(self.region, "gs://lab/perdure", types, project=self.project)
        return {("project", each) for each in bound(gcp_setup.setup_commands(wanted))}

    def needed(self, method: str, path: str) -> list[Right]:
        words = path.removeprefix(f"/compute/v1/projects/{self.project}/").split("/")
        if path.startswith("/v1/"):
            return []  # the list of prices, and one's own permissions
        if words[0] == "aggregated":
            return [("project", f"compute.{words[1]}.list")]
        if words[0] == "regions" and len(words) == 2:
            return [("project", "compute.regions.get")]
        scope = {"global": "global", "regions": "region", "zones": "zone"}[words[0]]
        kind, *name = words[1:] if scope == "global" else words[2:]
        if kind == "operations":
            return [("project", f"compute.{scope}Operations.get")]
        verb = "update" if name[1:] == ["resize"] else _VERBS[method]
        if verb == "get" and not name:
            verb = "list"
        found = [f"compute.{kind}.{verb}"]
        if (kind, verb) == ("instanceGroupManagers", "create"):
            found += ["compute.instanceTemplates.useReadOnly", "compute.instances.create"]
        return [("project", each) for each in found]

    def metadata(
        self,
        machine: str,
        method: str,
        path: str,
        query: Values,
        headers: Message,
        body: Values,
    ) -> Answer:
        if headers.get("Metadata-Flavor") != "Google":
            return 403, "no flavour"
        name = path.removeprefix("/computeMetadata/v1/").strip("/")
        if name.endswith("/token"):
            token = MACHINE if machine else USER
            return 200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}
        if name.startswith("instance/service-accounts/"):
            return 200, {"email": "someone@my-project", "scopes": ["a"], "aliases": ["default"]}
        if name == "instance/preempted":
            return self._preempted(machine, query)
        if name == "instance/attributes":
            text, _ = self.made_of(self.groups[machine.rpartition("-")[0]])
            return 200, {"user-data": text}
        words = self._words(machine)
        return (200, words[name]) if name in words else GONE

    def _words(self, machine: str) -> dict[str, str]:
        return {
            "": "0.1/",
            # Of these cloud-init wants to know.
            "instance/zone": f"projects/1/zones/{self.region}-a",
            "instance/hostname": f"{machine}.c.{self.project}.internal",
            "instance/id": machine,
            "instance/machine-type": "projects/1/machineTypes/e2-standard-4",
            "instance/network-interfaces/0/access-configs/0/external-ip": "127.0.0.1",
            "instance/network-interfaces/0/ip": "10.164.0.2",
            "project/project-id": self.project,
        }

    def _preempted(self, machine: str, query: Values) -> Answer:
        until = time.monotonic() + float(query.get("timeout_sec", 0))
        while True:
            found = self.alive.get(machine)
            told = "TRUE" if found is not None and found.told else "FALSE"
            if told != query.get("last_etag") or time.monotonic() > until or found is None:
                return 200, told
            time.sleep(_HANG_S)

    def called(self, method: str, path: str, query: Values, body: Values) -> Answer:
        if path.endswith(":testIamPermissions"):
            asked = body["permissions"]
            return 200, {"permissions": [each for each in asked if ("project", each) in self.may]}
        if path == google_prices.PATH:
            return 200, google_prices.page(query.get("pageToken", ""))
        inner = path.removeprefix(f"/compute/v1/projects/{self.project}/")
        if "/operations/" in inner:
            return 200, self._operation(inner)
        if inner.startswith("aggregated/"):
            return self._aggregated(inner, query)
        if inner == f"regions/{self.region}":
            quotas = [{"metric": "PREEMPTIBLE_CPUS", "limit": self.limits[0], "usage": 0}]
            ordinary = {"metric": "CPUS", "limit": self.limits[1], "usage": self.limits[1]}
            return 200, {"quotas": [*quotas, ordinary]}
        if "/instances/" in inner:
            return 200, self._begun(inner)
        if inner.startswith("global/firewalls/"):
            rule = self.firewalls.get(inner.rpartition("/")[2])
            return GONE if rule is None else (200, rule)
        return self._kept(method, inner, query, body)

    def _aggregated(self, inner: str, query: Values) -> Answer:
        if inner == "aggregated/machineTypes":
            return self._machine_types(query["filter"].removeprefix("name="))
        return 200, {"items": {f"zones/{self.region}-a": {"instances": self._instances(query)}}}

    def _kept(self, method: str, inner: str, query: Values, body: Values) -> Answer:
        groups = f"regions/{self.region}/instanceGroupManagers"
        kind = self.templates if inner.startswith("global/instanceTemplates") else self.groups
        name = inner.removeprefix("global/instanceTemplates").removeprefix(groups).strip("/")
        if not name and method == "GET":
            return 200, {"items": list(kind.values())}
        if not name:
            if body["name"] in kind:
                return 409, {"error": {"code": 409, "message": "The resource already exists"}}
            kind[body["name"]] = body
            return 200, self._begun(inner)
        name, _, verb = name.partition("/")
        if name not in kind:
            return GONE
        if verb == "resize":
            kind[name]["targetSize"] = int(query["size"])
        elif method == "DELETE":
            in_use = [g for g in self.groups.values() if g["instanceTemplate"].endswith(name)]
            if kind is self.templates and in_use:
                return 400, {"error": {"code": 400, "message": "The resource is being used"}}
            del kind[name]
        return 200, self._begun(inner)

    def _begun(self, inner: str) -> Values:
        """Return an operation, which is where its resource is: global, of a region or a zone."""
        words = inner.split("/")
        scope = "global" if words[0] == "global" else "/".join(words[:2])
        path = f"{scope}/operations/operation-{len(self.operations)}"
        self.operations[path] = 1
        return {"status": "RUNNING", "selfLink": self._link(path)}

    def _operation(self, path: str) -> Values:
        self.operations[path] -= 1
        status = "RUNNING" if self.operations[path] > 0 else "DONE"
        return {"status": status, "selfLink": self._link(path)}

    def _link(self, path: str) -> str:
        return f"https://www.googleapis.com/compute/v1/projects/{self.project}/{path}"

    def _machine_types(self, name: str) -> Answer:
        if name not in self.TYPES:
            return 200, {"items": {f"zones/{self.region}-a": {"warning": {"code": "NO_RESULTS"}}}}
        guests = [{"guestAcceleratorType": "nvidia-l4", "guestAcceleratorCount": self.TYPES[name]}]
        cpus = int(name.rpartition("-")[2])
        found = {"name": name, "guestCpus": cpus, "memoryMb": cpus * 4096, "isSharedCpu": False}
        found["accelerators"] = guests if self.TYPES[name] else []
        return 200, {"items": {f"zones/{self.region}-a": {"machineTypes": [found]}}}

    def _instances(self, query: Values) -> list[Values]:
        key, _, value = query["filter"].removeprefix("labels.").partition("=")
        return [
            {
                "name": each.name,
                "metadata": {"items": [{"key": "perdure-job", "value": each.tags["perdure-job"]}]},
            }
            for each in self.alive.values()
            if each.tags.get(key) == value
        ]

    def close(self) -> None:
        super().close()
        if hasattr(self, "home"):
            close(self.home)
