"""All probes in one table, each within its time limit, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from perdure.doctor import container, disk, gpu, owner, programs
from perdure.doctor.finding import Finding, problem, warning
from perdure.doctor.surroundings import Surroundings, look_around
from perdure.errors import MissingProgram, PerdureError
from perdure.hosts.limited import Limited
from perdure.model.report import Report, silent


@dataclass(frozen=True, slots=True)
class Probe:
    """Something to look at, and how long that may take."""

    name: str
    look: Callable[[Surroundings], Iterable[Finding]]
    limit_s: float = 20.0


PROBES = (
    Probe("perdure", programs.perdure),
    Probe("project", programs.files),
    Probe("uv", programs.uv),
    Probe("git", programs.git),
    Probe("engine", container.engine),
    Probe("buildkit", container.building, 45.0),
    Probe("image store", container.images),
    Probe("compose", container.compose),
    Probe("gpu", gpu.driver, 45.0),
    Probe("gpu in containers", gpu.container_gpus),
    Probe("user", owner.user, 90.0),
    Probe("disk", disk.room),
    Probe("file locks", disk.locks),
    Probe("inotify", disk.watches),
)


def examine(
    start: Path, environ: Mapping[str, str] | None = None, *, report: Report = silent
) -> tuple[Finding, ...]:
    """Return what is found in and around a folder, in the order of the table.

    Touches the disk, runs programs, asks the engine; fetches nothing and changes nothing.
    """
    report("looking for the project and the container engine")
    around = look_around(start, environ)
    report("looking at this machine")
    return run_probes(PROBES, around)


def run_probes(probes: Sequence[Probe], around: Surroundings) -> tuple[Finding, ...]:
    """Return the findings of all probes; one that does not end in time becomes a finding itself."""
    begun = time.monotonic()
    started = [(probe, Limited(partial(_look, probe, around), probe.name)) for probe in probes]
    findings: list[Finding] = []
    for probe, work in started:
        left = probe.limit_s - (time.monotonic() - begun)
        found = work.answer(max(left, 0.01))
        if found is None:
            told = f"no answer within {probe.limit_s:g} s"
            found = [problem(probe.name, told, "is a disk or a network mount gone?")]
        findings += found
    return tuple(findings)


def _look(probe: Probe, around: Surroundings) -> list[Finding]:
    try:
        return list(probe.look(around))
    except PerdureError as error:
        return [_failed(probe, error)]


def _failed(probe: Probe, error: PerdureError) -> Finding:
    """Return the finding of a probe that ended with one of perdure's errors."""
    remedy = error.hint or "see what it says"
    if isinstance(error, MissingProgram):
        return problem(probe.name, error.message, remedy)
    return warning(probe.name, error.message, remedy)
