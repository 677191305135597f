"""Where a sweep stands: its trials by state, and what they came to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perdure.jobs.ledger import statuses, uncollected
from perdure.jobs.workspace import Workspace
from perdure.model.job import ENDED, JobHeading, JobStatus, State
from perdure.model.sweep import Direction, job_name
from perdure.sweeps import asked
from perdure.sweeps.ended import Figures, Row, figures_in, read_index
from perdure.sweeps.holding import Word, is_driven, last_word
from perdure.sweeps.orphans import is_orphaned
from perdure.sweeps.ownership import trial_told
from perdure.sweeps.proposals import Computed
from perdure.sweeps.record import Sweep, read_sweep

#: Of these metrics less is better whatever else their names say: `dice_loss`, `top1_error`.
_LESS_IS_BETTER = re.compile(r"(^|[^a-z])(loss|losses|error|errors|err|gap|distance)([^a-z]|$)")
#: Of these more is, where nobody says otherwise.
_MORE_IS_BETTER = re.compile(
    r"(^|[^a-z])(acc|accuracy|auc|auroc|bleu|dice|f1|iou|map|precision|psnr|r2|recall|return|"
    r"reward|rouge|score|ssim|top\d?)([^a-z]|$)"
)

# Numbers of trials are below it.
_EVERY = 10**12

ValuesOf = Callable[[int], Mapping[str, str] | None]


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial: its values, its job's state, and its metrics. `status` is None before it began.

    `deleted`: its run folder is there no more. `values_of` is asked for the values of those that
    are shown, which are few of many.
    """

    number: int
    job: str
    values_of: ValuesOf = field(compare=False, repr=False)
    status: JobStatus | None
    metrics: Mapping[str, Figures]
    deleted: bool = False

    @property
    def values(self) -> Mapping[str, str]:
        """Return its values by axis; none where they are not known any more."""
        return self.values_of(self.number) or {}

    @property
    def state(self) -> State:
        """Return where it stands."""
        return State.QUEUED if self.status is None else self.status.state


@dataclass(frozen=True, slots=True)
class Standing:
    """A sweep with its trials that began; `count` is how many there are in all.

    `states` counts trials by state; those that never began are QUEUED. `driver` is what its driver
    said last, `driven` whether one lives, `orphaned` whether one should. `problem` is why its axes
    cannot be read, "" where they can: then no more is known of it than trials that began.
    """

    sweep: Sweep
    count: int
    trials: tuple[Trial, ...]
    states: Mapping[State, int]
    driven: bool
    orphaned: bool
    driver: Word | None
    problem: str = ""

    @property
    def over(self) -> bool:
        """Return whether all trials have ended."""
        ended = sum(n for state, n in self.states.items() if state in ENDED)
        return ended == self.count and not self.problem

    def metric(self, wanted: str | None = None) -> str | None:
        """Return the metric to look at: the wanted one, the search's, the first that was logged."""
        if wanted or self.sweep.search.metric:
            return wanted or self.sweep.search.metric
        logged = (next(iter(trial.metrics), None) for trial in self.trials)
        return next((name for name in logged if name is not None), None)

    def metrics(self) -> list[str]:
        """Return the names of all metrics, in order of appearance."""
        return list(dict.fromkeys(name for trial in self.trials for name in trial.metrics))


def standing(workspace: Workspace, folder: Path) -> Standing:
    """Return where a sweep stands. Reads the disk; asks the hosts of jobs elsewhere.

    Raises:
        PerdureError: the sweep cannot be read.
    """
    with uncollected():
        return _standing(workspace, folder, read_sweep(folder))


def _standing(workspace: Workspace, folder: Path, sweep: Sweep) -> Standing:
    driven = is_driven(folder)
    index = read_index(folder)
    values_of, problem = _values_of(folder, sweep), sweep.problem
    prefix = f"{sweep.name}-"
    count = _EVERY if problem else sweep.count
    trials = []
    for status in statuses(workspace, all=True):
        job = status.record.job
        number = trial_told(sweep.name, status) if job.startswith(prefix) else None
        if number is not None and number <= count:
            trials.append(_trial(number, status, values_of, index.pop(number, None)))
    trials += [_deleted(workspace, sweep, row, values_of) for row in index.values()]
    trials.sort(key=lambda trial: trial.number)
    count = len(trials) if problem else count
    states = _counted(trials, count)
    orphaned, word = is_orphaned(folder), last_word(folder)
    return Standing(sweep, count, tuple(trials), states, driven, orphaned, word, problem)


def _values_of(folder: Path, sweep: Sweep) -> ValuesOf:
    if sweep.search.kind == "optuna":
        return asked.read(folder).get
    return _unknown if sweep.problem else Computed(sweep).values


def _unknown(number: int) -> None:  # noqa: ARG001 - as the others
    return None


def _counted(trials: Sequence[Trial], count: int) -> Mapping[State, int]:
    """Return how many stand where, in the order of the states."""
    # By their words: a state's own hash is a call of Python.
    found = Counter([t.status.state.value for t in trials if t.status is not None])
    found[State.QUEUED.value] += max(0, count - len(trials))
    return {state: found[state.value] for state in State if found[state.value]}


def _trial(number: int, status: JobStatus, values_of: ValuesOf, row: Row | None) -> Trial:
    fits = row is not None and (row.attempt, row.state) == (status.attempt, status.state.value)
    if row is not None and fits:
        metrics = row.metrics
    elif status.attempt and (status.state in ENDED or row is None):
        metrics = figures_in(status.record.folder)
    else:
        metrics = {}
    return Trial(number, status.record.job, values_of, status, metrics)


def _deleted(workspace: Workspace, sweep: Sweep, row: Row, values_of: ValuesOf) -> Trial:
    """Return a trial that ended, and whose run folder is there no more."""
    job = job_name(sweep.name, row.trial)
    heading = JobHeading(workspace.project.results, job, sweep.task, (), "")
    status = JobStatus(heading, State(row.state), "run folder deleted", row.attempt)
    return Trial(row.trial, job, values_of, status, row.metrics, deleted=True)


def queued(found: Standing, most: int) -> list[Trial]:
    """Return trials that did not begin yet, `most` at most."""
    if found.sweep.search.kind == "optuna" or most <= 0 or found.problem:
        return []
    began = {trial.number for trial in found.trials}
    computed = Computed(found.sweep)
    waiting: list[Trial] = []
    for number in range(1, found.count + 1):
        if len(waiting) == most:
            break
        if number not in began:
            job = job_name(found.sweep.name, number)
            waiting.append(Trial(number, job, computed.values, None, {}))
    return waiting


def direction_of(metric: str, said: Direction | None) -> Direction:
    """Return whether less or more of a metric is better: as said, else by its name."""
    if said is not None:
        return said
    name = metric.lower()
    less = _LESS_IS_BETTER.search(name) or not _MORE_IS_BETTER.search(name)
    return "minimize" if less else "maximize"


def best_of(figures: Figures, direction: Direction) -> float:
    """Return the best value that a trial reached."""
    return figures.high if direction == "maximize" else figures.low


def ranked(trials: Iterable[Trial], metric: str, direction: Direction) -> list[Trial]:
    """Return the trials that have a metric, the best first."""
    having = [trial for trial in trials if metric in trial.metrics]
    sign = -1.0 if direction == "maximize" else 1.0
    return sorted(having, key=lambda trial: sign * best_of(trial.metrics[metric], direction))


def failures(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that failed."""
    return [trial for trial in trials if trial.state is State.FAILED]


def failed_attempts(found: Standing, states: frozenset[State]) -> dict[int, int]:
    """Return the trials that stand in one of the states, with their attempts.

    One whose run folder was deleted is none of them: nothing is left of it to be run again.
    """
    return {
        trial.number: trial.status.attempt
        for trial in found.trials
        if trial.status is not None and trial.state in states and not trial.deleted
    }
