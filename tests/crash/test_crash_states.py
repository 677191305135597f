"""A checkpoint reported durable is never lost, whenever the process or the power goes.

The states are enumerated from a trace of the real library: two attempts, the first killed inside a
save, with garbage collected (keep=2) and metrics. The models are tested too: against protocols
with a fault planted they must find losses.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import perdure
from perdure.runtime import metrics
from perdure.runtime.notice import SIGNALS
from tests.crash import training
from tests.crash.disks import Ext4, Killed, Model, Weak, materialise
from tests.crash.trace import Operation, operations, record

STEPS = 7
STATES = 300
KILL = {"point": "save-mid-data", "step": 4, "nth": 2, "do": "kill", "delay_s": 0.0}
PROGRAM = Path(training.__file__)
ROOT = Path(__file__).resolve().parents[2]
DURABLE = re.compile(rb'"event": "durable", "step": (\d+)')

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
    pytest.mark.usefixtures("own_signals"),
]


@pytest.fixture
def own_signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def place() -> Iterator[Path]:
    """Yield a folder in memory where there is one: a thousand runs sync a lot."""
    memory = Path("/dev/shm")
    where = str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as name:
        yield Path(name)


@dataclass(frozen=True, slots=True)
class Loss:
    """A state that did not resume as it should."""

    seed: int
    after: int
    text: str


def trace(folder: Path, fault: str) -> list[Operation]:
    """Return what two attempts at the training did."""
    root = folder / "run"
    root.mkdir()
    found: list[Operation] = []
    for attempt in range(2):
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
        if attempt == 0:
            environment["PERDURE_DRILL"] = json.dumps({"trace": False, "actions": [KILL]})
        log = folder / f"trace-{attempt}"
        argv = [sys.executable, str(PROGRAM), str(root), str(STEPS), fault]
        code = record(argv, log, environment)
        assert code in ((0,) if attempt else (-signal.SIGKILL, 128 + signal.SIGKILL))
        found += [shifted(one, len(found)) for one in operations(log, root)]
    return found


def shifted(operation: Operation, by: int) -> Operation:
    return Operation(
        operation.kind,
        operation.path,
        operation.began + by,
        operation.other,
        operation.offset,
        operation.data,
    )


def reported(done: Sequence[Operation]) -> int:
    """Return the newest step that was reported durable."""
    steps = [
        int(step)
        for operation in done
        if operation.path.endswith(".ctl")
        for step in DURABLE.findall(operation.data)
    ]
    return max(steps, default=0)


def resume(folder: Path, at_least: int) -> str:
    """Return what is wrong with the run that goes on from this state; nothing, if all is well."""
    try:
        run = perdure.start(seed=1, folder=folder, keep=2, save_every=1000)
        begun: list[int] = []
        state = training.train(run, STEPS, lambda run: begun.append(run.step))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it is a loss
        return f"raised {error!r}"
    start = begun[0] if begun else STEPS
    rows = [row["value"] for row in metrics.read_rows(str(folder))]
    if start < at_least:
        return f"went on from step {start}, step {at_least} had been reported durable"
    if not training.whole(state) or state["step"] != STEPS:
        return "ended with another state"
    return "" if rows == [*range(STEPS)] else f"rows {rows}"


def crashes(done: Sequence[Operation], model: Model, count: int) -> Iterator[tuple[int, int]]:
    """Yield (seed, operations before the crash): all of them for a kill, else drawn."""
    if model is Killed:
        for seed in range(max(count, len(done) + 1)):
            yield seed, seed % (len(done) + 1)
        return
    marks = [n + 1 for n, one in enumerate(done) if one.path.endswith(".ctl")]
    for seed in range(count):
        chance = random.Random(f"where {seed}")
        yield seed, chance.choice(marks) if seed % 3 == 0 else chance.randint(0, len(done))


def losses(done: Sequence[Operation], model: Model, place: Path, count: int) -> list[Loss]:
    """Return the states from which the training does not go on as it should."""
    found = []
    for seed, after in crashes(done, model, count):
        folder = place / f"{model.__name__}-{seed}"
        materialise(done[:after], model, seed, folder)
        text = resume(folder, reported(done[:after]))
        if text:
            found.append(Loss(seed, after, text))
        shutil.rmtree(folder)
    return found


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> list[Operation]:
    return trace(tmp_path_factory.mktemp("traced"), "none")


def test_the_trace_holds_what_it_should(traced: list[Operation]) -> None:
    renamed = [one.other for one in traced if one.kind == "rename"]
    saved = [path for path in renamed if path.startswith("checkpoints/g")]
    assert len(saved) >= 4
    assert {path[12:19] for path in saved} == {"g000001", "g000002"}
    assert any(path.startswith("checkpoints/del-") for path in renamed)
    assert reported(traced) == STEPS
    assert any(one.path.startswith("metrics/") and one.kind == "write" for one in traced)


@pytest.mark.parametrize("model", [Killed, Ext4, Weak])
def test_nothing_that_was_reported_durable_is_lost(
    traced: list[Operation], model: Model, place: Path
) -> None:
    assert losses(traced, model, place, STATES) == []


@pytest.mark.parametrize(
    ("fault", "model"),
    [("no-fsync", Ext4), ("no-fsync", Weak), ("late-data", Weak), ("no-folder-fsync", Weak)],
)
def test_a_broken_protocol_is_found(fault: str, model: Model, tmp_path: Path, place: Path) -> None:
    found = losses(trace(tmp_path, fault), model, place, 60)
    assert any("had been reported durable" in loss.text for loss in found)
