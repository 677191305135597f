"""What a service in a container needs of the host it runs on, asked there.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from perdure.hosts.engine import find_engine
from perdure.hosts.engine_client import PODMAN
from perdure.images.mounts import mount_words, project_mounts
from perdure.model.project import Project
from perdure.model.settings import Docker, Settings
from perdure.targets.container import half_of_memory

# What tells a client where its engine is.
_WHERE = ("DOCKER_", "CONTAINER_")


def ground(root: str, program: str | None, endpoint: str | None) -> dict[str, Any]:
    """Return the engine's client there, what tells it where the engine is, and common options.

    Raises:
        EngineUnreachable: no engine answers.
        MissingProgram: there is no client.
    """
    path = Path(root).expanduser()
    engine = find_engine(Settings(docker=Docker(program=program, endpoint=endpoint)))
    project = Project(path, path.name, "", {})
    project.results.mkdir(parents=True, exist_ok=True)
    mounts = project_mounts(project, code=path, code_writable=True, data_writable=True)
    words = ["--shm-size", str(half_of_memory()), *mount_words(mounts)]
    if engine.kind == PODMAN:
        words += ["--security-opt", "label=disable"]
        words += ["--userns", "keep-id"] if engine.version().rootless else []
    return {
        "client": list(engine.argv([])),
        "kind": engine.kind,
        "environment": {k: v for k, v in engine.environ.items() if k.startswith(_WHERE)},
        "words": words,
        "user": os.getuid(),
        "groups": os.getgroups(),
    }
