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


def open_target(
    name: str,
    project: Project,
    settings: Settings | None = None,
    *,
    targets: Mapping[str, str] = TARGETS,
) -> Target:
    """Return the target of that name for a project; it asks nobody yet.

    Without `settings` a target that needs the user's reads them when it comes to that.

    Raises:
        UsageError: there is none.
    """
    if name not in targets:
        near = difflib.get_close_matches(name, targets, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"targets: {', '.join(sorted(targets))}"
        raise UsageError(f"no target `{name}`", hint=hint)
    module, _, function = targets[name].partition(":")
    make = getattr(importlib.import_module(module), function)
    return cast(Callable[[Project, Settings | None], Target], make)(project, settings)
