"""What GCP is asked for, for a job: calls of the Compute Engine API as values. Pure.

Fields: Compute Engine API, v1, instanceTemplates and regionInstanceGroupManagers. `problems` has
what the real thing refuses beyond its schema, each with its source.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from perdure.clouds.provider import Group
from perdure.clouds.rest import Call
from perdure.clouds.side.order import BEYOND_S
from perdure.model.settings import CloudSettings

Values = dict[str, Any]

LABEL = "perdure"
JOB_KEY = "perdure-job"
# "Ubuntu images" and "Ubuntu Accelerator images" in Canonical's documentation for Google Cloud.
CPU_IMAGE = "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64"
GPU_IMAGE = (
    "projects/ubuntu-os-accelerator-images/global/images/family/"
    "ubuntu-accelerator-2404-amd64-with-nvidia-570"
)
# "Create and use Spot VMs": at most 120 s between notice and end.
NOTICE_S = 120
# "Setting custom metadata", limits: 256 KB for a value.
_METADATA_BYTES = 256 << 10
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_PLAIN = 30


def group_name(folder: str, job: str, turn: int) -> str:
    """Return the name of group and template: RFC 1035, as all of GCP's."""
    digest = hashlib.sha256(f"{folder}\0{job}".encode()).hexdigest()[:8]
    plain = re.sub(r"[^a-z0-9]+", "-", job.lower())[:_PLAIN].strip("-")
    return f"perdure-{plain}-{digest}-{turn}" if plain else f"perdure-{digest}-{turn}"


def label_of(folder: str) -> str:
    """Return what stands for a project's folder in labels, which hold few letters."""
    return hashlib.sha256(folder.encode()).hexdigest()[:16]


def template(wanted: CloudSettings, group: Group) -> Call:
    """Return the call of instanceTemplates.insert."""
    body = {
        "name": group.name,
        "description": told(group.folder, group.job),
        "properties": _machine(wanted, group),
    }
    return Call("POST", f"projects/{wanted.project}/global/instanceTemplates", body)


def manager(wanted: CloudSettings, group: Group) -> Call:
    """Return the call of regionInstanceGroupManagers.insert: one machine, in any zone."""
    body: Values = {
        "name": group.name,
        "baseInstanceName": group.name[:54].rstrip("-"),
        "description": told(group.folder, group.job),
        "instanceTemplate": f"projects/{wanted.project}/global/instanceTemplates/{group.name}",
        "targetSize": 1,
        # One machine is in one zone: wherever there is capacity.
        "distributionPolicy": {"targetShape": "ANY"},
        # "Limitations" of that shape: redistribution has to be off.
        "updatePolicy": {
            "type": "OPPORTUNISTIC",
            "instanceRedistributionType": "NONE",
            "maxSurge": {"fixed": 0},
            "maxUnavailable": {"fixed": 10},
        },
    }
    if len(wanted.types) > 1:
        chosen = {"any": {"machineTypes": list(wanted.types)}}
        body["instanceFlexibilityPolicy"] = {"instanceSelections": chosen}
    return Call("POST", groups_path(wanted), body)


def starting(wanted: CloudSettings, group: Group) -> tuple[Call, ...]:
    """Return what starts a job's turn, in order."""
    return template(wanted, group), manager(wanted, group)


def resize(wanted: CloudSettings, name: str, size: int) -> Call:
    """Return the call that gives a group so many machines."""
    return Call("POST", f"{groups_path(wanted)}/{name}/resize", None, {"size": str(size)})


def groups_path(wanted: CloudSettings) -> str:
    """Return where the managed instance groups of a region are."""
    return f"projects/{wanted.project}/regions/{wanted.region}/instanceGroupManagers"


def rule(wanted: CloudSettings, name: str) -> Call:
    """Return the call of firewalls.get."""
    return Call("GET", f"projects/{wanted.project}/global/firewalls/{name}")


def told(folder: str, job: str) -> str:
    """Return a description that says whose something is: groups have no labels."""
    return json.dumps({LABEL: folder, JOB_KEY: job})


def whose(description: object) -> tuple[str, str]:
    """Return folder and job that a description tells of, "" where it tells of none."""
    try:
        found = json.loads(str(description))
        return str(found[LABEL]), str(found[JOB_KEY])
    except (ValueError, KeyError, TypeError):
        return "", ""


def words(call: Call, base: str) -> str:
    """Return a call as a shell would take it, with the user's own credentials."""
    header = '"Authorization: Bearer $(gcloud auth print-access-token)"'
    parts = ["curl", "-sS", "-X", call.method, f"-H {header}", shlex.quote(base + call.url)]
    if call.body is not None:
        text = shlex.quote(json.dumps(call.body, indent=1))
        parts[4:4] = ["-H 'Content-Type: application/json'", f"-d {text}"]
    return " ".join(parts)


def problems(call: Call) -> list[str]:
    """Return what GCP would refuse, or what would cost somebody money."""
    body = call.body or {}
    if "instanceTemplates" in call.path:
        return list(_template_problems(body))
    return list(_manager_problems(body)) if "targetSize" in body else []


def _machine(wanted: CloudSettings, group: Group) -> Values:
    image = wanted.image or (GPU_IMAGE if group.gpus else CPU_IMAGE)
    disk = {"sourceImage": image, "diskSizeGb": str(wanted.disk_gib), "diskType": "pd-balanced"}
    labels = {LABEL: label_of(group.folder)}
    outside = {"name": "outside", "type": "ONE_TO_ONE_NAT"}
    network = {"subnetwork": wanted.subnets[0]} if wanted.subnets else {}
    items = {
        "user-data": group.user_data,
        JOB_KEY: group.job,
        "block-project-ssh-keys": "true",
        # Nobody is let in who is not let in by name.
        "enable-oslogin": "TRUE",
    }
    return {
        "machineType": wanted.types[0],
        "disks": [
            {"boot": True, "autoDelete": True, "initializeParams": {**disk, "labels": labels}}
        ],
        "networkInterfaces": [
            {**(network or {"network": "global/networks/default"}), "accessConfigs": [outside]}
        ],
        "serviceAccounts": [{"email": account_of(wanted), "scopes": [_SCOPE]}],
        "scheduling": _scheduling(wanted),
        "metadata": {"items": [{"key": name, "value": each} for name, each in items.items()]},
        "labels": labels,
        "shieldedInstanceConfig": {"enableVtpm": True, "enableIntegrityMonitoring": True},
    }


def _scheduling(wanted: CloudSettings) -> Values:
    # Of each machine: the job's own end is in its order, which each machine reads.
    limit = {"maxRunDuration": {"seconds": str(int(wanted.max_hours * 3600) + BEYOND_S)}}
    common = {"onHostMaintenance": "TERMINATE", "automaticRestart": False, **limit}
    common["instanceTerminationAction"] = "DELETE"
    if wanted.market == "spot":
        notice = {"preemptionNoticeDuration": {"seconds": str(NOTICE_S)}}
        return {"provisioningModel": "SPOT", **common, **notice}
    return {"provisioningModel": "STANDARD", **common}


def account_of(wanted: CloudSettings) -> str:
    """Return the service account of the machines."""
    if "@" in wanted.profile:
        return wanted.profile
    return f"{wanted.profile}@{wanted.project}.iam.gserviceaccount.com"


def _template_problems(body: Values) -> Iterator[str]:
    yield from _name_problems(body["name"])
    properties: Values = body["properties"]
    for each in properties["metadata"]["items"]:
        if len(each["value"].encode()) > _METADATA_BYTES:
            yield f"`{each['key']}` has more than {_METADATA_BYTES} bytes"
    yield from _scheduling_problems(properties["scheduling"])
    for name, value in properties.get("labels", {}).items():
        # "Labeling resources", requirements.
        is_name = re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name)
        if not is_name or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            yield f"`{name}` = `{value}` is no label"


def _scheduling_problems(scheduling: Values) -> Iterator[str]:
    # "Spot VMs", API: neither live migration nor an automatic restart.
    if scheduling["provisioningModel"] == "SPOT":
        if scheduling.get("automaticRestart") or scheduling.get("onHostMaintenance") == "MIGRATE":
            yield "a spot machine neither restarts by itself nor moves"
        if int(scheduling.get("preemptionNoticeDuration", {}).get("seconds", 0)) > NOTICE_S:
            yield f"more notice than {NOTICE_S} s is not given"
    # "Limit the run time of a VM": between 30 seconds and 120 days, and then something is done.
    seconds = int(scheduling.get("maxRunDuration", {}).get("seconds", 0))
    if not 30 <= seconds <= 120 * 86400:
        yield f"a limit of {seconds} s: between 30 s and 120 days"
    if scheduling.get("instanceTerminationAction") != "DELETE":
        yield "a machine that was taken away would be kept"


def _manager_problems(body: Values) -> Iterator[str]:
    yield from _name_problems(body["name"])
    if body["targetSize"] > 1:
        yield "a job has one machine at most"
    # "Create a MIG with instance flexibility", limitations.
    shape = body.get("distributionPolicy", {}).get("targetShape", "EVEN")
    if "instanceFlexibilityPolicy" in body and shape == "EVEN":
        yield "several types need another shape than EVEN"
    if shape != "EVEN" and body["updatePolicy"].get("instanceRedistributionType") != "NONE":
        yield "this shape and redistribution exclude each other"


def _name_problems(name: str) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"`{name}` is no name"
