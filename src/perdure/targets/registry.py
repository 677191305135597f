"""Targets by name: dotted names, imported on use, so that a target nobody uses costs nothing."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

from perdure.errors import UsageError
from perdure.model.project import Project
from perdure.targets.protocol import Target

LOCAL = "local"

# name -> "module:function that makes the target of a project"
TARGETS: Mapping[str, str] = MappingProxyType({LOCAL: "perdure.targets.process:open_process"})


def open_target(name: str, project: Project, *, targets: Mapping[str, str] = TARGETS) -> Target:
    """Return the target of that name for a project.

    Raises:
        UsageError: there is none.
    """
    if name not in targets:
        near = difflib.get_close_matches(name, targets, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"targets: {', '.join(sorted(targets))}"
        raise UsageError(f"no target `{name}`", hint=hint)
    module, _, function = targets[name].partition(":")
    make = cast(Callable[[Project], Target], getattr(importlib.import_module(module), function))
    return make(project)
