"""`perdure cost`: what jobs on machines of a cloud cost, and what that saved."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_jobs, add_json
from perdure.cli.render import Console
from perdure.cli.table import Column, make_table

if TYPE_CHECKING:
    from perdure.jobs.cost import MachineTime

_COLUMNS = ("JOB", "TARGET", "MACHINES", "HOURS", "PAID", "ON DEMAND", "SAVED")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `cost` takes."""
    add_jobs(parser, at_least_one=False)
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 after telling what jobs cost: those that are named, or all that had a machine."""
    from perdure.jobs import cost, folder
    from perdure.jobs.find import find_job
    from perdure.jobs.workspace import locate_workspace

    workspace = locate_workspace(Path.cwd())
    named = [find_job(workspace, job).folder for job in arguments.jobs]
    every = sorted(workspace.project.results.glob("*"))
    folders = named or [each for each in every if folder.is_job(each)]
    _brought(folders)
    told = [(each, times) for each in folders if (times := cost.machine_times(each)) or named]
    if arguments.json:
        console.json([_values(each, times) for each, times in told])
    elif told:
        rows = [(each.name, folder.target_of(each), *_cells(times)) for each, times in told]
        columns = (Column(title, right=place > 1) for place, title in enumerate(_COLUMNS))
        console.table(make_table(tuple(columns), rows))
    else:
        console.say("no job here had a machine of a cloud")
    return 0


def _values(job: Path, times: list[MachineTime]) -> dict[str, object]:
    from perdure.jobs import cost, folder

    whole = cost.cost_of(times)
    named = {"job": job.name, "target": folder.target_of(job)}
    each = [asdict(one) for one in times]
    return {**named, **asdict(whole), "saved": whole.saved, "each": each}


def _brought(folders: list[Path]) -> None:
    """Have the mirrors of jobs elsewhere be as new as their hosts can tell within seconds."""
    from perdure.jobs.folder import is_elsewhere
    from perdure.jobs.mirror import look
    from perdure.jobs.witness import read_witness

    for each in folders:
        witness = read_witness(each) if is_elsewhere(each) else None
        if witness is not None:
            look(each, witness)


def _cells(times: list[MachineTime]) -> tuple[str, ...]:
    from perdure.jobs.cost import cost_of

    cost = cost_of(times)
    saved = "-" if cost.saved is None else f"{cost.saved:.0%}"
    amounts = (dollars(cost.paid), dollars(cost.on_demand), saved)
    return (str(cost.machines), f"{cost.hours:.2f}", *amounts)


def dollars(amount: float | None) -> str:
    """Return an amount of dollars, `-` for one that is not known. Pure."""
    return "-" if amount is None else f"${amount:.2f}" if amount >= 0.1 else f"${amount:.4f}"
