"""`perdure doctor`: what this machine has of what perdure needs, and what to do about the rest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_json
from perdure.cli.progress import terminal_width
from perdure.cli.render import Console
from perdure.cli.table import GAP, Column, make_table, shorten
from perdure.cli.words import counted
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.doctor.finding import Finding
    from perdure.model.project import Project
    from perdure.model.settings import Settings

SEEN_PLACES = 100
SLURM = "slurm"
LEAST_PLACES = 20
OK, WARNING, PROBLEM = "ok", "warning", "problem"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `doctor` takes."""
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help="a host of `perdure targets` (this machine)"
    )
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 if no finding is a problem, else 1."""
    from perdure.doctor.finding import problems_in

    findings = examined(arguments.target, console)
    found = problems_in(findings)
    if arguments.json:
        console.json({"findings": [as_json(each) for each in findings], "problems": found})
    else:
        show(findings, console, about_here=is_here(arguments.target))
    return 1 if found else 0


def examined(target: str | None, console: Console) -> tuple[Finding, ...]:
    """Return what is found on a target's host, or on this machine.

    Raises:
        UsageError: there is no such target.
    """
    from perdure.doctor.examine import examine
    from perdure.doctor.host import examine_host
    from perdure.doctor.targets import settings_around
    from perdure.targets.registry import unknown_target

    if target is None or is_here(target):
        return examine(Path.cwd(), report=console)
    project, settings = settings_around(Path.cwd())
    if target not in settings.targets:
        raise unknown_target(target, settings)
    wanted = settings.targets[target]
    if wanted.cloud is not None:
        return examined_cloud(target, project, settings, console)
    if wanted.kubernetes is not None:
        from perdure.doctor.kubernetes import examine_kubernetes

        return examine_kubernetes(target, project, settings, report=console)
    found = examine_host(target, wanted, report=console) if wanted.host else ()
    if wanted.kind != SLURM or any(each.name == "ssh" and each.remedy for each in found):
        return found
    from perdure.doctor.cluster import examine_cluster

    return (*found, *examine_cluster(target, project, settings))


def examined_cloud(
    target: str, project: Project | None, settings: Settings, console: Console
) -> tuple[Finding, ...]:
    """Return what is found of a cloud.

    Raises:
        UsageError: there is no project around: a cloud keeps jobs by project.
    """
    from perdure.doctor.cloud import examine_cloud

    if project is None:
        raise UsageError(f"`{target}` is looked at from a project", hint="cd PROJECT")
    return examine_cloud(target, project, settings, report=console)


def is_here(target: str | None) -> bool:
    """Return whether a target is on this machine."""
    return target in (None, "local", "docker")


def show(findings: Sequence[Finding], console: Console, *, about_here: bool = True) -> None:
    """Write the findings as a table, and below it, whole, what is wrong with its remedy."""
    columns = (Column("CHECK"), Column("VERDICT", paint=True), Column("SEEN"))
    # What is cut off here stands below, whole, if it is wrong.
    left = seen_places(findings) if console.out_is_terminal else SEEN_PLACES
    rows = [
        (each.name, each.verdict.value, shorten(each.seen.splitlines()[0], left))
        for each in findings
    ]
    console.table(make_table(columns, rows))
    wrong = [each for each in findings if each.remedy]
    for each in wrong:
        console.lines(["", f"{each.verdict.value}: {each.name}", *indented(each.seen)])
        console.lines([f"  remedy: {each.remedy}"])
    console.say(summary(findings, about_here=about_here))


def seen_places(findings: Sequence[Finding]) -> int:
    """Return how much of a terminal's width the other columns leave."""
    others = max(len(each.name) for each in findings) + len("VERDICT") + 2 * len(GAP)
    return max(LEAST_PLACES, terminal_width(sys.stdout) - others - 1)


def indented(text: str) -> list[str]:
    """Return the lines of a text, set in."""
    return [f"  {line}" for line in text.splitlines()]


def summary(findings: Sequence[Finding], *, about_here: bool = True) -> str:
    """Return the last line: how many are wrong, and what works all the same."""
    verdicts = [each.verdict.value for each in findings]
    parts = [counted(verdicts.count(kind), kind) for kind in (PROBLEM, WARNING) if kind in verdicts]
    told = f"{' and '.join(parts)}" if parts else "nothing is wrong"
    named = {each.name: each.verdict.value for each in findings}
    local_works = about_here and named.get("uv") == OK and named.get("configuration") is None
    if named.get("engine") != OK and local_works:
        told += "; without a container engine, `perdure run --on local` works"
    return told


def as_json(finding: Finding) -> dict[str, str]:
    """Return a finding for a program."""
    return {
        "name": finding.name,
        "verdict": finding.verdict.value,
        "seen": finding.seen,
        "remedy": finding.remedy,
    }
