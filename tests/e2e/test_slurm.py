"""A cluster as a user meets it: what is typed, what is shown, and the proof by a drill."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.cli.command import MAIN, Ended, is_one_error, perdure
from tests.e2e.typed import resume, states, stop_by_ctrl_c, until_running
from tests.engines.engines import RealEngine
from tests.engines.slurm import Cluster
from tests.images.recipes import removed
from tests.targets.slurm_project import TRAINING
from tests.waiting import until

DRILL_S = 900.0
# The first time its packages are installed.
SERVICE_S = 300.0
PYPROJECT = f"""\
[project]
name = "cats"
[tool.perdure]
format = 1
package = "cats"
[tool.perdure.tasks]
train = {json.dumps([sys.executable, "train.py"])}
[tool.perdure.targets.lab]
kind = "slurm"
partition = "main"
"""


@pytest.fixture
def project(slurm: Cluster, tmp_path: Path) -> Path:
    folder = tmp_path / "the 'cats'"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "train.py").write_text(TRAINING)
    return folder


def started(project: Path, *arguments: str) -> str:
    done = perdure("run", "-d", "--on", "lab", "--grace", "10", "train", *arguments, cwd=project)
    assert done.code == 0, done.err
    return done.out.strip()


def test_a_job_is_followed_to_its_end_and_looked_at(project: Path) -> None:
    done = perdure("run", "--on", "lab", "--name", "first", "train", "20", "0.05", cwd=project)
    assert done.code == 0, done.err
    assert re.search(r"^node\d [0-9a-f]{64}$", done.out, re.MULTILINE)
    assert states(project) == {"first": "SUCCEEDED"}
    table = perdure("ps", "-a", cwd=project).out
    assert re.search(r"first +lab +train +SUCCEEDED", table), table
    assert perdure("logs", "first", cwd=project).out == done.out


def test_ctrl_c_saves_and_leaves_the_queue_until_it_is_resumed(
    project: Path, slurm: Cluster
) -> None:
    stop_by_ctrl_c(project, "lab", "one")
    assert perdure("queue", "--on", "lab", "--json", cwd=project).out.strip() == "[]"
    resume(project, "one")


def test_a_shell_beside_a_job_is_on_its_node(project: Path, slurm: Cluster) -> None:
    job = started(project, "1000", "0.1")
    until_running(project, job)
    beside = perdure("attach", job, "--", "sh", "-c", "echo $SLURM_JOB_ID", cwd=project)
    (number, _, _, _), *others = slurm.jobs()
    assert (beside.out.strip(), others) == (number, [])
    assert perdure("kill", job, cwd=project).code == 0
    assert slurm.jobs() == []


@pytest.mark.install
@pytest.mark.parametrize(("name", "said"), [("files", "results"), ("tensorboard", "TensorBoard")])
def test_who_only_reads_has_a_node_of_its_own_too(
    project: Path, slurm: Cluster, name: str, said: str
) -> None:
    (project / "results").mkdir()
    words = (*MAIN, name, "--on", "lab", "--no-browser")
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, timeout=SERVICE_S)
    try:
        assert done.returncode == 0, done.stderr
        address, _, token = done.stdout.strip().partition("?token=")
        request = urllib.request.Request(address, headers={"Authorization": f"token {token}"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert said in answer.read().decode()
        (job,) = slurm.jobs()
        assert (job[1], job[3][:4]) == ("RUNNING", "node")
    finally:
        stopped = perdure(name, "--on", "lab", "--stop", cwd=project)
    assert f"{name} is stopped" in stopped.err, stopped
    until(lambda: slurm.jobs() == [])


def test_a_cluster_says_what_it_has_and_who_waits(project: Path) -> None:
    job = started(project, "1000", "0.1")
    until_running(project, job)
    queue = perdure("queue", "--on", "lab", "--mine", cwd=project)
    assert re.search(rf"{job} +root +main +RUNNING", queue.out), queue.out
    capacity = perdure("capacity", "--on", "lab", cwd=project).out
    assert re.search(r"main\* +- +4 of 4 +3 +8 of 8", capacity), capacity
    (main,) = json.loads(perdure("capacity", "--on", "lab", "--json", cwd=project).out)
    assert (main["cpus"], main["cpus_free"], main["gpus_free_on_one"]) == (16, 15, 2)
    doctor = perdure("doctor", "lab", cwd=project)
    assert doctor.code == 0, doctor.out
    assert re.search(r"slurm +ok +slurm-wlm [\d.]+, 4 nodes, 8 GPUs", doctor.out), doctor.out
    checked = perdure("targets", "lab", "--check", cwd=project)
    assert checked.code == 0, checked.out
    perdure("kill", job, cwd=project)


def test_mistakes_are_one_clear_error(project: Path) -> None:
    def said(*words: str) -> Ended:
        return perdure(*words, cwd=project)

    wrong = said("run", "--on", "lab", "--gpus", "9", "train", "1", "0")
    assert is_one_error(wrong, 2, "no node in `main` has 9 GPUs: the most is 2")
    wrong = said("run", "--on", "lab", "--time", "1m", "--grace", "60", "train", "1", "0")
    assert is_one_error(wrong, 2, "is over before anything is trained")
    assert is_one_error(said("queue", "--on", "local"), 2, "`local` has no scheduler")
    wrong = said("run", "--on", "local", "--time", "8h", "train", "1", "0")
    assert is_one_error(wrong, 2, "only a scheduler has time limits")
    # Nothing is installed before.
    wrong = said("jupyter", "--on", "lab", "--gpus", "9")
    assert is_one_error(wrong, 2, "no node in `main` has 9 GPUs: the most is 2")
    assert not (project / ".perdure" / "services" / "tools").exists()
    assert is_one_error(said("sync", "--on", "lab"), 2, "`lab` is this machine")
    assert states(project) == {}


def drilled(project: Path, runs: str) -> str:
    words = ("drill", "--on", "lab", "--cpus", "2", "-n", runs, "train", "--", "25", "0.01")
    done = subprocess.run(
        [*MAIN, *words], cwd=project, capture_output=True, text=True, timeout=DRILL_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[0]


@pytest.mark.timeout(DRILL_S)
def test_a_drill_on_the_cluster_is_bit_exact(project: Path, slurm: Cluster) -> None:
    assert drilled(project, "2").startswith("2/2 bit-exact")
    assert slurm.jobs() == []
    assert states(project) == {}


@pytest.mark.long
@pytest.mark.timeout(DRILL_S)
def test_a_longer_drill_on_the_cluster_is_bit_exact(project: Path, slurm: Cluster) -> None:
    assert drilled(project, "10").startswith("10/10 bit-exact")


IN_IMAGE = """\
[project]
name = "{name}"
version = "0"
requires-python = "==3.11.*"
dependencies = ["six==1.17.0"]

[project.scripts]
cats-look = "cats:look"

[tool.perdure]
format = 1
package = "cats"

[tool.perdure.tasks]
look = "cats-look --x"

[tool.perdure.targets.lab]
kind = "slurm"
engine = "apptainer"
"""
LOOK = "def look():\n    import six, sys\n\n    print(six.__version__, sys.prefix, sys.argv[1:])\n"


def said(project: Path, job: str) -> str:
    """Return the value that a trial of a sweep had, in the image; "" before it has said so."""
    text = perdure("logs", job, cwd=project).out
    found = re.fullmatch(r"1\.17\.0 /opt/venv \['--x', '--n', '(\d)'\]\n", text)
    return found[1] if found else text


@pytest.mark.long
@pytest.mark.install
@pytest.mark.timeout(900)
def test_the_projects_own_image_is_built_brought_and_run_on_a_node(
    apptainer: Path, modern_engine: RealEngine, tmp_path: Path
) -> None:
    with removed(modern_engine) as name:
        project = tmp_path / "the 'cats'"
        (project / "src" / "cats").mkdir(parents=True)
        (project / "src" / "cats" / "__init__.py").write_text(LOOK)
        (project / "pyproject.toml").write_text(IN_IMAGE.format(name=name))
        os.chown(project, 1000, 1000)
        done = perdure("run", "--on", "lab", "--name", "one", "look", cwd=project)
        assert done.code == 0, done.err
        assert done.out.splitlines()[-1] == "1.17.0 /opt/venv ['--x']"
        swept = perdure("sweep", "--on", "lab", "--name", "many", "look", "n=1,2,3", cwd=project)
        assert swept.code == 0, swept.err
        told = {"many-0001": "1", "many-0002": "2", "many-0003": "3"}
        until(lambda: {job: said(project, job) for job in told} == told, every_s=0.2)
        (image,) = (project / ".perdure" / "images").glob("*.sqfs")
        record = json.loads((project / "results" / "one" / "job.json").read_text())
        used = record["environment"]["image"]
        digest = used["id"].removeprefix("sha256:")[:12]
        assert image.name == f"{used['tag'].rpartition('/')[2].replace(':', '-')}-{digest}.sqfs"
        explained = perdure("run", "--on", "lab", "--gpus", "1", "--explain", "look", cwd=project)
        assert "apptainer --quiet exec --cleanenv --no-eval --nv " in explained.out
        assert f"{image.name.rpartition('-')[0]}-ID.sqfs" in explained.out
