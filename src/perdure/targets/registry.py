"""Targets by name: dotted names, imported on use, so that a target nobody uses costs nothing."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

from perdure.errors import UsageError
from perdure.model.project import Project
from perdure.model.settings import Settings
from perdure.model.station import CLOUDS
from perdure.targets.protocol import Target

LOCAL = "local"
DOCKER = "docker"

# name -> "module:function that makes the target of a project"
TARGETS: Mapping[str, str] = MappingProxyType(
    {
        LOCAL: "perdure.targets.process:open_process",
        DOCKER: "perdure.targets.container:open_container",
    }
)
# kind of `[targets.NAME]` -> "module:function that makes the target of a project by its name"
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "ssh": "perdure.targets.remote:open_remote",
        "slurm": "perdure.targets.slurm_opening:open_slurm",
        **dict.fromkeys(CLOUDS, "perdure.targets.cloud:open_cloud"),
        "kubernetes": "perdure.targets.kubernetes_opening:open_kubernetes",
    }
)


def open_target(
    name: str,
    project: Project,
    settings: Settings | None = None,
    *,
    targets: Mapping[str, str] = TARGETS,
) -> Target:
    """Return the target of that name for a project; it asks nobody yet.

    Without `settings` the user's are read where they are needed.

    Raises:
        UsageError: there is none.
    """
    if name in targets:
        own = cast(Callable[[Project, Settings | None], Target], _made_by(targets[name]))
        return own(project, settings)
    settings = _settings_of(project) if settings is None else settings
    if name not in settings.targets:
        raise unknown_target(name, settings, targets)
    kind = KINDS[settings.targets[name].kind]
    return cast(Callable[[Project, Settings, str], Target], _made_by(kind))(project, settings, name)


def target_names(settings: Settings) -> tuple[str, ...]:
    """Return what `--on` can be given: perdure's own targets first, then the named ones."""
    return (*TARGETS, *sorted(settings.targets))


def _made_by(dotted: str) -> object:
    module, _, function = dotted.partition(":")
    return getattr(importlib.import_module(module), function)


def _settings_of(project: Project) -> Settings:
    from perdure.project.settings import load_settings

    return load_settings(project.root)


def unknown_target(
    name: str, settings: Settings, targets: Mapping[str, str] = TARGETS
) -> UsageError:
    """Return the error of a name that is no target. Reads the user's ssh configuration."""
    from perdure.hosts.ssh_failure import configured_hosts

    known, hosts = {*targets, *settings.targets}, configured_hosts()
    near = difflib.get_close_matches(name, known, 1)
    near_host = difflib.get_close_matches(name, hosts, 1)
    if name in CLOUDS:
        from perdure.project.clouds import words_for

        hint = f"add to ~/.config/perdure/config.toml: {words_for(name)}"
    elif name in hosts:
        hint = f"ssh knows it; {_how_to_add(name)}"
    elif near and (not near_host or _likeness(name, near[0]) >= _likeness(name, near_host[0])):
        hint = f"did you mean `{near[0]}`?"
    elif near_host:
        hint = f"did you mean `{near_host[0]}`, which ssh knows? {_how_to_add(near_host[0])}"
    else:
        hint = f"targets: {', '.join(sorted(known))}"
    return UsageError(f"no target `{name}`", hint=hint)


def _how_to_add(host: str) -> str:
    line = f'`[targets.{host}]` with `host = "{host}"`'
    return f"add {line} to ~/.config/perdure/config.toml"


def _likeness(word: str, other: str) -> float:
    return difflib.SequenceMatcher(None, word, other).ratio()
