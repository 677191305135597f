"""Optuna by ask and tell: its samplers propose a trial's values, its pruners end one early.

The study is a journal file of the sweep's folder. Optuna's trial N is the sweep's trial N + 1, so
that a driver that was killed between asking and starting is followed by one that starts what was
asked. What a trial is told is the best value its metric reached.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.errors import EnvironmentFailed, UsageError
from perdure.model.job import State
from perdure.model.sweep import Axis, Span
from perdure.runtime.metrics import read_rows
from perdure.sweeps import asked
from perdure.sweeps.brought import bring
from perdure.sweeps.ended import figures_in
from perdure.sweeps.record import JOURNAL_FILE, Sweep
from perdure.sweeps.standing import best_of, direction_of

if TYPE_CHECKING:
    import optuna

    from perdure.sweeps.journal import Journal

_EXTRA = "pip install 'perdure[optuna]'"
#: What samplers are made of besides, which Optuna itself imports as late as their first proposal.
_NEEDS = {"cmaes": ("cmaes",), "gp": ("torch", "scipy"), "qmc": ("scipy",)}


class Tuner:
    """The proposals of a study."""

    def __init__(self, folder: Path, sweep: Sweep) -> None:
        self._folder = folder
        self._sweep = sweep
        self._axes = sweep.axes
        self._metric = sweep.search.metric or ""
        self._direction = direction_of(self._metric, sweep.search.direction)
        self._study, self._journal = _open(folder, sweep, self._direction)
        # What a loss of power took from the journal never began: it is asked for again.
        asked_for = len(self._study.trials)
        self._known = {n: v for n, v in asked.read(folder).items() if n <= asked_for}
        # Asked for, and not noted: a disk that was full came between.
        self._unnoted: optuna.trial.Trial | None = None
        # Steps that a trial has reported already.
        self._reported: dict[int, int] = {}
        # Those that have reported since the pruner was asked.
        self._fresh: set[int] = set()
        self._live: dict[int, optuna.trial.Trial] = {}
        # Those that nobody has told the study of.
        self._open = {t.number + 1 for t in self._study.trials if not t.state.is_finished()}

    @property
    def ahead(self) -> bool:
        """Return that the next values depend on how those before end."""
        return False

    def values(self, trial: int) -> Mapping[str, str] | None:
        """Return the values of a trial, asked for if nobody has; None until those before are.

        Touches the disk.
        """
        while trial not in self._known:
            if self._ask() > trial:
                return None
        return self._known[trial]

    def _ask(self) -> int:
        """Return the number of a trial that is asked for, whose values are known then."""
        following = self._unnoted = self._unnoted or self._study.ask()
        number = int(following.number) + 1
        values = {axis.name: _suggested(following, axis) for axis in self._axes}
        # With what was told before; until then the run folders say the same.
        self._journal.sync()
        asked.add(self._folder, number, values)
        self._unnoted = None
        self._known[number] = values
        self._live[number] = following
        self._open.add(number)
        return number

    def told(self, trial: int, folder: Path, state: str) -> None:
        """Tell the study what a trial came to. Touches the disk."""
        if trial not in self._open:
            return
        from optuna.trial import TrialState

        figures = figures_in(folder).get(self._metric)
        if state == State.SUCCEEDED.value and figures is not None:
            self._tell(trial, best_of(figures, self._direction), None)
        elif state == State.CANCELLED.value and figures is not None:
            self._tell(trial, None, TrialState.PRUNED)
        else:
            self._tell(trial, None, TrialState.FAIL)
        self._open.discard(trial)

    def due(self, running: Mapping[int, Path]) -> list[int]:
        """Return the trials that the pruner gives up. Reads their metrics, asks who has them."""
        if self._sweep.search.pruner == "none":
            return []
        bring(running.values())
        return [trial for trial, folder in running.items() if self._hopeless(trial, folder)]

    def _hopeless(self, trial: int, folder: Path) -> bool:
        live = self._trial(trial)
        if live is None:
            return False
        for row in _rows(folder):
            step, value = row.get("step"), row.get(self._metric)
            if not isinstance(step, int) or not isinstance(value, (int, float)):
                continue
            if step > self._reported.get(trial, -1):
                live.report(float(value), step)
                self._reported[trial] = step
                self._fresh.add(trial)
        hopeless = trial in self._fresh and live.should_prune()
        # Only now: a disk that is full may come between, and then it is asked once more.
        self._fresh.discard(trial)
        return hopeless

    def _tell(self, trial: int, value: float | None, state: Any) -> None:  # noqa: ANN401 - Optuna's
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Told before, by a driver that was killed right after: that one stands.
            self._study.tell(trial - 1, value, state=state, skip_if_finished=True)
        self._live.pop(trial, None)

    def _trial(self, trial: int) -> optuna.trial.Trial | None:
        """Return the study's own trial: of one asked for by an earlier driver, too."""
        if trial not in self._live:
            import optuna

            frozen = next((t for t in self._study.trials if t.number == trial - 1), None)
            if frozen is None or frozen.state.is_finished():
                return None
            self._live[trial] = optuna.trial.Trial(self._study, frozen._trial_id)  # noqa: SLF001
        return self._live[trial]


def require_search(sweep: Sweep) -> None:
    """Return if Optuna can search as a sweep says: it proposes a trial that nobody runs.

    Touches no disk.

    Raises:
        EnvironmentFailed: Optuna is not installed, or what the sampler needs.
        UsageError: the sampler does not take those options.
    """
    _import_quietly()
    import optuna

    sampler = sampler_of(sweep, search_seed=sweep.search.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial = optuna.create_study(sampler=sampler).ask()
        try:
            for axis in sweep.axes:
                _suggested(trial, axis)
        except (TypeError, ValueError) as error:
            raise UsageError(f"the sampler `{sweep.search.sampler}`: {error}") from error


def _import_quietly() -> None:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise EnvironmentFailed(
            "a search of kind `optuna` needs Optuna, which is not installed here", hint=_EXTRA
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _open(folder: Path, sweep: Sweep, direction: str) -> tuple[optuna.Study, Journal]:
    _import_quietly()
    import optuna
    from optuna.storages import JournalStorage

    from perdure.sweeps.journal import Journal

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        journal = Journal(folder / JOURNAL_FILE)
        study = optuna.create_study(
            storage=JournalStorage(journal),
            study_name=folder.name,
            direction=direction,
            load_if_exists=True,
            pruner=pruner_of(sweep),
        )
    # A seed that was used before would propose again what it proposed then.
    study.sampler = sampler_of(sweep, search_seed=sweep.search.seed + len(study.trials))
    _repair(folder, sweep, study)
    return study, journal


def _repair(folder: Path, sweep: Sweep, study: optuna.Study) -> None:
    """Write down what the study has proposed, and a driver that was killed had not noted yet."""
    known = asked.read(folder)
    for trial in study.trials:
        if trial.number + 1 not in known:
            values = {
                axis.name: _as_text(axis, trial.params[axis.name])
                for axis in sweep.axes
                if axis.name in trial.params
            }
            if len(values) < len(sweep.axes):
                # It was killed in the middle of proposing: the rest is drawn as if for the first.
                live = _resumed(study, trial)
                values = {axis.name: _suggested(live, axis) for axis in sweep.axes}
            asked.add(folder, trial.number + 1, values)


def _resumed(study: optuna.Study, frozen: optuna.trial.FrozenTrial) -> optuna.trial.Trial:
    import optuna

    return optuna.trial.Trial(study, frozen._trial_id)  # noqa: SLF001 - Optuna has no other way


def sampler_of(sweep: Sweep, *, search_seed: int) -> optuna.samplers.BaseSampler:
    """Return the sampler that a sweep names.

    Raises:
        EnvironmentFailed: it needs a package that is not there.
        UsageError: it does not take those options.
    """
    from optuna import samplers

    search = sweep.search
    _require_packages(search.sampler)
    kinds: dict[str, Any] = {
        "tpe": samplers.TPESampler,
        "random": samplers.RandomSampler,
        "gp": samplers.GPSampler,
        "cmaes": samplers.CmaEsSampler,
        "nsgaii": samplers.NSGAIISampler,
        "qmc": samplers.QMCSampler,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: optuna.samplers.BaseSampler = kinds[search.sampler](
                seed=search_seed, **dict(search.options)
            )
    except (TypeError, ValueError) as error:
        raise UsageError(f"the sampler `{search.sampler}`: {error}") from error
    return made


def _require_packages(sampler: str) -> None:
    for package in _NEEDS.get(sampler, ()):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise EnvironmentFailed(
                f"the sampler `{sampler}` needs the package `{package}`: {error}",
                hint=f"pip install {' '.join(_NEEDS[sampler])}",
            ) from error


def pruner_of(sweep: Sweep) -> optuna.pruners.BasePruner:
    """Return the pruner that a sweep names."""
    from optuna import pruners

    kinds: dict[str, Any] = {
        "none": pruners.NopPruner,
        "median": pruners.MedianPruner,
        "hyperband": pruners.HyperbandPruner,
        "successive-halving": pruners.SuccessiveHalvingPruner,
        "percentile": lambda: pruners.PercentilePruner(25.0),
    }
    made: optuna.pruners.BasePruner = kinds[sweep.search.pruner]()
    return made


def _suggested(trial: optuna.trial.Trial, axis: Axis) -> str:
    values = axis.values
    if not isinstance(values, Span):
        return str(trial.suggest_categorical(axis.name, list(values)))
    if values.whole:
        found = trial.suggest_int(axis.name, int(values.low), int(values.high))
        return str(found)
    return values.text(trial.suggest_float(axis.name, values.low, values.high, log=values.log))


def _as_text(axis: Axis, value: object) -> str:
    if isinstance(axis.values, Span) and not axis.values.whole:
        return axis.values.text(float(str(value)))
    return str(value)


def _rows(folder: Path) -> list[dict[str, object]]:
    try:
        return read_rows(str(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return []
