"""Projects whose jobs a real Slurm runs in a small image, by the real Apptainer."""

from __future__ import annotations

import os
from pathlib import Path

from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.model.settings import SlurmSettings
from perdure.targets.slurm_image import FOLDER, file_name
from tests.targets.slurm_project import slurm_workspace

IN_IMAGE = SlurmSettings(engine="apptainer")


def apptainer_workspace(root: Path, settings: SlurmSettings = IN_IMAGE) -> Workspace:
    """Return a project with the task `train` and the target `lab`, whose jobs run in an image."""
    return slurm_workspace(root, settings, python="python")


def file_of(record: JobRecord) -> Path:
    """Return the file of the image that a job was submitted for."""
    used = record.environment.image
    assert used is not None
    return record.results.parent / FOLDER / file_name(used)


def mounting() -> set[int]:
    """Return the processes of the machine that have an image mounted for Apptainer."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, state = each.read_text().partition("(")[2].rpartition(") ")[::2]
        except OSError:
            continue  # it has ended meanwhile
        if name.startswith(("squashfuse", "starter")) and state[0] != "Z":
            found.add(int(each.parent.name))
    return found


def beside(record: JobRecord) -> list[str]:
    """Return the processes of the machine that carry a job's run folder."""
    mark = os.fsencode(f"PERDURE_RUN_DIR={record.folder}")
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (each / "environ").read_bytes().split(b"\0"):
                found.append((each / "cmdline").read_bytes().decode())
        except OSError:
            continue  # it has ended meanwhile
    return found
