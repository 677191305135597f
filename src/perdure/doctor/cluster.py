"""What is found of a cluster's scheduler."""

from __future__ import annotations

from perdure.doctor.finding import Finding, fine, problem
from perdure.doctor.targets import ask_targets, list_targets
from perdure.model.project import Project
from perdure.model.settings import Settings


def examine_cluster(name: str, project: Project | None, settings: Settings) -> Finding:
    """Return what a target's scheduler says of itself, or why it takes no jobs. Asks it."""
    listed = [each for each in list_targets(settings) if each.name == name]
    said = ask_targets(listed, project, settings)[name]
    if said.problem:
        return problem("slurm", said.problem, said.hint or "what does `sinfo` say there?")
    return fine("slurm", said.engine or "")
