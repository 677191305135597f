"""What the script of a cluster's job says of the locked environment: variables, and its Python.

The environment is on the file system that all nodes share. A job in an image has none.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
from pathlib import Path

from perdure.model.job import JobRecord


def python(job: JobRecord) -> str:
    """Return the Python of a job's environment. Pure."""
    return f"{job.environment.prefix}/bin/python"


def first(job: JobRecord, cwd: Path) -> dict[str, str]:
    """Return what comes before the cluster's own: the snapshot wins over an editable install."""
    if job.environment.image is not None:
        return {}
    found = {"PYTHONPATH": f"{cwd / 'src'}{os.pathsep}{cwd}"}
    if job.environment.prefix is not None:
        found["PATH"] = f"{job.environment.prefix}/bin"
    return found


def exports(job: JobRecord) -> dict[str, str]:
    """Return what stands alone. Pure."""
    if job.environment.image is not None:
        return {}
    found = {"PYTHONUNBUFFERED": "1"}
    if job.environment.prefix is not None:
        found["VIRTUAL_ENV"] = job.environment.prefix
    return found
