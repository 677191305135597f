"""Kubernetes as a user meets it: what is typed, what is shown, and the proof by a drill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.command import MAIN, is_one_error, perdure
from tests.engines.kubernetes import CLAIM, NAMESPACE, USER_ID, Cluster
from tests.targets.slurm_project import TRAINING

DRILL_S = 900.0


@pytest.fixture
def project(kubernetes: Cluster, kubernetes_image: str, tmp_path: Path) -> Path:
    folder = tmp_path / "the 'cats'"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        f"""\
[project]
name = "cats"
[tool.perdure]
format = 1
package = "cats"
[tool.perdure.tasks]
train = "python3 train.py"
[tool.perdure.targets.k8s]
kind = "kubernetes"
namespace = "{NAMESPACE}"
image = "{kubernetes_image}"
results = "{CLAIM}"
lines = ['spec.template.metadata.annotations."example.org/note": of my own']
"""
    )
    (folder / "train.py").write_text(TRAINING)
    for path in (folder, *folder.iterdir()):
        os.chown(path, USER_ID, USER_ID)
    return folder


def states(project: Path) -> dict[str, str]:
    done = perdure("ps", "-a", "--json", cwd=project)
    return {each["job"]: each["state"] for each in json.loads(done.out)}


def until_running(project: Path, job: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        done = perdure("ps", "-a", "--json", cwd=project)
        steps = {each["job"]: each["step"] for each in json.loads(done.out or "[]")}
        if (steps.get(job) or 0) >= 3:
            return
        assert time.monotonic() < deadline, done.out + done.err
        time.sleep(0.1)


def test_from_the_first_look_to_the_results(project: Path, kubernetes: Cluster) -> None:
    doctor = perdure("doctor", "k8s", cwd=project)
    assert doctor.code == 0, doctor.out + doctor.err
    assert re.search(r"cluster +ok +Kubernetes 1.20, 2 of 2 nodes ready, 4 GPUs", doctor.out)
    assert re.search(r"volume +ok", doctor.out)
    explained = perdure("run", "--on", "k8s", "--explain", "train", "5", "0", cwd=project)
    assert "example.org/note: of my own\n" in explained.out.replace('"', "")
    assert "automountServiceAccountToken: false" in explained.out
    assert kubernetes.listed("jobs") == []
    done = perdure("run", "--on", "k8s", "--name", "first", "train", "20", "0.05", cwd=project)
    assert done.code == 0, done.err
    assert re.search(r"^None [0-9a-f]{64}$", done.out, re.MULTILINE)
    assert states(project) == {"first": "SUCCEEDED"}
    assert perdure("logs", "first", cwd=project).out == done.out
    pulled = perdure("pull", "results", "--on", "k8s", cwd=project)
    assert pulled.code == 0, pulled.err
    assert (project / "results" / "first" / "outputs" / "digest").is_file()


def test_ctrl_c_saves_and_leaves_the_cluster_until_it_is_resumed(
    project: Path, kubernetes: Cluster
) -> None:
    words = ("run", "--on", "k8s", "--name", "one", "train", "100", "0.1")
    process = subprocess.Popen(
        [*MAIN, *words], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not (project / "results" / "one" / "job.json").exists():
        time.sleep(0.05)
    until_running(project, "one")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert b"go on: perdure resume one" in err
    assert states(project) == {"one": "INTERRUPTED"}
    resumed = perdure("resume", "one", cwd=project)
    assert resumed.code == 0, resumed.err
    assert "goes on from step" in resumed.err


def test_beside_a_job_and_what_the_cluster_has(project: Path, kubernetes: Cluster) -> None:
    words = ("run", "-d", "--on", "k8s", "--name", "long", "--gpus", "1", "train", "1000", "0.1")
    begun = perdure(*words, cwd=project)
    assert begun.code == 0, begun.err
    until_running(project, "long")
    beside = perdure("attach", "long", "--", "sh", "-c", "hostname; exit 3", cwd=project)
    assert (beside.code, beside.out.startswith("long-")) == (3, True), beside
    queue = perdure("queue", "--on", "k8s", "--mine", cwd=project)
    assert re.search(r"long +root +research +RUNNING", queue.out), queue.out
    (room,) = json.loads(perdure("capacity", "--on", "k8s", "--json", cwd=project).out)
    assert (room["nodes_up"], room["gpus"], room["gpus_free"]) == (2, 4, 3)
    checked = perdure("targets", "k8s", "--check", cwd=project)
    assert checked.code == 0, checked.out
    wrong = perdure("jupyter", "--on", "k8s", cwd=project)
    assert is_one_error(wrong, 2, "`k8s` is a cluster of pods")
    wrong = perdure("run", "--on", "k8s", "--gpus", "9", "train", "1", "0", cwd=project)
    assert is_one_error(wrong, 2, "9 GPUs are more than any node has: 2 at most")
    killed = perdure("kill", "long", cwd=project)
    assert killed.code == 0, killed.err
    assert kubernetes.pods() == []
    assert states(project) == {"long": "CANCELLED"}


def drilled(project: Path, runs: str) -> str:
    words = ("drill", "--on", "k8s", "--cpus", "0.5", "-n", runs, "train", "--", "25", "0.01")
    done = subprocess.run(
        [*MAIN, *words], cwd=project, capture_output=True, text=True, timeout=DRILL_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[0]


@pytest.mark.long
@pytest.mark.timeout(DRILL_S)
def test_a_drill_in_the_cluster_is_bit_exact(project: Path, kubernetes: Cluster) -> None:
    assert drilled(project, "10").startswith("10/10 bit-exact")
    assert kubernetes.pods() == []
