"""Every target, asked side by side: whether it answers, which engine, GPUs and room it has."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from perdure.errors import NoPython, PerdureError, UsageError
from perdure.hosts.here import HERE
from perdure.hosts.host import Host
from perdure.hosts.limited import Limited
from perdure.hosts.ssh import Ssh
from perdure.model.project import Project
from perdure.model.settings import Settings, TargetSettings
from perdure.model.station import CLOUDS
from perdure.targets.registry import open_target, target_names

LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Listed:
    """A target as it is written down: `host` is what ssh is given, "" for this machine."""

    name: str
    kind: str
    host: str
    engine: str | None
    root: str | None
    sync: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a target said: `engine` in words, None: not known. `problem` is why it runs no jobs."""

    engine: str | None = None
    gpus: tuple[str, ...] | None = None
    disk_free_bytes: int | None = None
    round_trip_s: float | None = None
    problem: str | None = None
    hint: str | None = None


def settings_around(start: Path) -> tuple[Project | None, Settings]:
    """Return the project that a folder lies in, if it lies in one, and the user's settings.

    Raises:
        UsageError: the project or the settings have mistakes.
    """
    from perdure.jobs.workspace import open_workspace
    from perdure.project.find import find_project
    from perdure.project.settings import load_settings

    try:
        find_project(start)
    except UsageError:
        return None, load_settings()
    workspace = open_workspace(start)
    return workspace.project, workspace.settings


def list_targets(settings: Settings) -> tuple[Listed, ...]:
    """Return all targets: perdure's own first, then the named ones. Asks nobody."""
    return tuple(_listed(name, settings.targets.get(name)) for name in target_names(settings))


def ask_targets(
    targets: Sequence[Listed],
    project: Project | None,
    settings: Settings,
    limit_s: float = LIMIT_S,
) -> Mapping[str, Asked]:
    """Return what each target says by its name, within the time limit. Asks no person anything.

    Touches the network: one connection to each host, side by side.
    """
    if project is None:
        # What a target remembers of a host is the project's, and here is none to keep it.
        with tempfile.TemporaryDirectory(prefix="perdure-", ignore_cleanup_errors=True) as folder:
            none = Project(Path(folder), "", "", {})
            return ask_targets(targets, none, settings, limit_s)
    begun = time.monotonic()
    asking = {
        each.name: Limited(partial(_ask, each, project, settings), each.name) for each in targets
    }
    answers = {}
    for name, work in asking.items():
        left = limit_s - (time.monotonic() - begun)
        silent = Asked(problem=f"no answer within {limit_s:g} s", hint=f"perdure doctor {name}")
        answers[name] = work.answer(max(left, 0.01)) or silent
    return answers


def _listed(name: str, target: TargetSettings | None) -> Listed:
    if target is None:
        return Listed(name, name, "", "docker" if name == "docker" else "process", None, None)
    if target.cloud is not None:
        cloud = target.cloud
        where = ", ".join(cloud.infra) or cloud.region or "anywhere"
        return Listed(name, target.kind, where, None, cloud.bucket, None)
    return Listed(name, target.kind, target.host, target.engine, target.root, target.sync)


def _ask(target: Listed, project: Project, settings: Settings) -> Asked:
    facts = Asked()
    try:
        facts = _facts(target)
        able = open_target(target.name, project, settings).probe()
    except PerdureError as error:
        hint = error.hint
        if "let this user in" in error.message:
            # A password, a passphrase or a second factor would have to be asked for.
            hint = f"perdure doctor {target.name}, which may ask you; or {hint}"
        return replace(facts, problem=error.message, hint=hint)
    if able.problem:
        return replace(facts, engine=target.engine, problem=able.problem, hint=able.hint)
    return replace(facts, engine=able.summary.replace("this machine", "process"))


def _facts(target: Listed) -> Asked:
    """Return what the host of a target says.

    Raises:
        HostUnreachable: it does not answer, or would ask a person something.
    """
    if target.kind in CLOUDS:
        return Asked()
    host: Host = HERE
    if target.kind == "kubernetes":
        return Asked()  # what its nodes have, the target itself says
    if target.host:
        host = Ssh(target.name, target.host, target.root or "~", asks=False)
    try:
        facts = host.probe()
    except NoPython:
        # Containers and sync need none; the target says what it needs.
        return Asked()
    return Asked(
        gpus=facts.gpus,
        disk_free_bytes=facts.disk_free_bytes,
        round_trip_s=None if host.is_here else facts.round_trip_s,
    )
