"""What a user asks for, and what of it is decided before anything touches the disk."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from perdure.errors import UsageError
from perdure.jobs import names as job_names
from perdure.model.job import UNLIMITED, JobRecord, Limits, Resources
from perdure.model.project import GRACE_S, RETRIES, Project, Task
from perdure.targets.cluster import is_slurm
from perdure.targets.protocol import Target
from perdure.targets.registry import LOCAL

_SEEDS = 2**31


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One job to be submitted: a task of the project, or any `command`.

    None means: the task's, the project's, or drawn. `environment` lies over the variables that
    the job inherits, and is recorded in its job.json. `pegged`: the code is to be in the image.
    """

    task: str = ""
    arguments: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None
    live: bool = False
    seed: int | None = None
    variant: str | None = None
    grace_s: float | None = None
    retries: int | None = None
    rerun_of: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    name: str | None = None
    watch: tuple[str, ...] = ()
    target: str = LOCAL
    pegged: bool = False
    resources: Resources = UNLIMITED


@dataclass(frozen=True, slots=True)
class Decided:
    """A request that makes sense: nothing in it is left open."""

    task: str
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    seed: int
    limits: Limits


def require_place(request: JobRequest, target: Target) -> None:
    """Return if a target has the code where the request wants it. May ask the host.

    Raises:
        UsageError: the working tree is not there, or no image has it.
    """
    if request.live and not target.place.is_here:
        raise UsageError(
            f"`--live` runs the working tree, which is not on `{target.name}`",
            hint="leave out --live: a snapshot is sent there",
        )
    if request.pegged and not target.in_image:
        raise UsageError(
            f"`--pegged` runs the code in an image; `{target.name}` has none", hint="--on docker"
        )
    if request.pegged and is_slurm(target):
        raise UsageError(
            f"`--pegged`: jobs on `{target.name}` have their code from the file system that its "
            "nodes share",
            hint="leave out --pegged: it is a snapshot as well, and is kept",
        )


def decide(project: Project, request: JobRequest) -> Decided:
    """Return what is to be run.

    Raises:
        UsageError: no such task, an empty command, a name or a limit that is none.
    """
    if request.name is not None:
        job_names.check(request.name)
    if request.command is None:
        task = _task(project, request.task)
        name, command, grace_s, retries = task.name, task.command, task.grace_s, task.retries
    else:
        command, grace_s, retries = request.command, GRACE_S, RETRIES
        if not command or not command[0]:
            raise UsageError("no command after `--`", hint="perdure run -- COMMAND")
        name = request.task or Path(command[0]).name
    limits = Limits(
        grace_s=grace_s if request.grace_s is None else request.grace_s,
        retries=retries if request.retries is None else request.retries,
        watch=request.watch,
    )
    if limits.grace_s < 0 or limits.retries < 0:
        raise UsageError("a grace and a number of retries are 0 or more")
    if request.live and request.pegged:
        raise UsageError(
            "`--live` runs the working tree, `--pegged` the code in the image: it is one or the "
            "other"
        )
    seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
    return Decided(name, command, request.arguments, seed, limits)


def rerun_request(record: JobRecord) -> JobRequest:
    """Return the request that runs a job again as it was recorded."""
    return JobRequest(
        task=record.task,
        arguments=record.arguments,
        command=record.command,
        live=False,
        seed=record.seed,
        variant=record.environment.variant,
        grace_s=record.limits.grace_s,
        retries=record.limits.retries,
        rerun_of=record.job,
        environment=record.variables,
        watch=record.limits.watch,
        target=record.target,
        pegged=record.environment.image is not None and record.environment.image.pegged,
        resources=record.resources,
    )


def needs_environment(project: Project) -> bool:
    """Return whether the project asks for anything to be installed. Reads its pyproject.toml.

    One that names no dependency at all runs on the machine's own Python, and needs no uv.
    """
    if project.environment.variants:
        return True
    document = tomllib.loads((project.root / "pyproject.toml").read_text(encoding="utf-8"))
    table = document.get("project", {})
    return bool(
        table.get("dependencies")
        or table.get("optional-dependencies")
        or document.get("dependency-groups")
    )


def _task(project: Project, name: str) -> Task:
    if name in project.tasks:
        return project.tasks[name]
    import difflib

    near = difflib.get_close_matches(name, project.tasks, 1)
    listed = ", ".join(sorted(project.tasks)) or "none; name one in pyproject.toml"
    raise UsageError(
        f"project `{project.name}` has no task `{name}`",
        hint=f"did you mean `{near[0]}`?" if near else f"tasks: {listed}",
    )
