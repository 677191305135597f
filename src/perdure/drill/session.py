"""A drill of a project's task: its code snapshot, its folder, its run under the real supervisor."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from perdure.drill.attend import Attended
from perdure.drill.evidence import AttemptEnd
from perdure.drill.plan import Kind, RunPlan
from perdure.drill.play import Stage, lanes, thread_settings
from perdure.drill.report import DrillReport
from perdure.drill.rounds import Drill, drill
from perdure.errors import PerdureError, UsageError
from perdure.hosts.local import Completed
from perdure.jobs import elsewhere, launch
from perdure.jobs import folder as folders
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace, make_state_folder, submitting
from perdure.model.job import UNLIMITED, Event, JobRecord, Resources
from perdure.model.report import Report
from perdure.runtime import names
from perdure.targets.cluster import is_scheduled
from perdure.targets.patience import patiently
from perdure.targets.place import Place
from perdure.targets.protocol import Target
from perdure.targets.registry import LOCAL, open_target

R = TypeVar("R")

_POLL_S = 0.02
# What a supervised run may take over the sum of its attempts: starts, back-off.
_SLACK_S = 60.0


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """What `perdure drill` was asked for; `kinds` as `--kinds` names them, () for all.

    `seed` is the training's and the interruptions'. The drill's folders stay with `keep`, and
    whenever something was found.
    """

    task: str
    arguments: tuple[str, ...] = ()
    runs: int = 20
    kinds: tuple[str, ...] = ()
    self_test: bool = False
    tolerance: float = 1e-5
    seed: int = 0
    keep: bool = False
    target: str = LOCAL
    resources: Resources = UNLIMITED


def run_drill(workspace: Workspace, options: DrillOptions, report: Report) -> DrillReport:
    """Return what the drill of a task found. Starts processes; writes under `.perdure/drills`.

    Raises:
        UsageError: no such task, or a training that cannot be drilled.
        DifferenceError: the training fails even when nobody interrupts it.
    """
    _check(options)
    target = open_target(options.target, workspace.project, workspace.settings)
    place = target.place
    with submitting(workspace.project), _folder(workspace, place) as folder:
        cores = _cores(target, options.resources)
        at_a_time = lanes(cores)
        record = _submit(workspace, options, folder, thread_settings(at_a_time, cores), report)
        stage = _stage(workspace, record, folder, at_a_time, report)
        order = Drill(
            task=options.task,
            runs=options.runs,
            kinds=tuple(map(Kind, options.kinds)) or tuple(Kind),
            self_test=options.self_test,
            tolerance=options.tolerance,
            seed=options.seed,
        )
        found = drill(order, stage, _Supervised(workspace, record, report), report)
        if options.keep or not found.passed:
            return replace(found, folder=folder)
        patiently(place.host, report, lambda: elsewhere.remove_folder(place, folder))
        return replace(found, folder=None)


def _check(options: DrillOptions) -> None:
    if options.runs < 1:
        raise UsageError("a drill has at least one run", hint=f"perdure drill {options.task} -n 20")
    if options.tolerance < 0:
        raise UsageError("a tolerance is 0 or more", hint="perdure drill --tolerance 1e-5")
    unknown = [kind for kind in options.kinds if kind not in {one.value for one in Kind}]
    if unknown:
        listed = ",".join(kind.value for kind in Kind)
        raise UsageError(f"`{unknown[0]}` is no kind of interruption", hint=f"--kinds {listed}")


def _cores(target: Target, resources: Resources) -> int:
    """Return how many cores the runs have together, which all have the same number of threads."""
    if resources.cpus is None and not is_scheduled(target):
        return elsewhere.cores(target.place)
    # A scheduler gives one, unless it is asked for more.
    return max(1, int(resources.cpus or 1))


@contextmanager
def _folder(workspace: Workspace, place: Place) -> Iterator[Path]:
    """Yield the drill's folder; one that broke off before it found anything is removed."""
    drills = make_state_folder(workspace.project) / "drills"
    folder = drills / f"drill-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(PerdureError):
            elsewhere.remove_folder(place, folder)
        raise


def _submit(
    workspace: Workspace,
    options: DrillOptions,
    folder: Path,
    threads: dict[str, str],
    report: Report,
) -> JobRecord:
    """Return the one job whose record, snapshot and environment all runs share.

    Its run folder is the drill's: it is no job of the user's.
    """
    request = JobRequest(
        task=options.task,
        arguments=options.arguments,
        seed=options.seed,
        name=folder.name,
        environment=threads,
        target=options.target,
        resources=options.resources,
    )
    record = launch.submit(workspace, request, report=report)
    return folders.read_record(Path(shutil.move(record.folder, folder / folder.name)))


def _stage(
    workspace: Workspace, record: JobRecord, folder: Path, at_a_time: int, report: Report
) -> Stage:
    target = launch.target_of(workspace, record)
    plan = target.plan(record)
    return Stage(
        python=_python(record, plan.command, in_image=target.in_image, here=target.place.is_here),
        argv=plan.command,
        cwd=plan.cwd,
        site=_There(target, record, folder, report),
        folder=folder,
        seed=record.seed,
        lanes=at_a_time,
    )


def _python(record: JobRecord, argv: tuple[str, ...], *, in_image: bool, here: bool) -> str:
    """Return the interpreter that plays the attempts: the training's own."""
    if Path(argv[0]).name.startswith("python"):
        return argv[0]
    if in_image:
        return "python"
    prefix = record.environment.prefix
    if prefix is None:
        return sys.executable if here else "python3"
    return f"{prefix}/bin/python"


@dataclass(frozen=True, slots=True)
class _There:
    """Where the drill's one job would run. A host that does not answer meanwhile is waited for."""

    target: Target
    record: JobRecord
    folder: Path
    report: Report

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout_s: float,
        on_line: Callable[[str], None],
    ) -> Completed:
        """Return how a command ended in the job's folder and environment.

        The drill's folder is there as it is here before, and here as it is there afterwards.
        """
        place = self.target.place
        wanted = [self.folder, *(each for each in self.folder.iterdir() if each.is_dir())]
        self._patiently(lambda: elsewhere.make_folders(place, wanted))
        done = self.target.run(
            self.record,
            argv,
            stdin=stdin,
            timeout_s=timeout_s,
            on_line=on_line,
            report=self.report,
        )
        self._patiently(lambda: elsewhere.fetch(place, self.folder))
        return done

    def seen(self, path: Path) -> str:
        """Return what a path below the drill's folder is called there."""
        return self._patiently(lambda: self.target.seen(self.record, path))

    def _patiently(self, act: Callable[[], R]) -> R:
        return patiently(self.target.place.host, self.report, act)


@dataclass(frozen=True, slots=True)
class _Supervised:
    """Plays a run as a job: supervisor, control channel, back-off, and `resume` after code 75."""

    workspace: Workspace
    record: JobRecord
    report: Report

    def __call__(self, plan: RunPlan, limit_s: float) -> tuple[AttemptEnd, ...]:
        """Return how its attempts ended; its run folder is the plan's afterwards."""
        job = Attended(self.workspace, self.record, self.report)
        environment = {names.DRILL: plan.orders()}
        all_s = _SLACK_S + limit_s * (len(plan.interruptions) + 1)
        try:
            job.start(environment)
            hung = not _ended(job, all_s)
            while not hung and _was_interrupted(job):
                job.resume(environment)
                hung = not _ended(job, all_s)
        except BaseException:
            with contextlib.suppress(PerdureError):
                job.kill()
            raise
        job.do(job.kill)
        final = self.record.folder.with_name(plan.name)
        job.do(lambda: elsewhere.move_folder(job.place, self.record.folder, final))
        job.do(lambda: elsewhere.fetch(job.place, final))
        return attempt_ends(final, hung=hung)


def _ended(job: Attended, limit_s: float) -> bool:
    """Return whether its supervisor ended within the time."""
    return all(job.while_it_runs(limit_s, _POLL_S))


def _was_interrupted(job: Attended) -> bool:
    history = job.history()
    return bool(history) and history[-1].fields.get("code") == names.EXIT_INTERRUPTED


def attempt_ends(folder: Path, *, hung: bool = False) -> tuple[AttemptEnd, ...]:
    """Return how each attempt of a supervised run ended, from its events; `hung`: the last one."""
    events = [event for event in folders.read_history(folder) if event.name == "exited"]
    last = events[-1].attempt if events else 0
    return tuple(
        AttemptEnd(
            event.attempt, _code(event), _seconds(event), hung=hung and event.attempt == last
        )
        for event in events
    )


def _code(event: Event) -> int:
    signalled = event.number("signal")
    return -signalled if signalled else event.number("code") or 0


def _seconds(event: Event) -> float:
    elapsed = event.fields.get("elapsed_s")
    return float(elapsed) if isinstance(elapsed, int | float) else 0.0
