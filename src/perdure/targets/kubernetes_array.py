"""Many jobs handed over to Kubernetes at once, as the indices of one Indexed Job.

What its pods run lies in a folder on the volume: see `perdure.runtime.array`. Which jobs they are
stands on the Job itself, so that whoever asks the cluster is told of each by its own key. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perdure.hosts.pod_spec import PodSpec
from perdure.model.job import JobRecord
from perdure.model.settings import KubernetesSettings
from perdure.model.sweep import trial_number
from perdure.runtime.array import OPTION
from perdure.targets import kubernetes_manifest as manifests

# Indexed Jobs are stable from the first release on, and counted per index from the second one on. A
# server before that takes such a manifest, leaves out what it does not know, and starts one pod.
LEAST = (1, 24)
PER_INDEX = (1, 29)
TRIALS = "perdure.dev/trials"
INDEX = "batch.kubernetes.io/job-completion-index"
# What a Job's annotations may be in all is 256 KiB.
MOST = 2000
# One index may be interrupted so often.
_MOST_PODS = 100


@dataclass(frozen=True, slots=True)
class Order:
    """Jobs to be handed over, in the order of their indices.

    `base` is what they have in common, `folder` the array's own below the project's; at most
    `most_running` run at a time (0: as many as there is room for).
    """

    base: JobRecord
    folder: str
    jobs: tuple[str, ...]
    most_running: int = 0

    @property
    def name(self) -> str:
        """Return the name of the Job: who submits it twice has it once."""
        return manifests.job_name("", "-".join(self.folder.split("/")[-2:]), 0)


def release_of(version: Mapping[str, Any]) -> tuple[int, int]:
    """Return the release that a server says it is, (0, 0) where that cannot be read."""
    said = version.get("serverVersion", {})
    try:
        return int(said["major"]), int(str(said["minor"]).rstrip("+"))
    except (KeyError, ValueError, TypeError):
        return 0, 0


def manifest(
    order: Order,
    program: Sequence[str],
    settings: KubernetesSettings,
    spec: PodSpec,
    release: tuple[int, int],
    user: str = "",
) -> dict[str, Any]:
    """Return the manifest of an Indexed Job, with the user's own lines in their place.

    `program` is the supervisor, without its options.

    Raises:
        UsageError: there is no such place for a line.
    """
    cwd = f"{spec.root}/.perdure/snapshots/{order.base.code.snapshot}"
    command = (*program, OPTION, f"{spec.root}/{order.folder}")
    turn = manifests.Turn(order.base, order.folder, 0, command, cwd, user)
    made = manifests.bare(turn, settings, spec)
    count = len(order.jobs)
    told = {"root": spec.root, "jobs": order.jobs}
    made["metadata"]["name"] = order.name
    made["metadata"]["annotations"][TRIALS] = json.dumps(told, separators=(",", ":"))
    own = made["spec"]
    own["completionMode"] = "Indexed"
    own["completions"] = count
    own["parallelism"] = min(order.most_running or count, count)
    if release >= PER_INDEX:
        del own["backoffLimit"]
        own["backoffLimitPerIndex"] = _MOST_PODS
    else:
        own["backoffLimit"] = _MOST_PODS * count
    for line in settings.lines:
        manifests.put(made, line)
    return made


def turns(
    order: Order,
    results: str,
    options: Sequence[str],
    command: Sequence[str],
    trials: Sequence[tuple[str, int, int, Sequence[str]]],
) -> dict[str, Any]:
    """Return what is written for the pods: job, seed, generation and arguments of each trial."""
    return {
        "results": results,
        "comment": order.name,
        "options": list(options),
        "command": list(command),
        "trials": {index: list(trial) for index, trial in enumerate(trials)},
    }


def is_array(job: Mapping[str, Any]) -> bool:
    """Return whether a Job has many jobs in it."""
    return TRIALS in (job["metadata"].get("annotations") or {})


def parallelism(job: Mapping[str, Any], sweep: str, most_running: int) -> int | None:
    """Return how many of a Job's indices are to run at a time, where that is another number.

    None also of one that is no array of that sweep's.
    """
    jobs = _told(job)[1]
    if not jobs or trial_number(sweep, jobs[0]) is None:
        return None
    wanted = min(most_running or len(jobs), len(jobs))
    return None if job["spec"].get("parallelism") == wanted else wanted


def keys_of(job: Mapping[str, Any]) -> list[str]:
    """Return the keys of the jobs in it, in the order of their indices; [] if it does not say."""
    root, jobs = _told(job)
    return [manifests.key_of(root, f"results/{each}") for each in jobs]


def _told(job: Mapping[str, Any]) -> tuple[str, list[str]]:
    try:
        told = json.loads(job["metadata"]["annotations"][TRIALS])
        return str(told["root"]), list(told["jobs"])
    except (KeyError, ValueError, TypeError):
        return "", []


def index_of(pod: Mapping[str, Any]) -> int | None:
    """Return which index a pod is for."""
    metadata = pod["metadata"]
    for where in ("labels", "annotations"):
        said = (metadata.get(where) or {}).get(INDEX)
        if said is not None and str(said).isdigit():
            return int(said)
    return None


def indices(text: str | None) -> set[int]:
    """Return the numbers of `0,2-4,7`, as a Job's status has them."""
    found: set[int] = set()
    for part in filter(None, (text or "").split(",")):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            found |= set(range(int(first), int(last or first) + 1))
    return found


def pods_by_index(pods: Iterable[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    """Return the pods of each index."""
    found: dict[int, list[Mapping[str, Any]]] = {}
    for pod in pods:
        index = index_of(pod)
        if index is not None:
            found.setdefault(index, []).append(pod)
    return found
