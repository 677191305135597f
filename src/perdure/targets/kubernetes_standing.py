"""How a job stands by its run folder, which a pod reads, and by its cluster, which none asks."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from perdure.errors import PerdureError
from perdure.hosts.kubectl import Kubectl
from perdure.hosts.pod_spec import read_destination
from perdure.model.station import Station
from perdure.targets.kubernetes_cluster import GIVEN_UP, Known, Word, queue_of
from perdure.targets.kubernetes_manifest import key_of, project_label
from perdure.targets.standing import Standing

KIND = "kubernetes"


def ask_cluster(station: Station) -> Known:
    """Return what the cluster says of a project's jobs, if that was not just said. Asks it."""
    spec = read_destination(station.destination)
    kubectl = Kubectl(spec.context, spec.namespace)
    known = queue_of(kubectl, project_label(station.root)).known()
    for word in known.words.values():
        if word.hopeless:
            give_up(kubectl, word)
    return known


def judged(known: Known, root: str, place: str, alive: bool) -> Standing:
    """Return how a job stands that goes on as far as its run folder tells, or does not. Pure."""
    if not alive:
        return Standing(alive=False, asked_at=known.asked_at)
    word = known.words.get(key_of(root, place))
    if word is None and known.problem:
        # Nobody can say that it is gone.
        return Standing(alive=True, problem=known.problem, asked_at=known.asked_at or None)
    if word is None or not word.active:
        ended = word.ended if word is not None else "Kubernetes has it no more"
        return Standing(False, None, ended, known.asked_at, known.problem)
    return Standing(True, word.waits, word.ended, known.asked_at, known.problem)


def overlaid(known: Known, root: str, place: str, said: dict[str, Any]) -> dict[str, Any]:
    """Return what a pod said of a job, with what the cluster says of it. Pure."""
    found = judged(known, root, place, alive=bool(said["alive"]))
    words = {name: getattr(found, name) for name in ("alive", "waits", "ended", "problem")}
    return {**said, **words}


def give_up(kubectl: Kubectl, word: Word) -> None:
    """Have the cluster try no more to start a Job whose image it cannot get. Asks it.

    An array's is many jobs': of that the one pod is deleted, and another node may have its image.
    """
    if word.element is not None:
        with contextlib.suppress(PerdureError):
            kubectl.ask("delete", "pod", word.pod, "--ignore-not-found", "--wait=false")
        return
    said = f"{word.hopeless}, for ten minutes"
    patch = {
        "metadata": {"annotations": {GIVEN_UP: said}},
        "spec": {"activeDeadlineSeconds": 1},
    }
    for name in word.jobs:
        with contextlib.suppress(PerdureError):
            kubectl.ask("patch", "job", name, f"--patch={json.dumps(patch)}")
