"""A service's program on a node of a cluster: an allocation of its own, reached through srun."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from perdure.model.job import Resources
from perdure.model.settings import SlurmSettings
from perdure.services.program import SOCKET, Program
from perdure.services.side import away, desk
from perdure.targets import slurm_script as scripts

# So long a browser is kept waiting for a node; the keeper waits a little longer.
_WAIT_S = 90
_MODULE = "perdure.services.side.away"


def on_node(
    program: Program, settings: SlurmSettings, *, modules: str, log: str, gpus: str | None
) -> Program:
    """Return what runs a program on a node, and serves here what it serves there. Pure.

    `modules` are perdure's own and `log` is the service's, both on the file system that is shared;
    the program's first word is a Python there. `gpus` is a number.
    """
    name = f"perdure-{Path(log).parent.name}-{hashlib.sha256(log.encode()).hexdigest()[:8]}"
    where = scripts.allocation(settings, Resources(gpus=int(gpus or 0)))
    python = program.argv[0]
    inner = {
        "argv": [word.replace(SOCKET, away.SOCKET) for word in program.argv],
        "environment": dict(program.environment),
        "cwd": program.cwd,
        "log": log,
    }
    srun = ("srun", "--unbuffered", f"--job-name={name}", f"--immediate={_WAIT_S}", *where)
    task = desk.words_of(Path(modules), _MODULE, "there", json.dumps(inner), python=python)
    spec = {"start": [*srun, *task]}
    words = desk.words_of(Path(modules), _MODULE, "here", SOCKET, json.dumps(spec), python=python)
    return replace(
        program, argv=tuple(words), environment={}, after=(("scancel", f"--name={name}"),)
    )
