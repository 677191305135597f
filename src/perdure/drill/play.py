"""Play the runs of a drill: a fresh attempt after each interruption, until the training is over.

Most are played by a zygote in the training's own environment (perdure.runtime.zygote), some by the
real supervisor, so that that path is proved as well. All have the same number of threads: another
number sums in another order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from perdure.drill.evidence import AttemptEnd
from perdure.drill.plan import RunPlan
from perdure.errors import DifferenceError
from perdure.hosts.local import Completed
from perdure.model.report import Report

Ends = Mapping[str, tuple[AttemptEnd, ...]]

MODULES_FILE = "modules.json"
# An attempt more than there are interruptions, and as many again that a signal may have cut short.
_SPARE_ATTEMPTS = 2
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class Site(Protocol):
    """A machine or a container in which a drill is played, as a target gives it."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout_s: float,
        on_line: Callable[[str], None],
    ) -> Completed:
        """Return how a command ended in the training's folder and environment."""

    def seen(self, path: Path) -> str:
        """Return what a path below the drill's folder is called there."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a drill is played: the training's command, and the environment around it.

    `cwd`, like the command, is as it is called on the site; `folder` is this machine's.
    """

    python: str
    argv: tuple[str, ...]
    cwd: Path
    site: Site
    folder: Path
    seed: int
    lanes: int


def lanes(cores: int | None = None) -> int:
    """Return how many runs are played at a time on this machine."""
    return min(2, cores or os.cpu_count() or 1)


def thread_settings(at_a_time: int, cores: int | None = None) -> dict[str, str]:
    """Return the variables that give each run its share of the cores, the same for all."""
    threads = max(1, (cores or os.cpu_count() or 1) // at_a_time)
    return {name: str(threads) for name in _THREAD_VARIABLES}


def play(
    stage: Stage, plans: Sequence[RunPlan], limit_s: float, report: Report, *, message: str
) -> Ends:
    """Return how the attempts of each run ended. Starts processes; writes under `stage.folder`.

    An attempt that takes longer than `limit_s` is killed, and its end says that it hung.

    Raises:
        DifferenceError: the runs could not be played at all; the hint is what was complained of.
    """
    told = _Told(report, message, {plan.name for plan in plans})
    orders = json.dumps(_orders(stage, plans, limit_s)).encode()
    attempts = sum(len(plan.interruptions) + 1 + _SPARE_ATTEMPTS for plan in plans)
    report(message, done=0, total=len(plans))
    done = stage.site.run(
        (stage.python, "-m", "perdure.runtime.zygote"),
        stdin=orders,
        timeout_s=60 + limit_s * attempts,
        on_line=told.line,
    )
    ends = dict(_ends(done.stdout.splitlines()))
    if done.returncode or len(ends) < len(plans):
        raise DifferenceError(
            f"the drill's runs broke off (exit code {done.returncode})",
            hint=done.complaint.rpartition("\n")[2] or None,
        )
    return ends


def _orders(stage: Stage, plans: Sequence[RunPlan], limit_s: float) -> dict[str, object]:
    modules = stage.folder / MODULES_FILE
    known = json.loads(modules.read_text()) if modules.is_file() else []
    return {
        "argv": list(stage.argv),
        "cwd": os.fspath(stage.cwd),
        "modules": known,
        "lanes": stage.lanes,
        "runs": [
            _run(stage, plan, limit_s, "" if known else stage.site.seen(modules)) for plan in plans
        ],
    }


def _run(stage: Stage, plan: RunPlan, limit_s: float, modules_to: str) -> dict[str, object]:
    folder = stage.folder / plan.name
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "name": plan.name,
        "folder": stage.site.seen(folder),
        "seed": stage.seed,
        "orders": plan.orders(),
        "attempts": len(plan.interruptions) + 1 + _SPARE_ATTEMPTS,
        "limit_s": limit_s,
        "modules_to": modules_to,
    }


def _ends(lines: Iterable[bytes]) -> Iterable[tuple[str, tuple[AttemptEnd, ...]]]:
    for line in lines:
        try:
            run = json.loads(line)
            ends = tuple(
                AttemptEnd(end["attempt"], end["code"], end["seconds"], end["hung"])
                for end in run["attempts"]
            )
        except (ValueError, KeyError, TypeError):
            continue  # something that an imported library printed
        yield run["run"], ends


class _Told:
    """Reports progress: how many runs have come to their end."""

    def __init__(self, report: Report, message: str, names: set[str]) -> None:
        self._report: Callable[..., None] = report
        self._message = message
        self._waiting = names
        self._total = len(names)

    def line(self, line: str) -> None:
        """Take one line of the zygote's standard error."""
        try:
            end = json.loads(line)
            over = end["code"] not in (75, -9, -15) or end["hung"]
        except (ValueError, KeyError, TypeError):
            return  # a library's warning
        if over:
            self._waiting.discard(end["run"])
            self._report(self._message, done=self._total - len(self._waiting), total=self._total)
