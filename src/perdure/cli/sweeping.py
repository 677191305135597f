"""A sweep submitted from the command line: what was typed, or a file, into a request."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.commands.run import chosen_variables
from perdure.cli.render import Console
from perdure.cli.resources import chosen_resources
from perdure.cli.words import counted
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.jobs.request import JobRequest
    from perdure.jobs.workspace import Workspace
    from perdure.model.project import Project
    from perdure.model.sweep import Style
    from perdure.sweeps.file import SweepFile
    from perdure.sweeps.submit import Outline, SweepRequest

EXPLAINED = 20


def submit_sweep(arguments: argparse.Namespace, words: Sequence[str], console: Console) -> int:
    """Return 0 once a sweep is submitted and driven, or explained."""
    from perdure.jobs.workspace import open_workspace
    from perdure.sweeps.submit import at_a_time, explained, outline, submit

    workspace = open_workspace(Path.cwd())
    request = make_request(workspace.project, arguments, words)
    outlined = outline(workspace, request)
    if arguments.explain:
        console.lines(explained(workspace, outlined, EXPLAINED))
        return 0
    if not agreed(outlined, console, yes=arguments.yes):
        return 0
    folder = submit(workspace, outlined, report=console)
    variables = chosen_variables(arguments.env, os.environ)
    try:
        _drive(workspace, folder, variables.passed_on)
    except KeyboardInterrupt:
        # It is submitted by now, and a driver that began does not end with this terminal.
        console.say(f"`{folder.name}` is submitted: perdure sweep stop|resume {folder.name}")
        raise
    console.say(
        f"{counted(outlined.sweep.count, 'job')}, {at_a_time(outlined.sweep)}: "
        f"perdure sweep status {folder.name}"
    )
    console.lines([folder.name])
    return 0


def make_request(
    project: Project, arguments: argparse.Namespace, words: Sequence[str]
) -> SweepRequest:
    """Return what is asked for: what is typed goes before what a file says.

    Raises:
        UsageError: no task, or something that is none.
    """
    from perdure.sweeps.notation import parse_axes
    from perdure.sweeps.submit import SweepRequest

    file = None
    if arguments.file is not None:
        from perdure.sweeps.file import read_file

        file = read_file(arguments.file)
    task, axis_words = _task_in(words, None if file is None else file.task)
    known = project.tasks.get(task)
    style = "flags" if known is None else known.axes
    request = SweepRequest(
        job=_job(task, arguments, None if file is None else file.on),
        axes=parse_axes(axis_words, style),
        name=arguments.name,
        max_running=arguments.max_running,
        passes=tuple(chosen_variables(arguments.env, os.environ).passed_on),
    )
    return request if file is None else _with_file(request, file, style)


def _job(task: str, arguments: argparse.Namespace, on: str | None) -> JobRequest:
    from perdure.jobs.request import JobRequest
    from perdure.targets.registry import LOCAL

    return JobRequest(
        task=task,
        arguments=arguments.rest,
        seed=arguments.seed,
        variant=arguments.variant,
        grace_s=arguments.grace,
        retries=arguments.retries,
        environment=chosen_variables(arguments.env, os.environ).recorded,
        target=arguments.target or on or LOCAL,
        resources=chosen_resources(arguments),
    )


def _with_file(request: SweepRequest, file: SweepFile, style: Style) -> SweepRequest:
    job = replace(request.job, arguments=(*file.arguments, *request.job.arguments))
    if job.seed is None:
        job = replace(job, seed=file.job_seed)
    axes = {axis.name: axis for axis in (*file.axes_as(style), *request.axes)}
    return replace(
        request,
        job=job,
        axes=tuple(axes.values()),
        search=file.search,
        name=file.name if request.name is None else request.name,
        max_running=file.max_running if request.max_running is None else request.max_running,
    )


def agreed(outlined: Outline, console: Console, *, yes: bool) -> bool:
    """Return whether so many jobs are meant.

    Raises:
        UsageError: there is nobody to ask.
    """
    from perdure.sweeps.submit import ASKED_FROM, at_a_time

    count = outlined.sweep.count
    if yes or count < ASKED_FROM:
        return True
    return console.confirm(
        f"{count:,} jobs, {at_a_time(outlined.sweep)}: is that meant?",
        unasked="--yes, or fewer values; `--explain` prints what they would be",
    )


def _task_in(words: Sequence[str], of_file: str | None) -> tuple[str, Sequence[str]]:
    if words and "=" not in words[0]:
        return words[0], words[1:]
    if of_file is None:
        raise UsageError("name a task before its axes", hint="perdure sweep TASK NAME=VALUE,VALUE")
    return of_file, words


def _drive(workspace: Workspace, folder: Path, passed: Mapping[str, str]) -> None:
    from perdure.sweeps.control import drive

    drive(workspace.project, folder, passed=passed)
