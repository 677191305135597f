"""Trainings of several ranks: they stop at one step; a checkpoint holds all of them or is none."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.runtime import group
from perdure.runtime.result import Result, read_result
from tests.ports import free_port
from tests.runtime.forkserver import TRAININGS, Forkserver

WORLD = 3
STEPS = 24


@pytest.fixture(scope="module")
def server() -> Iterator[Forkserver]:
    # The second one is what DistributedDataParallel imports when it is first used.
    modules = ("torch.distributed", "torch._dynamo", "sklearn.datasets")
    with Forkserver("ranks_digits.py", modules) as server:
        yield server


def attempt(server: Forkserver, folder: Path, **extra: str) -> list[int]:
    """Run one attempt of the training with its ranks; return how they ended."""
    folder.mkdir(exist_ok=True)
    world = int(extra.get("WORLD_SIZE", WORLD))
    everywhere = {
        "PERDURE_RUN_DIR": str(folder),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        **extra,
    }
    ranks = [{**everywhere, "RANK": str(rank)} for rank in range(world)]
    return server.run(*ranks, log=folder.with_suffix(".log"))


def ends(folder: Path, number: int) -> list[dict[str, object]]:
    """Return where each rank ended in an attempt."""
    notes = sorted((folder / "outputs").glob(f"end-{number:06d}-*"))
    return [json.loads(note.read_text()) for note in notes]


def result(folder: Path) -> Result:
    found = read_result(str(folder))
    assert found is not None
    return found


def weights(folder: Path) -> set[str]:
    """Return the different sums of weights that the ranks ended with: one, if all is well."""
    found = [path.read_text() for path in (folder / "outputs").glob("weights-*")]
    assert len(found) == WORLD
    return set(found)


@pytest.fixture(scope="module")
def straight(server: Forkserver, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight") / "run"
    assert attempt(server, folder) == [0] * WORLD, folder.with_suffix(".log").read_text()
    assert len(weights(folder)) == 1
    return folder


def one_trial(server: Forkserver, folder: Path, straight: Path, draw: random.Random) -> None:
    """Interrupt one rank at one step; all must stop at one, and the result be the same."""
    aim = f"{draw.randrange(WORLD)}:{draw.randrange(STEPS - 3)}"
    extra = {"START_FIRST": str(draw.randrange(2))}
    log = folder.with_suffix(".log")
    assert attempt(server, folder, AIM=aim, **extra) == [75] * WORLD, log.read_text()
    stops = ends(folder, 1)
    assert len(stops) == WORLD
    assert len({stop["step"] for stop in stops}) == 1, stops
    assert {stop["how"] for stop in stops} == {"interrupted"}
    assert attempt(server, folder, **extra) == [0] * WORLD, log.read_text()
    assert result(folder) == result(straight)
    assert weights(folder) == weights(straight)
    shutil.rmtree(folder)


def test_all_ranks_stop_at_one_step(server: Forkserver, straight: Path, tmp_path: Path) -> None:
    for seed in range(5):
        one_trial(server, tmp_path / f"trial-{seed}", straight, random.Random(seed))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_ranks_stop_at_one_step_often(
    server: Forkserver, straight: Path, tmp_path: Path
) -> None:
    for seed in range(60):
        one_trial(server, tmp_path / f"trial-{seed}", straight, random.Random(1000 + seed))


def test_periodic_saves_and_a_notice_at_the_same_time(
    server: Forkserver, straight: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert attempt(server, folder, AIM="1:9", SAVE_EVERY="0.02") == [75] * WORLD
    assert len({stop["step"] for stop in ends(folder, 1)}) == 1
    assert attempt(server, folder, SAVE_EVERY="0.02") == [0] * WORLD
    assert result(folder).tensors == result(straight).tensors
    assert result(folder).metrics == result(straight).metrics


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "meta"])
def test_a_damaged_shard_is_never_loaded_by_any_rank(
    server: Forkserver, straight: Path, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "run"
    for aim in ("0:2", "0:+1"):
        assert attempt(server, folder, AIM=aim) == [75] * WORLD
    newest = max((folder / "checkpoints").iterdir())
    shard = newest / ("meta-r00002.json" if damage == "meta" else "state-r00001.safetensors")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data if damage in ("flip", "meta") else data[:-1])
    if damage == "gone":
        shard.unlink()
    assert attempt(server, folder) == [0] * WORLD
    assert f"checkpoint `{newest.name}` cannot be used" in folder.with_suffix(".log").read_text()
    assert result(folder).weights == result(straight).weights
    assert weights(folder) == weights(straight)
    assert [path.name for path in (folder / "checkpoints").glob("bad-*")] != []


def test_another_number_of_ranks_is_refused_once_and_loses_nothing(
    server: Forkserver, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert attempt(server, folder, AIM="0:5") == [75] * WORLD
    before = sorted(path.name for path in (folder / "checkpoints").iterdir())
    log = folder.with_suffix(".log")
    log.unlink()
    assert attempt(server, folder, WORLD_SIZE="2") == [1, 1]
    assert "written by 3 ranks, now there are 2" in log.read_text()
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == before
    assert attempt(server, folder) == [0] * WORLD


def supervised(folder: Path, aim: str) -> int:
    """Run an attempt by torchrun under the supervisor; return the supervisor's exit code."""
    src = Path(group.__file__).parents[2]
    supervisor = str(src / "perdure/runtime/supervisor/__main__.py")
    options = ["--run-dir", str(folder), "--job", "job", "--seed", "5", "--cwd", str(folder)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(WORLD)]
    address = ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(src), str(TRAININGS.parents[2])]),
        "AIM": aim,
    }
    training = str(TRAININGS / "ranks_digits.py")
    command = [
        sys.executable,
        "-I",
        "-S",
        supervisor,
        *options,
        "--",
        *torchrun,
        *address,
        training,
    ]
    return subprocess.run(command, env=environment, timeout=100).returncode


def test_under_torchrun_and_the_supervisor(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    codes = [supervised(folder, "2:10"), supervised(folder, "")]
    assert codes == [75, 0], "".join(p.read_text() for p in sorted((folder / "logs").iterdir()))
    assert len({stop["step"] for stop in ends(folder, 1)}) == 1
    for number, told in ((1, ["hello", "durable", "exiting"]), (2, ["hello", "restored"])):
        lines = (folder / "attempts" / f"{number:06d}.jsonl").read_text().splitlines()
        events = [json.loads(line)["event"] for line in lines]
        assert [events.count(event) for event in told] == [1] * len(told), events
    assert result(folder).weights == result(straight).weights
    assert weights(folder) == weights(straight)
