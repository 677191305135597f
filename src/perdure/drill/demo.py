"""The demonstration: a training interrupted, resumed, killed, resumed again, and compared.

Everything is real: a project from the template, its locked environment, the supervisor, a touched
file, SIGKILL. What is compared are the bytes of the final weights and every metric row.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from perdure.drill import compare
from perdure.drill.attend import Attended
from perdure.drill.evidence import read_evidence
from perdure.drill.play import thread_settings
from perdure.drill.report import describe
from perdure.drill.showcase import prepare
from perdure.drill.watch import Progress, read_progress
from perdure.errors import DifferenceError, TimeoutExpired
from perdure.jobs import elsewhere, launch
from perdure.jobs import folder as folders
from perdure.jobs.control import send_signal
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace, open_workspace
from perdure.model.job import UNLIMITED, Event, JobHeading, JobRecord
from perdure.model.project import Project
from perdure.model.report import Report
from perdure.runtime import names
from perdure.targets.registry import open_target

Tell = Callable[[str], None]

TASK = "train"
EPOCHS = 10
SEED = 7
# In which epoch it is interrupted, and in which the next attempt is killed.
INTERRUPT_IN, KILL_IN = 3, 6
_POLL_S = 0.01
_LIMIT_S = 900.0
_TRIES = 3


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demonstration showed: both jobs, and what they have in common."""

    folder: Path
    interrupted: str
    uninterrupted: str
    weights: str
    metric_rows: int
    seconds: float


def run_demo(folder: Path, *, target: str, report: Report, tell: Tell) -> DemoResult:
    """Return what came of it. Makes a project in `folder`, installs, starts processes.

    Raises:
        UsageError: there is no such target.
        EnvironmentFailed: nothing there can run jobs, or the environment cannot be had.
        ConflictError: `folder` holds something that is no demonstration.
        DifferenceError: the two trainings do not end alike.
    """
    folder = folder.absolute()
    # Before anything is made: a target that is not there, or an engine that does not answer.
    open_target(target, Project(folder, "", "", {})).require(UNLIMITED)
    prepare(folder, tell)
    workspace = open_workspace(folder)
    began = time.monotonic()
    broken = _interrupted_training(workspace, target, report, tell)
    whole = _submit(workspace, target, report, _epochs(broken))
    tell(f"job `{whole.job}`: the same training with the same seed, left alone")
    _uninterrupted_training(workspace, whole, report)
    result = judge(folder, broken, whole, time.monotonic() - began)
    for line in (*table(broken, whole), "", *closing(result)):
        tell(line)
    return result


class _Missed(DifferenceError):
    """A training did not end as it was to: nobody reached it in time, it may be."""


def _submit(workspace: Workspace, target: str, report: Report, epochs: int) -> JobRecord:
    # One thread is enough for a network this small, and stays quick on a machine that is busy.
    request = JobRequest(
        task=TASK,
        arguments=("--epochs", str(epochs)),
        seed=SEED,
        environment=thread_settings(1, cores=1),
        target=target,
    )
    return launch.submit(workspace, request, report=report)


def _epochs(record: JobRecord) -> int:
    return int(record.arguments[-1])


def _interrupted_training(
    workspace: Workspace, target: str, report: Report, tell: Tell
) -> JobRecord:
    """Return a job that was interrupted and killed, and finished.

    One whose host answers too late goes on meanwhile, and may be over: then it is done once more,
    with twice as many epochs.
    """
    tries = 0
    while True:
        epochs = EPOCHS * 2**tries
        record = _submit(workspace, target, report, epochs)
        tell(f"job `{record.job}`: a CNN learns to read handwritten digits, {epochs} epochs")
        with _killed_at_the_end(Attended(workspace, record, report)) as job:
            try:
                _interrupt_and_kill(job, report, tell)
            except _Missed as error:
                tries += 1
                if job.place.is_here or tries == _TRIES:
                    raise
                tell(f"{error.message}: once more")
            else:
                return record


def _interrupt_and_kill(job: Attended, report: Report, tell: Tell) -> None:
    """Interrupt the first attempt by a touched file, kill the second, let the third finish."""
    record = job.record
    job.start()
    at = _wait_for_epoch(job, INTERRUPT_IN, report)
    preempt = record.folder / names.PREEMPT
    job.do_once(lambda: elsewhere.touch(job.place, preempt), lambda: _has(job, "notice"))
    tell(f"touched PREEMPT at step {at.step}, in the middle of epoch {at.epoch + 1}")
    _expect_code(record, _wait_for_end(job, report), names.EXIT_INTERRUPTED)
    for line in _told_of_interruption(job.history()):
        tell(line)
    job.resume()
    tell("resumed")
    at = _wait_for_epoch(job, KILL_IN, report)
    pid = _training_pid(record)
    job.do_once(
        lambda: send_signal(record.folder, pid, signal.SIGKILL),
        lambda: _training_pid(record) != pid,
    )
    tell(
        f"killed the training with SIGKILL at step {at.step}, in the middle of epoch {at.epoch + 1}"
    )
    _expect_code(record, _wait_for_end(job, report), names.EXIT_DONE)
    if _training_pid(record) == pid:
        raise _ended_too_soon(record)
    tell(_told_of_restart(job.history()))


def _uninterrupted_training(workspace: Workspace, record: JobRecord, report: Report) -> None:
    with _killed_at_the_end(Attended(workspace, record, report)) as job:
        job.start()
        _expect_code(record, _wait_for_end(job, report), names.EXIT_DONE)


@contextlib.contextmanager
def _killed_at_the_end(job: Attended) -> Iterator[Attended]:
    """Leave nothing running behind, whatever happens: Ctrl-C ends the demonstration too."""
    try:
        yield job
    finally:
        if folders.is_alive(job.record.folder):
            job.kill()


def _has(job: Attended, event: str) -> bool:
    return any(each.name == event for each in job.history())


def _wait_for_epoch(job: Attended, epoch: int, report: Report) -> Progress:
    """Return where the training is once it is in the middle of that epoch, or of a later one."""
    for progress in _watch(job, report):
        if progress is not None and progress.epoch >= epoch and progress.mid_epoch:
            return progress
    raise _ended_too_soon(job.record)


def _ended_too_soon(record: JobRecord) -> _Missed:
    return _Missed(
        f"job `{record.job}` ended before it could be interrupted",
        hint=f"perdure logs {record.job}",
    )


def _wait_for_end(job: Attended, report: Report) -> Event | None:
    """Return the last event once the supervisor has ended."""
    for _ in _watch(job, report):
        pass
    history = job.history()
    return history[-1] if history else None


def _watch(job: Attended, report: Report) -> Iterator[Progress | None]:
    """Yield where the training is, again and again, until its supervisor has ended."""
    record, shown = job.record, -1
    epochs = _epochs(record)
    for in_time in job.while_it_runs(_LIMIT_S, _POLL_S):
        progress = read_progress(record.folder)
        if progress is not None and progress.step != shown:
            shown = progress.step
            report(f"training `{record.job}`", done=progress.step, total=progress.total(epochs))
        yield progress
        if not in_time:
            raise TimeoutExpired(
                f"job `{record.job}` was not over within {_LIMIT_S:g} s",
                hint=f"perdure logs {record.job}",
            )


def _expect_code(record: JobRecord, ended: Event | None, code: int) -> None:
    found = ended.number("code") if ended else None
    if found != code:
        raise _Missed(
            f"job `{record.job}` ended with exit code {found}, not {code}",
            hint=f"perdure logs {record.job}",
        )


def _training_pid(record: JobRecord) -> int:
    started = [event for event in folders.read_history(record.folder) if event.name == "started"]
    pid = started[-1].number("pid")
    assert pid is not None
    return pid


def _told_of_interruption(history: Sequence[Event]) -> list[str]:
    """Return what the events of the first attempt say of its end."""
    tellers: dict[str, Callable[[Event], str]] = {
        "notice": lambda event: f"notice: {event.text('reason')}",
        "durable": lambda event: f"checkpoint of step {event.text('step')} is durable",
        "exited": lambda event: f"exit code {event.text('code')}: interrupted, run it again",
    }
    last = {event.name: event for event in history if event.name in tellers}
    return [tell(last[name]) for name, tell in tellers.items() if name in last]


def _told_of_restart(history: Sequence[Event]) -> str:
    restored = [event for event in history if event.name == "restored"][-1]
    return (
        f"attempt {restored.attempt} was started by the supervisor, went on from step "
        f"{restored.text('step')}, and finished"
    )


def judge(folder: Path, broken: JobHeading, whole: JobHeading, seconds: float) -> DemoResult:
    """Return what both trainings came to. Reads their run folders.

    Raises:
        DifferenceError: it is not the same, bit for bit; names the first difference.
    """
    expected, found = read_evidence(whole.folder), read_evidence(broken.folder)
    if expected is None or found is None:
        missing = whole if expected is None else broken
        raise DifferenceError(
            f"job `{missing.job}` left no finished checkpoint", hint=f"perdure logs {missing.job}"
        )
    difference = compare.first_difference(expected, found)
    if difference is not None:
        raise DifferenceError(
            f"the interrupted training ended otherwise: {describe(difference)}",
            hint=f"perdure why {broken.job} {whole.job}",
        )
    rows = len(expected.metrics)
    return DemoResult(folder, broken.job, whole.job, expected.weights, rows, seconds)


def table(broken: JobHeading, whole: JobHeading) -> list[str]:
    """Return what became of both jobs, side by side."""
    columns = [["", "attempts", "steps", "accuracy", "metric rows", "weights"]]
    for title, record in (("interrupted", broken), ("uninterrupted", whole)):
        evidence = read_evidence(record.folder)
        assert evidence is not None
        scores = [row["accuracy"] for row in evidence.metrics if "accuracy" in row]
        score = f"{float(str(scores[-1])):.1%}" if scores else "-"
        attempts = str(len(folders.attempts(record.folder)))
        rows = str(len(evidence.metrics))
        columns.append([title, attempts, str(evidence.step), score, rows, evidence.weights[:16]])
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


def closing(result: DemoResult) -> list[str]:
    """Return the last lines: the verdict, and what to try next."""
    here = shlex.quote(os.path.relpath(result.folder))
    return [
        f"identical: weights {result.weights[:16]}, {result.metric_rows} metric rows",
        f"both trainings took {result.seconds:.0f} s",
        "",
        "what to try next:",
        f"  cd {here}",
        f"  perdure show {result.interrupted}",
        "  perdure drill train -n 5 --self-test",
    ]
