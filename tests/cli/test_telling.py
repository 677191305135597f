from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from perdure.cli.telling import Known, as_json, in_words
from perdure.model.job import (
    Code,
    Data,
    EnvironmentUsed,
    Event,
    ImageUsed,
    JobRecord,
    JobStatus,
    Limits,
    Machine,
    Resources,
    State,
    Versions,
)

RECORD = JobRecord(
    results=Path("/results"),
    job="calm-fox",
    task="train",
    arguments=("--name", "a b"),
    submitted="2026-01-01T00:00:00+00:00",
    command=("python", "-m", "cats.train"),
    seed=7,
    code=Code("c0ffee", True, None, 3, "d1"),
    environment=EnvironmentUsed("10c4", "cpu", "3.11.7", "/env"),
    data=Data("d2", 2, 2048),
    machine=Machine("box", "Linux", "CPU", 2, 16.0, ("H100", "H100"), "boot"),
    versions=Versions("0.1.0", "3.12.1"),
    limits=Limits(30.0, 2),
    rerun_of="first-one",
    variables={"MODE": "fast"},
)
STATUS = JobStatus(RECORD, State.RUNNING, attempt=1, step=40, started=1e9, pid=123)
EVENTS = (
    Event(1, 1e9, "started", {"pid": 123.0}),
    Event(1, 1e9 + 1, "restored", {"step": 0.0, "generation": None}),
    Event(1, 1e9 + 2, "durable", {"step": 20.0}),
    Event(1, 1e9 + 5, "waiting", {"seconds": 2.0, "reason": "killed"}),
)
KNOWN = Known(RECORD, STATUS, (EVENTS, ()), None)


def test_a_job_in_words() -> None:
    told = in_words(KNOWN, 1e9 + 65)
    assert told[0] == "calm-fox: RUNNING"
    for line in (
        "step:        40",
        "elapsed:     1 min 5 s",
        "process:     123",
        "command:     python -m cats.train --name 'a b'",
        "variables:   MODE",
        "rerun of:    first-one",
        "code:        the working tree (--live): 3 files, commit c0ffee with uncommitted changes",
        "environment: cpu 3.11.7 /env",
        "data:        2 files, 2.0 KiB",
        "GPUs:        H100, H100",
        "  from the beginning",
        "  waited 2 s: killed",
        "  1 checkpoint",
        "result: none saved",
    ):
        assert line in told, told


def test_an_image_and_its_limits_are_told() -> None:
    image = ImageUsed("perdure/cats:runtime-cpu-1", "sha256:ab", 1000, 1001, pegged=True)
    used = dataclasses.replace(RECORD.environment, prefix=None, image=image)
    resources = Resources(gpus="all", memory_bytes=2**34, shm_bytes=2**29, cpus=1.5)
    record = dataclasses.replace(RECORD, target="docker", environment=used, resources=resources)
    told = in_words(dataclasses.replace(KNOWN, record=record), 1e9 + 65)
    for line in (
        "target:      docker",
        "image:       perdure/cats:runtime-cpu-1, with the code in it (--pegged)",
        "             sha256:ab, as 1000:1001",
        "resources:   all GPUs, 1.5 processors, 16.0 GiB of memory, 512.0 MiB of shared memory",
    ):
        assert line in told, told
    assert not any(line.startswith("resources") for line in in_words(KNOWN, 1e9 + 65))


def test_began_again_is_said() -> None:
    again = dataclasses.replace(STATUS, began_again=True)
    assert any("began again" in line for line in in_words(Known(RECORD, again, (), None), 1e9))


def test_a_job_as_json_is_whole() -> None:
    told = json.loads(json.dumps(as_json(KNOWN)))
    assert told["record"]["variables"] == {"MODE": "fast"}
    assert told["record"]["machine"]["gpus"] == ["H100", "H100"]
    assert told["attempts"][0][2] == {"t": 1e9 + 2, "event": "durable", "attempt": 1, "step": 20.0}
    assert told["record"]["data"] == {"digest": "d2", "files": 2, "bytes": 2048, "entries": {}}
