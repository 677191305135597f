"""Containers that nobody needs any more.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from perdure.errors import EnvironmentFailed, TimeoutExpired
from perdure.hosts.engine import Engine
from perdure.hosts.engine_client import PODMAN

_CALL_S = 60.0


def remove(engine: Engine, name: str) -> None:
    """End a container and remove it; none there, or no engine, is right too."""
    # Podman would ask what runs in it to end, and wait for that.
    at_once = ["--time=0"] if engine.kind == PODMAN else []
    with contextlib.suppress(EnvironmentFailed, TimeoutExpired):
        engine.run(["rm", "--force", *at_once, name], timeout_s=_CALL_S)


def remove_ended(engine: Engine, root: Path) -> None:
    """Remove the containers of a project's jobs that are settled.

    Those that the engine starts again by itself are not removed by it.
    """
    filters = [f"label=perdure.project={root}", "label=perdure.job", "status=exited", "exited=0"]
    words = [word for each in filters for word in ("--filter", each)]
    with contextlib.suppress(EnvironmentFailed, TimeoutExpired):
        found = engine.run(["ps", "--all", "--quiet", *words], timeout_s=_CALL_S).text.split()
        if found:
            engine.run(["rm", *found], timeout_s=_CALL_S)
