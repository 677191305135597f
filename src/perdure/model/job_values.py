"""A job and its events as plain values, which another process can be handed, and back. Pure.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perdure.model.job import (
    Code,
    Data,
    EnvironmentUsed,
    Event,
    ImageUsed,
    JobRecord,
    Limits,
    Machine,
    Resources,
    Versions,
)

_TUPLES = ("arguments", "command")


def job_values(record: JobRecord) -> dict[str, Any]:
    """Return a record as values of JSON; `job_of` reads it."""
    image = record.environment.image
    return {
        "results": os.fspath(record.results),
        "job": record.job,
        "task": record.task,
        "arguments": list(record.arguments),
        "submitted": record.submitted,
        "command": list(record.command),
        "seed": record.seed,
        "code": asdict(record.code),
        "environment": {
            "lock": record.environment.lock,
            "variant": record.environment.variant,
            "python": record.environment.python,
            "prefix": record.environment.prefix,
            "image": None if image is None else asdict(image),
        },
        "data": data_values(record.data),
        "machine": machine_values(record.machine),
        "versions": asdict(record.versions),
        "limits": {**asdict(record.limits), "watch": list(record.limits.watch)},
        "target": record.target,
        "rerun_of": record.rerun_of,
        "variables": dict(record.variables),
        "resources": asdict(record.resources),
        "sweep": record.sweep,
        "trial": record.trial,
    }


def job_of(values: Mapping[str, Any]) -> JobRecord:
    """Return the record of `job_values`."""
    known = {**values, **{name: tuple(values[name]) for name in _TUPLES}}
    used, limits = values["environment"], values["limits"]
    image = used["image"]
    return JobRecord(
        **{
            **known,
            "results": Path(values["results"]),
            "code": Code(**values["code"]),
            "environment": EnvironmentUsed(
                **{**used, "image": None if image is None else ImageUsed(**image)}
            ),
            "data": data_of(values["data"]),
            "machine": machine_of(values["machine"]),
            "versions": Versions(**values["versions"]),
            "limits": Limits(**{**limits, "watch": tuple(limits["watch"])}),
            "resources": Resources(**values["resources"]),
        }
    )


def data_values(data: Data) -> dict[str, Any]:
    """Return a fingerprint as values."""
    known = {"digest": data.digest, "files": data.files, "bytes": data.bytes}
    return {**known, "entries": dict(data.entries)}


def data_of(values: Mapping[str, Any]) -> Data:
    """Return the fingerprint of `data_values`."""
    return Data(**values)


def machine_values(machine: Machine) -> dict[str, Any]:
    """Return a machine as values."""
    return {**asdict(machine), "gpus": list(machine.gpus)}


def machine_of(values: Mapping[str, Any]) -> Machine:
    """Return the machine of `machine_values`."""
    return Machine(**{**values, "gpus": tuple(values["gpus"])})


def event_values(event: Event) -> dict[str, Any]:
    """Return an event as values."""
    return {
        "attempt": event.attempt,
        "at": event.at,
        "name": event.name,
        "fields": dict(event.fields),
    }


def event_of(values: Mapping[str, Any]) -> Event:
    """Return the event of `event_values`."""
    return Event(**values)
