"""`perdure run`: a task, or any command, as a job."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_detach, seconds, whole_number
from perdure.cli.render import Console
from perdure.cli.resources import add_resources, add_target, chosen_resources
from perdure.errors import UsageError
from perdure.model.variable import is_variable

if TYPE_CHECKING:
    from perdure.jobs.launch import JobRequest
    from perdure.jobs.workspace import Workspace


CLOUDS = ("aws", "gcp", "azure")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` takes before the task; what follows the task is the task's."""
    add_detach(parser)
    parser.add_argument("--name", help="the job's name; two words that can be said if not given")
    parser.add_argument("--seed", type=whole_number, metavar="N", help="drawn if not given")
    parser.add_argument("--variant", help="the environment's variant, such as cpu or cuda")
    add_code(parser)
    add_limits(parser)
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="KEY[=VALUE]",
        help="a variable for the task; KEY alone passes yours on, and is how to pass a secret",
    )
    parser.add_argument(
        "--watch",
        action="append",
        default=[],
        choices=CLOUDS,
        help="ask this cloud's metadata service for notices of interruption",
    )
    add_target(parser)
    add_resources(parser)
    parser.add_argument(
        "--explain", action="store_true", help="print what would be executed; execute nothing"
    )


def add_code(parser: argparse.ArgumentParser) -> None:
    """Add which code the job runs: a snapshot unless one of these is said."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--live", action="store_true", help="run the working tree, not a snapshot of it"
    )
    which.add_argument(
        "--pegged", action="store_true", help="in a container: run the code in its image"
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add how long the job may take to stop, and how often it may crash."""
    parser.add_argument(
        "--grace", type=seconds, metavar="TIME", help="how long it may take to save and stop"
    )
    parser.add_argument(
        "--retries", type=whole_number, metavar="N", help="how often a crash is tried again"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return the job's own exit code, or 0 once it runs detached."""
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    if not arguments.explain:
        ask_ahead(workspace, arguments.target)
    from perdure.jobs.launch import begin, explain, submit

    request = make_request(arguments)
    if arguments.explain:
        console.lines(explain(workspace, request).splitlines())
        return 0
    passed_on = chosen_variables(arguments.env, os.environ).passed_on
    record = submit(workspace, request, report=console)
    begin(workspace, record, environment=passed_on, report=console)
    # Once it is under way: this takes as long as all that a job needs of modules.
    from perdure.cli.starting import follow_started

    return follow_started(record, console, detach=arguments.detach)


def ask_ahead(workspace: Workspace, target: str) -> None:
    """Have a Slurm of this machine asked what it has, while all that a job needs is loaded."""
    wanted = workspace.settings.targets.get(target)
    if wanted is not None and wanted.kind == "slurm" and not wanted.host:
        from perdure.targets.slurm_capacity import NODES

        NODES.ask_ahead()


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
        environment=chosen_variables(arguments.env, os.environ).recorded,
        name=arguments.name,
        watch=tuple(arguments.watch),
        target=arguments.target,
        pegged=arguments.pegged,
        resources=chosen_resources(arguments),
    )


@dataclass(frozen=True, slots=True)
class Variables:
    """What `--env` asks for: `KEY=VALUE` is recorded with the job, the value of `KEY` never is."""

    recorded: Mapping[str, str]
    passed_on: Mapping[str, str]


def chosen_variables(wanted: Sequence[str], environ: Mapping[str, str]) -> Variables:
    """Return the variables of `--env`.

    Raises:
        UsageError: one is not set here, or cannot be a variable.
    """
    recorded, passed_on = {}, {}
    for item in wanted:
        key, given, value = item.partition("=")
        if not is_variable(key):
            raise UsageError(f"`--env {item}` names no variable", hint="--env KEY or KEY=VALUE")
        if given:
            recorded[key] = value
        elif key in environ:
            passed_on[key] = environ[key]
        else:
            raise UsageError(f"`--env {key}`: the variable is not set here", hint=f"export {key}=")
    return Variables(recorded, passed_on)
