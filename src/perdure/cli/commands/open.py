"""`perdure open`: a job's run folder, in this machine's own window or in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_job
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `open` takes."""
    add_job(parser)
    parser.add_argument(
        "--no-browser", action="store_true", help="print where it is, and open nothing"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once it is open, or its place is printed."""
    from perdure.jobs.find import find_job
    from perdure.jobs.witness import read_witness
    from perdure.jobs.workspace import locate_workspace, open_workspace
    from perdure.services.browser import show_folder

    record = find_job(locate_workspace(Path.cwd()), arguments.job)
    witness = read_witness(record.folder)
    if witness is None:
        console.write(f"{record.folder}\n")
        if not arguments.no_browser and not show_folder(record.folder):
            console.say("nothing here opens folders: look there yourself, or: perdure files")
        return 0
    from perdure.cli.serving import tell
    from perdure.services.opening import Wanted, open_service

    workspace = open_workspace(Path.cwd())
    opened = open_service(workspace, Wanted("files", witness.target), console)
    arguments.json = False
    tell(opened.at(f"/results/{record.job}/"), workspace, arguments, console)
    return 0
