"""`perdure run`: a task, or any command, as a job."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_detach, seconds, whole_number
from perdure.cli.render import Console
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.jobs.launch import JobRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` takes before the task; what follows the task is the task's."""
    add_detach(parser)
    parser.add_argument("--name", help="the job's name; two words that can be said if not given")
    parser.add_argument("--seed", type=whole_number, metavar="N", help="drawn if not given")
    parser.add_argument("--variant", help="the environment's variant, such as cpu or cuda")
    parser.add_argument(
        "--live", action="store_true", help="run the working tree, not a snapshot of it"
    )
    parser.add_argument(
        "--grace", type=seconds, metavar="TIME", help="how long it may take to save and stop"
    )
    parser.add_argument(
        "--retries", type=whole_number, metavar="N", help="how often a crash is tried again"
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="KEY[=VALUE]",
        help="a variable for the task; KEY alone passes yours on, and is how to pass a secret",
    )
    parser.add_argument("--on", default="local", metavar="TARGET", help="where to run (local)")
    parser.add_argument(
        "--explain", action="store_true", help="print what would be executed; execute nothing"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return the job's own exit code, or 0 once it runs detached."""
    from perdure.cli.starting import follow_started
    from perdure.jobs.launch import explain, start, submit
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    request = make_request(arguments)
    if arguments.explain:
        console.lines(explain(workspace, request).splitlines())
        return 0
    record = submit(workspace, request, report=console)
    start(workspace, record)
    return follow_started(record, console, detach=arguments.detach)


def make_request(arguments: argparse.Namespace) -> JobRequest:
    """Return what is asked for.

    Raises:
        UsageError: no task and no command, or a variable that cannot be passed on.
    """
    from perdure.jobs.launch import JobRequest

    rest: tuple[str, ...] = arguments.rest
    is_command = rest[:1] == ("--",)
    if not rest or rest == ("--",):
        raise UsageError("name a task to run, or `-- COMMAND`", hint="perdure run TASK")
    return JobRequest(
        task="" if is_command else rest[0],
        arguments=() if is_command else rest[1:],
        command=rest[1:] if is_command else None,
        live=arguments.live,
        seed=arguments.seed,
        variant=arguments.variant,
        grace_s=arguments.grace,
        retries=arguments.retries,
        rerun_of=None,
        environment=chosen_variables(arguments.env, os.environ),
        name=arguments.name,
    )


def chosen_variables(wanted: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `--env`.

    Raises:
        UsageError: one is not set here, or cannot be a variable.
    """
    variables = {}
    for item in wanted:
        key, given, value = item.partition("=")
        if not key or "\0" in item:
            raise UsageError(f"`--env {item}` names no variable", hint="--env KEY or KEY=VALUE")
        if not given and key not in environ:
            raise UsageError(f"`--env {key}`: the variable is not set here", hint=f"export {key}=")
        variables[key] = value if given else environ[key]
    return variables
