"""What Azure is asked for, for a job: calls of its resource manager as values. Pure.

Fields: Virtual Machine Scale Sets, Create Or Update, in the REST API reference. `problems` has what
the real thing refuses beyond its schema, each with its source.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from perdure.clouds.provider import Group
from perdure.clouds.rest import Call
from perdure.clouds.side.tokens import SCALE_SETS
from perdure.model.settings import CloudSettings

Values = dict[str, Any]

# Tags of everything that is made; the value is the project's folder in the bucket.
TAG = "perdure"
JOB_TAG = "perdure-job"
VERSION = {"api-version": SCALE_SETS}
# "Ubuntu images on Azure" in Canonical's documentation. The one with NVIDIA's driver as its
# builders name it, github.com/Azure/azhpc-images; that of 22.04 has too old a Python.
CPU_IMAGE = "Canonical:ubuntu-24_04-lts:server:latest"
GPU_IMAGE = "microsoft-dsvm:ubuntu-hpc:2404:latest"
NETWORK, IDENTITY, USER = "perdure", "perdure-instance", "perdure"
# "Custom data and cloud-init", FAQ: 64 KB in raw form.
CUSTOM_DATA_BYTES = 64 << 10
_PLAIN = 30


def group_name(folder: str, job: str, turn: int) -> str:
    """Return the name of a scale set: at most 64 letters, digits and `-`."""
    digest = hashlib.sha256(f"{folder}\0{job}".encode()).hexdigest()[:8]
    plain = re.sub(r"[^a-z0-9]+", "-", job.lower())[:_PLAIN].strip("-")
    return f"perdure-{plain}-{digest}-{turn}" if plain else f"perdure-{digest}-{turn}"


def tag_of(folder: str) -> str:
    """Return a folder's address as a tag can hold it: 256 letters."""
    digest = hashlib.sha256(folder.encode()).hexdigest()
    return folder if len(folder) <= 256 else f"{folder[:190]}-{digest}"


def resources(wanted: CloudSettings) -> str:
    """Return where the things of a resource group are."""
    return f"/subscriptions/{wanted.subscription}/resourceGroups/{wanted.group}/providers"


def sets_path(wanted: CloudSettings) -> str:
    """Return where the scale sets are."""
    return f"{resources(wanted)}/Microsoft.Compute/virtualMachineScaleSets"


def scale_set(wanted: CloudSettings, group: Group) -> Call:
    """Return the call that makes a flexible scale set of one machine."""
    is_mixed = len(wanted.types) > 1
    identity = f"{resources(wanted)}/Microsoft.ManagedIdentity/userAssignedIdentities/"
    body: Values = {
        "location": wanted.region,
        "tags": {TAG: tag_of(group.folder), JOB_TAG: group.job},
        "sku": {"name": "Mix" if is_mixed else wanted.types[0], "capacity": 1},
        "identity": {
            "type": "UserAssigned",
            "userAssignedIdentities": {f"{identity}{wanted.profile}": {}},
        },
        "properties": {
            "orchestrationMode": "Flexible",
            "platformFaultDomainCount": 1,
            "singlePlacementGroup": False,
            "virtualMachineProfile": _machine(wanted, group),
        },
    }
    if is_mixed:
        sizes = [{"name": each} for each in wanted.types]
        chosen = {"vmSizes": sizes, "allocationStrategy": "CapacityOptimized"}
        body["properties"]["skuProfile"] = chosen
    if wanted.market == "spot":
        # "Try & Restore": not in virtualMachineProfile, where a sample has it.
        body["properties"]["spotRestorePolicy"] = {"enabled": True, "restoreTimeout": "PT24H"}
    return Call("PUT", f"{sets_path(wanted)}/{group.name}", body, VERSION)


def capacity(wanted: CloudSettings, name: str, sku: Values, count: int) -> Call:
    """Return the call that gives a scale set so many machines. `sku` is as it is."""
    body = {"sku": {**sku, "capacity": count}}
    return Call("PATCH", f"{sets_path(wanted)}/{name}", body, VERSION)


def deletion(wanted: CloudSettings, name: str) -> Call:
    """Return the call that deletes a scale set with its machines, whatever they are at."""
    return Call("DELETE", f"{sets_path(wanted)}/{name}", None, {**VERSION, "forceDeletion": "true"})


def words(call: Call) -> str:
    """Return a call as `az rest` takes it, with the user's own credentials."""
    parts = ["az", "rest", "--method", call.method.lower(), "--url", shlex.quote(call.url)]
    if call.body is not None:
        parts += ["--body", shlex.quote(json.dumps(call.body, indent=1))]
    return " ".join(parts)


def problems(call: Call) -> list[str]:
    """Return what Azure would refuse, or what would cost somebody money."""
    body = call.body or {}
    return list(_problems(call, body)) if "virtualMachineScaleSets" in call.path and body else []


def nobodys_key(name: str) -> str:
    """Return a public key whose private one nobody has.

    Linux machines need a password or a key; a point that a digest names (RFC 8032) lets nobody in.
    """
    kind, point = b"ssh-ed25519", hashlib.sha256(f"perdure\0{name}".encode()).digest()
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (kind, point))
    return f"{kind.decode()} {base64.b64encode(blob).decode()} nobody"


def image_of(wanted: CloudSettings, gpus: int) -> Values:
    """Return the reference of the image of a machine."""
    named = wanted.image or (GPU_IMAGE if gpus else CPU_IMAGE)
    if named.startswith("/"):
        return {"id": named}
    return dict(zip(("publisher", "offer", "sku", "version"), named.split(":"), strict=True))


def _machine(wanted: CloudSettings, group: Group) -> Values:
    machine: Values = {
        "osProfile": _system(group),
        "storageProfile": {
            "imageReference": image_of(wanted, group.gpus),
            "osDisk": {
                "createOption": "FromImage",
                "deleteOption": "Delete",
                "diskSizeGB": wanted.disk_gib,
                "managedDisk": {"storageAccountType": "StandardSSD_LRS"},
            },
        },
        "networkProfile": _network(wanted),
        "scheduledEventsProfile": {
            "terminateNotificationProfile": {"enable": True, "notBeforeTimeout": "PT5M"}
        },
    }
    if wanted.market != "spot":
        return {"priority": "Regular", **machine}
    spot = {"priority": "Spot", "evictionPolicy": "Delete", "billingProfile": {"maxPrice": -1}}
    return {**spot, **machine}


def _system(group: Group) -> Values:
    home = f"/home/{USER}/.ssh/authorized_keys"
    keys = [{"path": home, "keyData": nobodys_key(group.name)}]
    return {
        "computerNamePrefix": "perdure",
        "adminUsername": USER,
        "customData": base64.b64encode(group.user_data.encode()).decode(),
        "linuxConfiguration": {
            "disablePasswordAuthentication": True,
            "ssh": {"publicKeys": keys},
        },
    }


def _network(wanted: CloudSettings) -> Values:
    usual = f"{resources(wanted)}/Microsoft.Network/virtualNetworks/{NETWORK}/subnets/{NETWORK}"
    subnet = wanted.subnets[0] if wanted.subnets else usual
    outside = {"name": "outside", "properties": {"deleteOption": "Delete"}}
    inner = {
        "name": "inner",
        "properties": {
            "primary": True,
            "subnet": {"id": subnet},
            "publicIPAddressConfiguration": {**outside, "sku": {"name": "Standard"}},
        },
    }
    return {
        # "Flexible orchestration": the version of the network's API has to be named.
        "networkApiVersion": "2022-11-01",
        "networkInterfaceConfigurations": [
            {
                "name": "inner",
                "properties": {
                    "primary": True,
                    "deleteOption": "Delete",
                    "ipConfigurations": [inner],
                },
            }
        ],
    }


def _problems(call: Call, body: Values) -> Iterator[str]:
    name = call.path.rpartition("/")[2]
    # "Naming rules and restrictions for Azure resources".
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}[A-Za-z0-9_]", name):
        yield f"`{name}` is no name of a scale set"
    if body["sku"]["capacity"] > 1:
        yield "a job has one machine at most"
    properties: Values = body.get("properties", {})
    machine: Values = properties.get("virtualMachineProfile", {})
    raw = base64.b64decode(machine.get("osProfile", {}).get("customData", ""))
    if len(raw) > CUSTOM_DATA_BYTES:
        yield f"the user-data has {len(raw)} bytes, more than {CUSTOM_DATA_BYTES}"
    # "Spot Priority Mix and Try & Restore": the policy is the set's, not its machines'.
    if "spotRestorePolicy" in machine:
        yield "spotRestorePolicy stands in the machines' profile, where it is passed over"
    is_spot = machine.get("priority") == "Spot"
    if machine and is_spot and machine.get("evictionPolicy") != "Delete":
        yield "a machine that was taken away would be kept, and its disk paid for"
    if machine and not is_spot and "evictionPolicy" in machine:
        yield "only spot machines are evicted"
    # "Instance mix": 1 to 5 sizes, and then the set's own is called Mix.
    sizes = properties.get("skuProfile", {}).get("vmSizes", [])
    if ((body["sku"].get("name") == "Mix") != bool(sizes) and machine) or len(sizes) > 5:
        yield f"{len(sizes)} sizes: one, or between 2 and 5 as a mix"
    yield from _tag_problems(body.get("tags", {}))


def _tag_problems(tags: dict[str, str]) -> Iterator[str]:
    for key, value in tags.items():
        # "Use tags to organize your Azure resources", limitations.
        if re.search(r"[<>%&\\?/]", key) or len(key) > 512 or len(value) > 256:
            yield f"`{key}` = `{value}` is no tag"
