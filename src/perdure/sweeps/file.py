"""A sweep as a file: sweep.toml. Decoded whole, with all that is wrong with it.

task = "train"
max_running = 8

[axes]
lr = "1e-5..1e-1:log"
batch = [16, 32]

[search]
kind = "random"
trials = 100
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from perdure.errors import UsageError
from perdure.model.sweep import Axis, Search, Style
from perdure.project.validate import Problem, problems_in, read_toml, refuse
from perdure.sweeps.notation import parse_axis, written

_SAMPLERS = Literal["tpe", "random", "gp", "cmaes", "nsgaii", "qmc"]
_PRUNERS = Literal["none", "median", "hyperband", "successive-halving", "percentile"]
_Positive = Annotated[int, Meta(ge=1)]


class SearchTable(Struct, forbid_unknown_fields=True):
    """How trials are chosen."""

    kind: Literal["grid", "random", "optuna"] = "grid"
    trials: _Positive | UnsetType = UNSET
    seed: Annotated[int, Meta(ge=0)] = 0
    metric: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    direction: Literal["minimize", "maximize"] | UnsetType = UNSET
    sampler: _SAMPLERS = "tpe"
    pruner: _PRUNERS = "none"
    options: Annotated[
        dict[str, Any], Meta(description="what Optuna's sampler is to be given by name")
    ] = {}


class SweepTable(Struct, forbid_unknown_fields=True):
    """A sweep.toml."""

    axes: dict[str, str | list[str | int | float | bool]] = {}
    task: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    name: str | UnsetType = UNSET
    on: str | UnsetType = UNSET
    max_running: _Positive | UnsetType = UNSET
    seed: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    arguments: list[str] = []
    search: SearchTable | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class SweepFile:
    """What a file says. None: it does not."""

    path: Path
    task: str | None
    name: str | None
    on: str | None
    max_running: int | None
    job_seed: int | None
    arguments: tuple[str, ...]
    axes: tuple[tuple[str, str], ...]
    search: Search

    def axes_as(self, style: Style) -> tuple[Axis, ...]:
        """Return the axes.

        Raises:
            UsageError: one is none.
        """
        return tuple(parse_axis(name, text, style) for name, text in self.axes)


def read_file(path: Path) -> SweepFile:
    """Return what a sweep.toml says. Reads the disk.

    Raises:
        UsageError: it is not there, or naming every problem of it.
    """
    if not path.is_file():
        raise UsageError(f"there is no file `{path}`", hint="perdure sweep --file sweep.toml")
    document = read_toml(path)
    problems = problems_in(document, SweepTable, "")
    if not problems:
        problems = _contradictions(msgspec.convert(document, SweepTable))
    refuse(path, problems, "docs/sweeps.md")
    table = msgspec.convert(document, SweepTable)
    return SweepFile(
        path=path,
        task=_or_none(table.task),
        name=_or_none(table.name),
        on=_or_none(table.on),
        max_running=_or_none(table.max_running),
        job_seed=_or_none(table.seed),
        arguments=tuple(table.arguments),
        axes=tuple(
            (name, values if isinstance(values, str) else written(values))
            for name, values in table.axes.items()
        ),
        search=_decided(_search(table)),
    )


def _decided(search: SearchTable) -> Search:
    return Search(
        kind=search.kind,
        trials=_or_none(search.trials),
        seed=search.seed,
        metric=_or_none(search.metric),
        direction=_or_none(search.direction),
        sampler=search.sampler,
        pruner=search.pruner,
        options=search.options,
    )


def _contradictions(table: SweepTable) -> list[Problem]:
    search = _search(table)
    found = []
    if any("\0" in word for word in table.arguments):
        found.append(Problem("arguments", "no program can be given the character 0"))
    if search.kind != "grid" and isinstance(search.trials, UnsetType):
        found.append(Problem("search.trials", f"a search of kind `{search.kind}` needs a number"))
    if search.kind == "grid" and not isinstance(search.trials, UnsetType):
        found.append(Problem("search.trials", "a grid has as many trials as combinations"))
    if search.kind == "optuna" and isinstance(search.metric, UnsetType):
        found.append(Problem("search.metric", "Optuna needs a metric of `run.log()` to go by"))
    if search.kind != "optuna" and (search.sampler != "tpe" or search.pruner != "none"):
        found.append(Problem("search.kind", "samplers and pruners are those of `optuna`"))
    return found


def _search(table: SweepTable) -> SearchTable:
    return SearchTable() if isinstance(table.search, UnsetType) else table.search


def _or_none(value: Any) -> Any:  # noqa: ANN401 - of any type, the same comes back
    return None if isinstance(value, UnsetType) else value
