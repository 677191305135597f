"""A training on several nodes: torchrun on each, and all ranks stop at one step."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import perdure
from perdure.errors import UsageError
from perdure.jobs.workspace import Workspace
from perdure.model.job import UNLIMITED, ImageUsed, JobRecord, Resources, State
from perdure.model.settings import SlurmSettings
from perdure.targets.slurm_nodes import launched
from tests.engines.slurm import Cluster
from tests.targets.slurm_project import (
    slurm_workspace,
    started,
    until_gone,
    until_step,
    with_settings,
)
from tests.waiting import until

#: Each rank leaves what it came to; the sum over all of them is in each step.
TRAINING = """\
import os, pathlib, sys, time
import torch
import torch.distributed as dist
import perdure

torch.set_num_threads(1)
dist.init_process_group("gloo")
run = perdure.start(seed=7)
state = {"sum": 0.1}
run.track(state=state)
for step in run.steps(int(sys.argv[1])):
    own = torch.tensor([state["sum"] * (run.rank + 1)], dtype=torch.float64)
    dist.all_reduce(own)
    state["sum"] = float(own) % 1.0
    time.sleep(float(sys.argv[2]))
path = pathlib.Path(os.environ["PERDURE_RUN_DIR"], "outputs", f"sum-{run.rank}-of-{run.world}")
path.write_text(repr(state["sum"]))
print(os.environ.get("SLURMD_NODENAME"), run.rank, flush=True)
"""
STEPS = 40


def expected() -> float:
    value = 0.1
    for _ in range(STEPS):
        value = (value + value * 2) % 1.0
    return value


@pytest.fixture
def workspace(tmp_path: Path, slurm: Cluster) -> Workspace:
    made = slurm_workspace(
        tmp_path / "many 'nodes'", SlurmSettings(lines=("export OMP_NUM_THREADS=1",))
    )
    (made.project.root / "train.py").write_text(TRAINING)
    return made


def test_all_ranks_stop_at_one_step_and_go_on(workspace: Workspace, slurm: Cluster) -> None:
    stopped_at_one_step(workspace, slurm)


@pytest.mark.long
def test_all_ranks_in_an_image_stop_at_one_step_and_go_on(
    workspace: Workspace, slurm: Cluster, apptainer: Path, cluster_image: ImageUsed
) -> None:
    """The image has no torch: this environment is seen inside, and its Python is what runs."""
    seen = (sys.prefix, sys.base_prefix, str(Path(perdure.__file__).parents[1]))
    bound = f"export APPTAINER_BIND={','.join(seen)}"
    lines = ("export OMP_NUM_THREADS=1", bound)
    settings = SlurmSettings(lines=lines, engine="apptainer")
    record = stopped_at_one_step(with_settings(workspace, settings), slurm)
    assert record.environment.image == cluster_image


def stopped_at_one_step(workspace: Workspace, slurm: Cluster) -> JobRecord:
    """Return a training of two nodes that was stopped, went on, and came to the right end."""
    record = started(workspace, str(STEPS), "0.1", resources=Resources(nodes=2))
    until_step(record)
    (job,) = slurm.jobs()
    assert job[3] == "node[1-2]"
    slurm.ask("scancel", "--signal=USR2", job[0])
    until_step(record, step=5, attempt=2)
    status = until_gone(record)
    assert status.state is State.SUCCEEDED, (record.folder / "slurm.log").read_text()
    assert status.attempt == 2
    events = (record.folder / "attempts" / "000001.jsonl").read_text().splitlines()
    stops = [json.loads(line) for line in events if '"exiting"' in line]
    assert [stop["code"] for stop in stops] == [75]
    exited = [json.loads(line) for line in events if '"exited"' in line]
    # torchrun's own word for ranks that end so; no signal has ended what has to ask them.
    assert [(end["code"], end["signal"]) for end in exited] == [(1, None)]
    for rank in (0, 1):
        path = record.folder / "outputs" / f"sum-{rank}-of-2"
        assert float(path.read_text()) == pytest.approx(expected(), abs=0)
    nodes = {
        line.split()[0]
        for line in (record.folder / "logs" / "000002.log").read_text().splitlines()
        if line.startswith("node")
    }
    assert nodes == {"node1", "node2"}
    return record


@pytest.mark.long
def test_a_warning_while_it_starts_is_heard(workspace: Workspace, slurm: Cluster) -> None:
    train = workspace.project.root / "train.py"
    gate = "pathlib.Path(sys.argv[3] + '-here').touch()\n"
    gate += "while not os.path.exists(sys.argv[3]): time.sleep(0.05)\nrun = perdure.start"
    train.write_text(TRAINING.replace("run = perdure.start", gate))
    go = workspace.project.root / "go"
    two = Resources(nodes=2)
    record = started(workspace, str(STEPS), "0.1", str(go), grace_s=60.0, resources=two)
    first = record.folder / "attempts" / "000001.jsonl"
    until(go.with_name("go-here").exists)
    slurm.ask("scancel", "--signal=USR2", slurm.jobs()[0][0])
    until(lambda: '"notice"' in first.read_text())
    go.touch()
    status = until_gone(record)
    assert (status.state, status.attempt) == (State.SUCCEEDED, 2)
    exited = next(line for line in first.read_text().splitlines() if '"exited"' in line)
    assert json.loads(exited)["signal"] is None, first.read_text()
    assert json.loads(exited)["durable_step"] < STEPS
    assert [path.name for path in record.folder.glob(".stop*")] == []


def test_more_nodes_than_there_are_is_said_before_anything_is_made(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="5 nodes are asked for, and there are 4"):
        started(workspace, "1", "0", resources=Resources(nodes=5))
    assert list(workspace.project.results.glob("*")) == []


def test_one_node_needs_no_torchrun() -> None:
    assert launched(("python", "train.py"), UNLIMITED) == ("python", "train.py")


def test_in_an_image_torchrun_is_in_it_too() -> None:
    image = ("/usr/bin/python3", "it's.py", "apptainer", "exec", "an image.sqfs")
    assert launched(("python", "train.py"), UNLIMITED, image) == (*image, "python", "train.py")
    words = launched(("python", "train.py"), Resources(nodes=2), image)
    inner = "/usr/bin/python3 'it'\"'\"'s.py' apptainer exec 'an image.sqfs' sh -c "
    assert inner in words[2]


def test_a_process_trains_on_each_gpu_of_each_node() -> None:
    words = launched(("/env/bin/python3", "a b.py"), Resources(nodes=4, gpus=8))
    assert words[:2] == ("sh", "-c")
    assert "--nnodes=4 --nproc-per-node=8" in words[2]
    assert words[4:] == ("/env/bin/python3", "/env/bin/python3", "a b.py")
