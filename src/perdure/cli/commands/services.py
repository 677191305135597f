"""`perdure services`: what is open, where, since when, and when it ends; or all of it stopped."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_json
from perdure.cli.nearest import did_you_mean
from perdure.cli.render import Console
from perdure.cli.table import Column, Table, make_table
from perdure.cli.words import duration
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.jobs.workspace import Workspace
    from perdure.services.listing import Service

NOTHING = "-"
# For so long hosts are waited for whose services are to be stopped.
STOP_S = 20.0
ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `services` takes."""
    parser.add_argument(
        "--stop", metavar="NAME|all", help="end those of that name on all targets, or all"
    )
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0, or 1 where a host was not reached whose services were to be stopped."""
    from perdure.jobs.workspace import open_workspace
    from perdure.services.listing import services_of

    workspace = open_workspace(Path.cwd())
    if arguments.stop is not None:
        require_name(arguments.stop)
        found = services_of(workspace, STOP_S)
        chosen = [each for each in found if arguments.stop in (ALL, each.name)]
        return stop(workspace, chosen, console, as_json=arguments.json)
    found = services_of(workspace)
    if arguments.json:
        console.json([as_json(each) for each in found])
    else:
        console.table(service_table(found))
        console.lines(complaints(found))
    return 0


def stop(
    workspace: Workspace, chosen: Sequence[Service], console: Console, *, as_json: bool
) -> int:
    """Return 0 once they are stopped, 1 where a host of theirs was not reached."""
    from perdure.services.opening import stop_service

    reached = [each for each in chosen if each.problem is None]
    for each in reached:
        stop_service(workspace, each.name, each.target)
        if not as_json:
            console.say(f"{each.name} on `{each.target}` is stopped")
    if as_json:
        console.json(
            [
                {
                    "name": each.name,
                    "target": each.target,
                    "stopped": each in reached,
                    "problem": each.problem,
                }
                for each in chosen
            ]
        )
    else:
        console.lines(complaints(chosen))
        if not chosen:
            console.say("there is none")
    return 0 if len(reached) == len(chosen) else 1


def require_name(name: str) -> None:
    """Return if there is such a service.

    Raises:
        UsageError: there is none.
    """
    from perdure.services.program import NAMES

    if name not in (*NAMES, ALL):
        hint = did_you_mean(name, (*NAMES, ALL), f"services: {', '.join(NAMES)}")
        raise UsageError(f"no service `{name}`", hint=hint)


def service_table(services: list[Service]) -> Table:
    """Return the services with their addresses, which are closed without their tokens."""
    columns = (
        Column("NAME"),
        Column("TARGET"),
        Column("STATE", paint=True),
        Column("ADDRESS", give_way=2),
        Column("AGE", right=True, give_way=1),
        Column("IDLE", right=True, give_way=1),
        Column("ENDS IN", right=True),
    )
    return make_table(columns, [_row(each) for each in services])


def complaints(services: Sequence[Service]) -> list[str]:
    """Return what is wrong, and what to do where a service runs that nothing leads to."""
    lost = {each.target: each.problem for each in services if each.problem}
    lines = [f"problem: {problem}" for problem in lost.values()]
    cut = [each for each in services if not each.port and not each.problem]
    lines += [f"{each.name}: perdure {each.name} --on {each.target} leads there" for each in cut]
    return lines


def as_json(service: Service) -> dict[str, object]:
    """Return a service for a program, without its token."""
    return {**asdict(service), "address": address(service), "ends_in_s": service.ends_in_s}


def address(service: Service) -> str | None:
    """Return where it is reached from here, None where nothing leads there."""
    return f"http://127.0.0.1:{service.port}{service.path}" if service.port else None


def _row(each: Service) -> tuple[str, ...]:
    if each.problem is not None:
        return (each.name, each.target, each.state, address(each) or NOTHING, *[NOTHING] * 3)
    times = (duration(each.age_s), duration(each.idle_s), duration(each.ends_in_s))
    return (each.name, each.target, each.state, address(each) or NOTHING, *times)
