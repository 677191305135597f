"""What SkyPilot is asked for, for a job's turn: a managed job, as its YAML. Pure.

Fields: "Task YAML" in SkyPilot's documentation; `sky/utils/schemas.py` of version 0.14.1.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from perdure.clouds.provider import Group
from perdure.clouds.side import keys
from perdure.clouds.user_data import SKY_KIT
from perdure.model.settings import CloudSettings
from perdure.model.yaml import as_yaml
from perdure.moving.address import parse_address
from perdure.runtime import names

Values = dict[str, Any]

_NAME = re.compile(r"perdure-([0-9a-f]{8})-(\d+)(?:-(.+)|\.([0-9a-f]+))")
# A name of SkyPilot's: one or two `-` at a stretch.
_PLAIN = re.compile(r"[A-Za-z0-9]+(--?[A-Za-z0-9]+)*")


def name_of(folder: str, job: str, turn: int) -> str:
    """Return what the managed job of a job's turn is called."""
    word = f"-{job}" if _PLAIN.fullmatch(job) else f".{job.encode().hex()}"
    return f"perdure-{_digest(folder)}-{turn}{word}"


def job_of(folder: str, name: str) -> str | None:
    """Return the job that a managed job is a turn of, None where it is none of that folder's."""
    found = _NAME.fullmatch(name)
    if found is None or found[1] != _digest(folder):
        return None
    return found[3] or bytes.fromhex(found[4]).decode("utf-8", "replace")


def text(wanted: CloudSettings, group: Group) -> str:
    """Return the YAML of a job's turn: the same bytes for the same wishes."""
    return as_yaml(task(wanted, group))


def task(wanted: CloudSettings, group: Group) -> Values:
    """Return the task of a job's turn, as `sky.Task.from_yaml_config` takes it."""
    made: Values = {"name": group.name, "resources": _resources(wanted, group)}
    kit = kit_url(wanted, group)
    if kit is not None:
        made["file_mounts"] = {SKY_KIT: kit}
    return {**made, "run": group.user_data}


def kit_url(wanted: CloudSettings, group: Group) -> str | None:
    """Return where perdure's own modules are, as SkyPilot names it; None: machines read a folder.

    It is SkyPilot that brings them: a bare machine of any cloud can read none of the others'.
    """
    address = parse_address(group.folder)
    if address.provider == "file":
        return None
    path = f"{address.bucket}/{address.folder}/{keys.kit(group.kit)}"
    if address.provider == "az":
        return f"https://{wanted.account}.blob.core.windows.net/{path}"
    return f"{address.provider}://{path}"


def _resources(wanted: CloudSettings, group: Group) -> Values:
    made: Values = {
        "use_spot": wanted.market == "spot",
        "disk_size": wanted.disk_gib,
        "labels": {"perdure": _digest(group.folder), "perdure-job": group.job},
        # A machine that is to be followed says so; any other end of it is no machine's fault, and
        # how often without progress is counted in the bucket.
        "job_recovery": {
            "recover_on_exit_codes": [names.EXIT_INTERRUPTED],
            "max_restarts_on_errors": wanted.max_restarts,
        },
    }
    if group.cpus is not None:
        made["cpus"] = f"{group.cpus:g}+"
    if group.memory_gib is not None:
        made["memory"] = f"{group.memory_gib:g}+"
    if group.gpus:
        made["accelerators"] = dict.fromkeys(wanted.types, group.gpus)
    if wanted.image is not None:
        made["image_id"] = wanted.image
    if wanted.infra:
        made["any_of"] = [{"infra": each} for each in wanted.infra]
    return made


def _digest(folder: str) -> str:
    return hashlib.sha256(folder.encode()).hexdigest()[:8]
