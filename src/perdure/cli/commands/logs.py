"""`perdure logs`: what a job printed, in all its attempts; without a job, the container's log."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import JOB_HELP
from perdure.cli.developing import add_host, open_here
from perdure.cli.render import Console
from perdure.errors import UsageError
from perdure.model.job import JobRecord

#: How the engine's client ends by it, caught or not.
_CTRL_C = (130, -2)
_MOST_BYTES, _MOST_LINES = 1 << 16, 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `logs` takes."""
    parser.add_argument(
        "job",
        metavar="JOB",
        nargs="?",
        help=f"{JOB_HELP}; without one, the development container's log",
    )
    add_host(parser)
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on until it ends; Ctrl-C leaves it be"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 after printing; Ctrl-C ends the printing, never the job."""
    if arguments.job is None:
        return log_of_container(console, arguments.target, follow=arguments.follow)
    from perdure.cli.following import Connection
    from perdure.jobs.find import find_job
    from perdure.jobs.follow import follow
    from perdure.jobs.workspace import locate_workspace
    from perdure.model.job import LogText

    record = find_job(locate_workspace(Path.cwd()), arguments.job)
    connection = Connection(record.folder, console)

    def stop() -> bool:
        connection.look()
        return not arguments.follow

    attempt = 0
    try:
        for item in follow(record.folder, stop=stop):
            if item.attempt != attempt:
                attempt = item.attempt
                console.say(f"--- attempt {attempt} ---")
            if isinstance(item, LogText):
                console.write(item.text)
    except KeyboardInterrupt:
        console.say(f"the job goes on without you: perdure logs -f {record.job}")
    if not attempt:
        _tell_of_none(record, console)
    return 0


def _tell_of_none(record: JobRecord, console: Console) -> None:
    """Print what was said where no attempt has begun: by a scheduler, or by a supervisor."""
    from perdure.jobs.looking import BESIDE

    console.say(f"no attempt of `{record.job}` has begun: perdure show {record.job}")
    for name in BESIDE:
        text = said_in(record.folder / name)
        if text:
            console.say(f"--- {name} ---")
            console.write(text)


def said_in(log: Path) -> str:
    """Return the last lines of a file, "" where there is none. Reads the disk."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _MOST_BYTES))
            raw = file.read(_MOST_BYTES)
    except OSError:
        return ""
    return "".join(raw.decode("utf-8", "replace").splitlines(keepends=True)[-_MOST_LINES:])


def log_of_container(console: Console, on: str | None, *, follow: bool) -> int:
    """Return 0 after the development container's log was printed.

    Raises:
        UsageError: there is no container.
    """
    from perdure.development.lifecycle import show_log
    from perdure.development.standing import State, look

    session = open_here(on)
    if look(session).state is State.ABSENT:
        raise UsageError(
            "there is no development container, and no job is named",
            hint="`perdure logs JOB` for a job's, `perdure up` for a container",
        )
    console.close()
    code = show_log(session, follow=follow)
    return 0 if follow and code in _CTRL_C else code
