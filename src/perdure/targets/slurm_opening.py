"""The targets of `kind = "slurm"`: on this machine where Slurm's commands are, or by ssh."""

from __future__ import annotations

import os
import sys

from perdure.errors import UsageError
from perdure.model.project import Project
from perdure.model.settings import Settings, SlurmSettings
from perdure.targets import supervisor
from perdure.targets.protocol import Target
from perdure.targets.slurm import Slurm


def open_slurm(project: Project, settings: Settings | None, name: str) -> Target:
    """Return the target of that name in the user's settings; it asks nobody yet.

    Raises:
        UsageError: there is none of that name.
    """
    if settings is None or name not in settings.targets:
        from perdure.project.settings import load_settings

        settings = load_settings(project.root)
    if name not in settings.targets:
        raise UsageError(f"no target `{name}` in the settings", hint="perdure targets")
    wanted = settings.targets[name]
    if wanted.host:
        from perdure.targets.remote import open_remote

        return open_remote(project, settings, name)
    return slurm_here(project, name, wanted.slurm or SlurmSettings())


def open_begun(project: Project, settings: Settings | None, name: str) -> Slurm:
    """Return the cluster of this machine that has a job already, whatever the settings say by now.

    What they say holds for another turn of it: another partition, say.
    """
    if settings is None or name not in settings.targets:
        from perdure.project.settings import load_settings

        settings = load_settings(project.root)
    wanted = settings.targets.get(name)
    slurm = None if wanted is None else wanted.slurm
    return slurm_here(project, name, slurm or SlurmSettings())


def slurm_here(project: Project, name: str, settings: SlurmSettings) -> Slurm:
    """Return the cluster that this machine is a part of, with the project's own folder."""
    digest = supervisor.digest()
    main = supervisor.folder(os.fspath(project.root), digest) / supervisor.MAIN
    surroundings = dict(os.environ)
    return Slurm(
        name, project.root, project.state, surroundings, settings, sys.executable, main, digest
    )
