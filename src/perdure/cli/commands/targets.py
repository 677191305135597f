"""`perdure targets`: where jobs can run, and with `--check` what each of these says."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_json
from perdure.cli.render import Console
from perdure.cli.table import Column, Table, make_table
from perdure.cli.words import counted, size
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from perdure.doctor.targets import Asked, Listed
    from perdure.model.settings import Settings

OK, PROBLEM = "ok", "problem"
FOUND = "found by itself"
NOTHING = "-"
KUBERNETES = "kubernetes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `targets` takes."""
    parser.add_argument("targets", metavar="TARGET", nargs="*", help="only these (all)")
    parser.add_argument(
        "--check", action="store_true", help="ask each: engine, GPUs, disk, round trip"
    )
    parser.add_argument(
        "--disconnect",
        action="store_true",
        help="end the connections that are kept for ten minutes",
    )
    add_json(parser)
    parser.add_argument("--names", dest="only_names", action="store_true", help=argparse.SUPPRESS)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0, or 1 where a host that was asked runs no jobs."""
    from perdure.doctor.targets import ask_targets, settings_around

    if arguments.only_names:
        return write_names(console)
    project, settings = settings_around(Path.cwd())
    shown = chosen(settings, arguments.targets)
    if arguments.disconnect:
        return disconnect(shown, console)
    asked: Mapping[str, Asked] = {}
    if arguments.check:
        console(f"asking {counted(len(shown), 'target')}")
        asked = ask_targets(shown, project, settings)
    if arguments.json:
        console.json([as_json(each, asked.get(each.name)) for each in shown])
    elif asked:
        console.table(checked_table(shown, asked))
        console.lines(complaints(asked))
    else:
        console.table(plain_table(shown))
    # A machine without an engine of its own is in order; a host that somebody named has to answer.
    wanted = [each for each in shown if each.host or each.name in arguments.targets]
    return 1 if any(asked[each.name].problem for each in wanted if each.name in asked) else 0


def disconnect(targets: Sequence[Listed], console: Console) -> int:
    """Return 0 after ending the connections to hosts, so that the next ones log in anew."""
    from perdure.hosts.ssh import Ssh

    for each in targets:
        if each.kind == KUBERNETES:
            continue  # kubectl keeps none, and the pod for the volume ends by itself
        if each.host:
            kept = Ssh(each.name, each.host, asks=False).disconnect()
            console.say(f"{each.name}: {'disconnected' if kept else 'no connection was kept'}")
    return 0


def chosen(settings: Settings, names: Sequence[str]) -> Sequence[Listed]:
    """Return the targets of these names, all where there are none.

    Raises:
        UsageError: there is no such target.
    """
    from perdure.doctor.targets import list_targets
    from perdure.targets.registry import unknown_target

    known = {each.name: each for each in list_targets(settings)}
    for name in names:
        if name not in known:
            raise unknown_target(name, settings)
    return [known[name] for name in dict.fromkeys(names or known)]


def plain_table(targets: Sequence[Listed]) -> Table:
    """Return the targets as they are written down."""
    columns = (
        Column("NAME"),
        Column("KIND"),
        Column("HOST"),
        Column("ENGINE"),
        Column("FOLDER", give_way=2),
        Column("SYNC", give_way=1),
    )
    rows = [
        (
            each.name,
            each.kind,
            where(each),
            each.engine or FOUND,
            each.root or NOTHING,
            each.sync or NOTHING,
        )
        for each in targets
    ]
    return make_table(columns, rows)


def where(target: Listed) -> str:
    """Return the host of a target; a cluster is reached by kubectl."""
    return "kubectl" if target.kind == KUBERNETES else target.host or "this machine"


def checked_table(targets: Sequence[Listed], asked: Mapping[str, Asked]) -> Table:
    """Return the targets with what they said."""
    columns = (
        Column("NAME"),
        Column("HOST", give_way=3),
        Column("STATE", paint=True),
        Column("ENGINE"),
        Column("GPUS", give_way=1),
        Column("DISK", right=True, give_way=2),
        Column("ROUND TRIP", right=True, give_way=2),
    )
    rows = [(each.name, where(each), *said(asked[each.name])) for each in targets]
    return make_table(columns, rows)


def said(answer: Asked) -> tuple[str, ...]:
    """Return an answer as cells."""
    disk, trip = answer.disk_free_bytes, answer.round_trip_s
    return (
        PROBLEM if answer.problem else OK,
        answer.engine or NOTHING,
        gpu_words(answer.gpus) if answer.gpus is not None else NOTHING,
        NOTHING if disk is None else f"{size(disk)} free",
        NOTHING if trip is None else f"{trip * 1000:.0f} ms",
    )


def gpu_words(gpus: Sequence[str]) -> str:
    """Return GPUs in words: equal ones are counted."""
    counts = {name: gpus.count(name) for name in gpus}
    return "; ".join(f"{n} x {name}" if n > 1 else name for name, n in counts.items()) or "none"


def complaints(asked: Mapping[str, Asked]) -> list[str]:
    """Return what is wrong, whole, each with what to do next."""
    lines: list[str] = []
    for name, each in asked.items():
        if each.problem:
            lines += [
                "",
                f"{PROBLEM}: {name}",
                *(f"  {line}" for line in each.problem.splitlines()),
            ]
            lines += [f"  remedy: {each.hint or f'perdure doctor {name}'}"]
    return lines


def as_json(target: Listed, answer: Asked | None) -> dict[str, object]:
    """Return a target for a program; `checked` is None where it was not asked."""
    checked = None if answer is None else {**asdict(answer), "ok": answer.problem is None}
    return {**asdict(target), "checked": checked}


def write_names(console: Console) -> int:
    """Return 0 after writing all names for a shell's completion."""
    from perdure.doctor.targets import settings_around
    from perdure.targets.registry import target_names

    try:
        console.lines(target_names(settings_around(Path.cwd())[1]))
    except PerdureError:
        pass  # an error in the middle of a command line would help nobody
    return 0
