"""The command line of a job's container, as words. Pure: no engine is asked."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from perdure.images.mounts import Mount
from perdure.model.job import (
    Code,
    Data,
    EnvironmentUsed,
    ImageUsed,
    JobRecord,
    Limits,
    Machine,
    Resources,
    Versions,
)
from perdure.targets.invocation import (
    Setting,
    beside,
    container_name,
    passed_by_name,
    results_seen,
    supervised,
)

ROOT = Path("/home/me/a 'project'")
IMAGE = ImageUsed("perdure/cats:runtime-cpu-1", "sha256:ab", 1000, 1001)
JOB = JobRecord(
    results=ROOT / "results",
    job="calm-fox",
    task="train",
    arguments=("--name", "$(x)"),
    submitted="2026-01-01T00:00:00+00:00",
    command=("python", "-m", "cats.train"),
    seed=7,
    code=Code("c0ffee", True, "d1", 3, "d1"),
    environment=EnvironmentUsed("10c4", "cpu", "", None, IMAGE),
    data=Data("d2", 2, 2048),
    machine=Machine("box", "Linux", "CPU", 2, 16.0, (), "boot"),
    versions=Versions("0.1.0", "3.12.1"),
    limits=Limits(30.0, 2),
    target="docker",
    variables={"TOKEN": "s3cret", "PATH": "/theirs", "DOCKER_HOST": "x"},
)
SETTING = Setting(ROOT, "/usr/bin/docker", "docker", shm_bytes=512, groups=(4, 27))
MOUNTS = (Mount("/s, x", "/project/code", read_only=True),)


def words(job: JobRecord = JOB, setting: Setting = SETTING) -> tuple[str, ...]:
    return supervised(setting, job, MOUNTS, ("--run-dir", "/project/results/calm-fox"))


def test_the_supervisor_is_pid_1_and_the_training_comes_last() -> None:
    found = words()
    assert found[:3] == ("/usr/bin/docker", "run", "--rm")
    assert "--init=false" in found
    image = found.index("sha256:ab")
    assert found[image - 1] == "--entrypoint=python"
    assert found[image + 1 :] == (
        *("-I", "-S", "/opt/perdure/perdure/runtime/supervisor/__main__.py"),
        *("--run-dir", "/project/results/calm-fox"),
        *("--", "python", "-m", "cats.train", "--name", "$(x)"),
    )
    assert found == words()


def test_on_a_machine_that_is_lent_notices_and_signals_reach_the_job() -> None:
    found = words(setting=replace(SETTING, lent=True))
    assert "--network=host" in found
    # Docker's client passes on what it is sent, unless it is told not to.
    assert "--sig-proxy=false" not in found
    assert "--sig-proxy=false" in words()
    assert not [word for word in words() if word.startswith("--network")]


def test_who_it_is_and_what_it_sees() -> None:
    found = words()
    assert "--user=1000:1001" in found
    assert [word for word in found if word.startswith("--group-add")] == [
        "--group-add=4",
        "--group-add=27",
    ]
    assert "--workdir=/project/code" in found
    assert found[found.index("--mount") + 1] == (
        'type=bind,"source=/s, x",target=/project/code,readonly'
    )
    assert "--env=PYTHONPATH=/project/code/src:/project/code" in found
    # A supervisor writes down how it ended before an engine that stops loses its patience.
    assert "--stop-timeout=45" in found


def test_a_value_stands_in_the_command_line_only_where_the_client_must_not_see_it() -> None:
    found = words()
    assert "--env=TOKEN" in found
    assert "--env=PATH=/theirs" in found
    assert "--env=DOCKER_HOST=x" in found
    assert passed_by_name(JOB.variables) == {"TOKEN": "s3cret"}
    assert "s3cret" not in " ".join(found)


def test_limits_are_said_only_where_they_were_asked_for() -> None:
    assert [word for word in words() if word.startswith(("--gpus", "--mem", "--cpus"))] == []
    assert "--shm-size=512" in words()
    limited = Resources(gpus=2, memory_bytes=2**30, shm_bytes=2**20, cpus=1.5)
    found = words(replace(JOB, resources=limited))
    for word in ("--gpus=2", f"--memory={2**30}", f"--shm-size={2**20}", "--cpus=1.5"):
        assert word in found
    assert "--gpus=all" in words(replace(JOB, resources=Resources(gpus="all")))


def test_podman_has_its_own_words() -> None:
    podman = replace(SETTING, program="podman", kind="podman", rootless=True)
    found = words(replace(JOB, resources=Resources(gpus=2)), podman)
    assert "--userns=keep-id" in found
    assert "--device=nvidia.com/gpu=1" in found
    assert not any(word.startswith("--gpus") for word in found)
    assert "--device=nvidia.com/gpu=all" in words(
        replace(JOB, resources=Resources(gpus="all")), podman
    )
    assert "--userns=keep-id" not in words(JOB, replace(podman, rootless=False))


def test_a_command_beside_a_job_sees_what_the_job_sees() -> None:
    found = beside(SETTING, JOB, MOUNTS, ("sh", "-c", "$(x)"), "--tty")
    assert found[:2] == ("run", "--rm")
    assert "--tty" in found
    assert found[-4:] == ("--entrypoint=sh", "sha256:ab", "-c", "$(x)")
    common = [word for word in words() if word.startswith(("--user", "--mount", "--env", "--shm"))]
    assert all(word in found for word in common)


def test_names() -> None:
    digest = hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:8]
    assert container_name(ROOT, "calm-fox") == f"perdure-{digest}-calm-fox"
    assert container_name(ROOT, "dev") != container_name(ROOT.parent, "dev")
    below = ROOT / "results" / "calm-fox" / "outputs"
    assert results_seen(JOB, below) == "/project/results/calm-fox/outputs"
