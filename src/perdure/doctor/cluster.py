"""What is found of a cluster's scheduler, and of what runs images on its nodes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from perdure.doctor.finding import Finding, fine, problem, warning
from perdure.doctor.targets import ask_targets, list_targets
from perdure.errors import PerdureError
from perdure.model.project import Project
from perdure.model.settings import Settings
from perdure.targets.cluster import node_of
from perdure.targets.registry import open_target
from perdure.targets.slurm_apptainer import FREE_S, trouble


def examine_cluster(name: str, project: Project | None, settings: Settings) -> tuple[Finding, ...]:
    """Return what a target's scheduler says of itself, or why it takes no jobs. Asks it.

    Where jobs run in images, a node is asked as well, and this machine, which makes them.
    """
    listed = [each for each in list_targets(settings) if each.name == name]
    said = ask_targets(listed, project, settings)[name]
    if said.problem:
        hint = said.hint or "what does `sinfo` say there?"
        return (problem("slurm", said.problem, hint),)
    found = fine("slurm", said.engine or "")
    slurm = settings.targets[name].slurm
    if slurm is None or not slurm.in_image:
        return (found,)
    return (found, _node(name, project, settings), *_makers(name, settings))


def _node(name: str, project: Project | None, settings: Settings) -> Finding:
    """Return what a node has that runs images. Takes one for a moment."""
    if project is None:
        with tempfile.TemporaryDirectory(prefix="perdure-", ignore_cleanup_errors=True) as folder:
            return _node(name, Project(Path(folder), "", "", {}), settings)
    try:
        seen = node_of(open_target(name, project, settings))
    except PerdureError as error:
        return warning(
            "apptainer",
            f"no node said within {FREE_S} s whether it has it: {error.message}",
            f"try again when a node is free: perdure capacity --on {name}",
        )
    wrong = trouble(seen)
    if wrong is not None:
        # An image that is unpacked for each job costs time, and runs.
        starts = seen.get("program") and seen.get("namespaces") != "0"
        return (warning if starts else problem)("apptainer", *wrong)
    return fine("apptainer", f"{seen.get('version')} on `{seen.get('node')}`")


def _makers(name: str, settings: Settings) -> Iterator[Finding]:
    """Yield what this machine lacks to make images into files: an engine, mksquashfs."""
    from perdure.hosts.engine import find_engine
    from perdure.images.squashfs import find_program
    from perdure.targets.cloud_image import made_here

    try:
        with made_here(name):
            engine = find_engine(settings)
        yield fine("engine here", f"{engine.kind} {engine.version().server}")
    except PerdureError as error:
        yield problem("engine here", error.message, error.hint or "perdure doctor")
    try:
        yield fine("mksquashfs here", find_program())
    except PerdureError as error:
        yield problem("mksquashfs here", error.message, error.hint or "perdure doctor")
