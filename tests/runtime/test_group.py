"""Several ranks as one run: they stop at one step; a checkpoint holds all of them or is none."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from perdure.runtime import generation, group
from perdure.runtime.exchange import Exchange
from perdure.runtime.faults import GroupError, MismatchError
from perdure.runtime.generation import Fenced
from perdure.runtime.group import Group
from perdure.runtime.ranks import SAVE, STOP
from perdure.runtime.result import Result, read_result
from perdure.runtime.store import Store
from tests.runtime.forkserver import TRAININGS, Forkserver
from tests.runtime.memory_store import hash_store

WORLD = 3
STEPS = 24


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


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
    for seed in range(12):
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
    assert attempt(server, folder, AIM="0:5") == [75] * WORLD
    assert attempt(server, folder, AIM="0:12") == [75] * WORLD
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


def test_under_torchrun_and_the_supervisor(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    src = Path(group.__file__).parents[2]
    training = str(TRAININGS / "ranks_digits.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(WORLD)]
    command = [
        *(sys.executable, "-I", "-S", str(src / "perdure/runtime/supervisor/__main__.py")),
        *("--run-dir", str(folder), "--job", "job", "--seed", "5", "--cwd", str(tmp_path)),
        "--",
        *torchrun,
        *("--master-addr", "127.0.0.1", "--master-port", str(free_port())),
        training,
    ]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(src), str(TRAININGS.parents[2])]),
    }
    codes = [
        subprocess.run(command, env={**environment, "AIM": aim}, timeout=100).returncode
        for aim in ("2:10", "")
    ]
    log = "".join(path.read_text() for path in sorted((folder / "logs").iterdir()))
    assert codes == [75, 0], log
    assert len({stop["step"] for stop in ends(folder, 1)}) == 1
    for number, ending in ((1, "exiting"), (2, None)):
        lines = (folder / "attempts" / f"{number:06d}.jsonl").read_text().splitlines()
        events = [json.loads(line)["event"] for line in lines]
        assert events.count("hello") == 1
        assert ending is None or events.count(ending) == 1
        assert events.count("durable") == 1 or number == 2
    assert result(folder).weights == result(straight).weights
    assert weights(folder) == weights(straight)


# -- one process, a thread a rank -------------------------------------------------------------


class Ranks:
    """A group of three in one process, over torch's store in memory."""

    def __init__(self, limit_s: float = 5.0, **environ: str) -> None:
        self.store = hash_store()
        environ.setdefault("TORCHELASTIC_USE_AGENT_STORE", "True")
        self.groups = [
            Group(Exchange(self.store, rank, WORLD, limit_s), environ) for rank in range(WORLD)
        ]

    def each(self, call: Callable[[Group], object]) -> list[object]:
        """Return what a call gives in each rank, or what it raised."""
        found: dict[int, object] = {}

        def body(one: Group) -> None:
            try:
                found[one.rank] = call(one)
            except (RuntimeError, OSError) as error:
                found[one.rank] = error

        threads = [threading.Thread(target=body, args=(one,)) for one in self.groups]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[rank] for rank in range(WORLD)]

    def close(self) -> None:
        self.each(lambda one: one.close())


@pytest.fixture
def ranks() -> Iterator[Ranks]:
    made = Ranks()
    yield made
    made.close()


def stores(folder: Path) -> list[Store]:
    mine = generation.claim(folder)
    return [Store(str(folder), mine, rank=rank) for rank in range(WORLD)]


def manifest(rank: int) -> dict[str, object]:
    return {"format": 1, "rank": rank, "state_bytes": 0, "versions": {"world": WORLD}}


def test_every_rank_gets_the_words_of_the_first(ranks: Ranks) -> None:
    assert ranks.each(lambda one: one.share(f"said by {one.rank}")) == ["said by 0"] * WORLD


def test_one_generation_for_all(ranks: Ranks, tmp_path: Path) -> None:
    assert ranks.each(lambda one: one.claim(str(tmp_path), None)) == [1, 1, 1]
    assert ranks.each(lambda one: one.claim(str(tmp_path), 7)) == [7, 7, 7]


def test_ranks_that_torchrun_has_started_again_claim_anew(tmp_path: Path) -> None:
    generation.claim(tmp_path)
    again = Ranks(TORCHELASTIC_RESTART_COUNT="1")
    assert again.each(lambda one: one.claim(str(tmp_path), 1)) == [2, 2, 2]
    again.close()


def test_a_folder_that_cannot_be_claimed_fails_everywhere(ranks: Ranks, tmp_path: Path) -> None:
    first, *others = ranks.each(lambda one: one.claim(str(tmp_path / "missing"), None))
    assert isinstance(first, FileNotFoundError)
    assert all("could not claim the run folder" in str(error) for error in others)


@pytest.mark.parametrize("asked", [(0, SAVE), (0, STOP), (2, STOP)])
def test_all_act_at_one_boundary(ranks: Ranks, asked: tuple[int, str]) -> None:
    who, what = asked

    def train(one: Group) -> list[tuple[int, str]]:
        acted: list[tuple[int, str]] = []
        step = 0
        while not acted:
            step += 1
            agreed = one.agree(step, what if one.rank == who and step >= 5 else None)
            if agreed is not None:
                acted.append((step, agreed))
        one.finish()
        return acted

    first, *others = ranks.each(train)
    assert isinstance(first, list)
    assert first[0][1] == what
    assert others == [first] * (WORLD - 1)


def test_a_stop_outweighs_a_save_and_only_the_first_rank_asks_for_saves(ranks: Ranks) -> None:
    wanted = {0: SAVE, 1: STOP, 2: SAVE}

    def train(one: Group) -> list[str]:
        acted: list[str] = []
        step = 0
        while STOP not in acted:
            step += 1
            agreed = one.agree(step, wanted[one.rank])
            acted += [agreed] if agreed else []
        one.finish()
        return acted

    first, *others = ranks.each(train)
    assert others == [first] * (WORLD - 1)
    assert isinstance(first, list)
    assert len(first) <= 3


def test_a_request_after_the_last_boundary_lets_all_run_to_the_end(ranks: Ranks) -> None:
    done = threading.Event()

    def train(one: Group) -> list[str]:
        acted = []
        for step in range(1, 200):
            if one.rank == 0 and step > 3:
                one.finish()
                done.set()
                break
            if one.rank:
                done.wait(5)
            agreed = one.agree(step, STOP if one.rank == 1 else None)
            acted += [agreed] if agreed else []
        return acted

    assert ranks.each(train) == [[], [], []]


def test_a_rank_that_does_not_answer_is_an_error_not_a_hang() -> None:
    made = Ranks(limit_s=0.2)
    made.groups[2]._agreement.close()
    for one in made.groups:
        one._agreement._limit_s = 0.4

    def train(one: Group) -> object:
        return [one.agree(step, STOP if one.rank == 0 else None) for step in range(10_000_000)]

    dead = made.groups.pop()
    found: list[object] = []
    for one in made.groups:
        with pytest.raises(GroupError) as caught:
            train(one)
        found.append(caught.value)
    assert any("did not a" in str(error) for error in found)
    made.groups.append(dead)
    made.close()


def test_a_checkpoint_holds_all_shards(ranks: Ranks, tmp_path: Path) -> None:
    of = stores(tmp_path)
    names = ranks.each(lambda one: one.commit(of[one.rank], 5, lambda _: manifest(one.rank)))
    assert names == ["g000001-s0000000005"] * WORLD
    folder = tmp_path / "checkpoints" / "g000001-s0000000005"
    meta = json.loads((folder / "meta.json").read_text().splitlines()[0])
    assert sorted(meta["shards"]) == ["1", "2"]
    assert ranks.store.num_keys() < 20


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_in_one_rank_fails_all_and_leaves_nothing(
    ranks: Ranks, tmp_path: Path, failing: int
) -> None:
    of = stores(tmp_path)

    def write(one: Group) -> Mapping[str, object]:
        if one.rank == failing:
            raise OSError(28, "No space left on device")
        return manifest(one.rank)

    found = ranks.each(lambda one: one.commit(of[one.rank], 5, lambda _: dict(write(one))))
    assert isinstance(found[failing], OSError)
    assert all("No space left" in str(error) for error in found)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    again = ranks.each(lambda one: one.commit(of[one.rank], 6, lambda _: manifest(one.rank)))
    assert again == ["g000001-s0000000006"] * WORLD


def test_a_second_owner_fences_every_rank(ranks: Ranks, tmp_path: Path) -> None:
    of = stores(tmp_path)
    generation.claim(tmp_path)
    found = ranks.each(lambda one: one.commit(of[one.rank], 5, lambda _: manifest(one.rank)))
    assert all(isinstance(error, Fenced) and error.newest == 2 for error in found), found


def test_a_rank_that_never_writes_its_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "_HEARD_LIMIT_S", 0.1)
    made = Ranks(limit_s=0.3)
    of = stores(tmp_path)

    def commit(one: Group) -> object:
        return None if one.rank == 2 else one.commit(of[one.rank], 5, lambda _: manifest(one.rank))

    first, second, _ = made.each(commit)
    assert "did not answer" in str(first)
    assert isinstance(second, GroupError)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    made.close()


def test_a_newer_format_stops_every_rank(ranks: Ranks, tmp_path: Path) -> None:
    of = stores(tmp_path)
    newer = {**manifest(0), "format": 99}
    ranks.each(lambda one: one.commit(of[one.rank], 5, lambda _: dict(newer)))
    found = ranks.each(lambda one: one.latest(of[one.rank], lambda _: None))
    assert all(isinstance(error, MismatchError) for error in found)
    assert "has format 99" in str(found[0])


def test_no_checkpoint_is_none(ranks: Ranks, tmp_path: Path) -> None:
    of = stores(tmp_path)
    assert ranks.each(lambda one: one.latest(of[one.rank], lambda _: None)) == [None] * WORLD
