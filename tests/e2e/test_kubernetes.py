"""Kubernetes as a user meets it: what is typed, what is shown, and the proof by a drill."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from perdure.environments.uv import find_uv
from perdure.jobs.workspace import open_workspace
from perdure.services import requirement
from perdure.targets.kubernetes_opening import open_kubernetes
from tests.cli.command import MAIN, is_one_error, perdure
from tests.e2e.test_services import ADDRESS
from tests.e2e.typed import resume, states, stop_by_ctrl_c, until_running
from tests.engines.kubernetes import CLAIM, NAMESPACE, USER_ID, Cluster
from tests.targets.slurm_project import TRAINING
from tests.waiting import until

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


def test_what_a_cluster_has_is_shown_to_root_too(project: Path, kubernetes: Cluster) -> None:
    del kubernetes  # it is there
    for path in (project, *project.iterdir()):
        os.chown(path, 0, 0)
    assert perdure("queue", "--on", "k8s", cwd=project).code == 0
    assert perdure("capacity", "--on", "k8s", cwd=project).code == 0
    doctor = perdure("doctor", "k8s", cwd=project)
    assert doctor.code == 0, doctor.out + doctor.err
    assert re.search(r"pod +warning +pods do not run as root", doctor.out), doctor.out
    refused = perdure("run", "--on", "k8s", "train", "1", "0", cwd=project)
    assert is_one_error(refused, 2, "pods do not run as root")


def test_ctrl_c_saves_and_leaves_the_cluster_until_it_is_resumed(
    project: Path, kubernetes: Cluster
) -> None:
    stop_by_ctrl_c(project, "k8s", "one")
    resume(project, "one")


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
    wrong = perdure("run", "--on", "k8s", "--gpus", "9", "train", "1", "0", cwd=project)
    assert is_one_error(wrong, 2, "9 GPUs are more than any node has: 2 at most")
    wrong = perdure("jupyter", "--on", "k8s", "--gpus", "9", cwd=project)
    assert is_one_error(wrong, 2, "9 GPUs are more than any node has: 2 at most")
    killed = perdure("kill", "long", cwd=project)
    assert killed.code == 0, killed.err
    assert kubernetes.pods() == []
    assert states(project) == {"long": "CANCELLED"}


def bring_tool(project: Path, kubernetes: Cluster, tool: str) -> None:
    """Install a service's programs as uv in a pod would: the pods here have no way to an index."""
    workspace = open_workspace(project)
    station = open_kubernetes(workspace.project, workspace.settings, "k8s").station
    root = kubernetes.volume / station.root.removeprefix("/perdure/")
    beside = tool == "kernel"  # in a plain folder, for the image's own Python
    name = requirement.folder_name(tool, "3.11" if beside else "")
    folder = root / ".perdure" / "services" / "tools" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    listed = project.parent / "listed.txt"
    listed.write_text(requirement.text_of(tool))
    own = ["--python", str(folder / "bin" / "python")]
    if beside:
        own = ["--python", "/usr/bin/python3", "--target", str(folder)]
    words = ["--no-deps", "--require-hashes", "--requirement", str(listed)]
    uv = find_uv(os.environ)
    if not beside:
        made = [uv, "venv", "--python", "/usr/bin/python3", str(folder)]
        subprocess.run(made, check=True, capture_output=True, timeout=120)
    subprocess.run(
        [uv, "pip", "install", *own, *words], check=True, capture_output=True, timeout=600
    )
    (folder / "perdure-installed").touch()
    for path in (root, *root.rglob("*")):
        os.chown(path, USER_ID, USER_ID, follow_symlinks=False)


def asked(address: str) -> tuple[int, str]:
    """Return the status and the text of an answer to a browser."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    try:
        with opener.open(address, timeout=120) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, ""


@pytest.mark.install
@pytest.mark.parametrize(
    ("name", "page", "role"),
    [
        ("files", "results", "desk"),
        pytest.param("tensorboard", "TensorBoard", "desk", marks=pytest.mark.long),
        pytest.param("jupyter", "Jupyter", "jupyter", marks=pytest.mark.long),
    ],
)
def test_a_service_in_a_pod(
    project: Path, kubernetes: Cluster, name: str, page: str, role: str
) -> None:
    bring_tool(project, kubernetes, name)
    if name == "jupyter":
        bring_tool(project, kubernetes, "kernel")
    more = ("--gpus", "1") if name == "jupyter" else ()
    opened = perdure(name, "--on", "k8s", "--no-browser", *more, cwd=project)
    try:
        found = ADDRESS.fullmatch(opened.out.strip())
        assert found, opened
        address = f"http://127.0.0.1:{found[1]}{found[2]}"
        assert asked(address)[0] == 401
        status, text = asked(opened.out.strip())
        assert (status, page in text) == (200, True), text
        again = perdure(name, "--on", "k8s", "--no-browser", cwd=project)
        assert again.out == opened.out
        listed = perdure("services", "--json", cwd=project)
        assert '"running"' in listed.out
        roles = {pod["metadata"]["labels"]["perdure.dev/role"] for pod in kubernetes.desks(role)}
        assert roles == {role}
    finally:
        stopped = perdure(name, "--on", "k8s", "--stop", cwd=project)
    assert stopped.code == 0, stopped.err
    assert f"{name} is stopped" in stopped.out + stopped.err
    if role != "desk":
        until(lambda: not kubernetes.desks(role), every_s=0.2)


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
