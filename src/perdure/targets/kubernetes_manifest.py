"""The manifest of a job for Kubernetes: pure, the same for the same job.

A plain `batch/v1` Job of one pod at a time, whose first process is the supervisor. Kubernetes
starts another pod whenever one ends with anything but 0, and a supervisor ends with 0 once its job
is settled, whatever came of that: the run folder tells. So what a node's end or an eviction
interrupts goes on, and what has failed does not begin again.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perdure.errors import UsageError
from perdure.hosts.pod_spec import PodSpec, container_context, mounts, surroundings, volumes
from perdure.model.job import JobRecord, Resources
from perdure.model.settings import KubernetesSettings
from perdure.project.kubernetes import LINE, TOLERATION
from perdure.runtime import names
from perdure.runtime.gang import ADDRESS

PROJECT, KEY = "perdure.dev/project", "perdure.dev/key"
JOB, USER, FOLDER = "perdure.dev/job", "perdure.dev/user", "perdure.dev/folder"
# Which machine of a training on several a pod is; the first one, 0, has the supervisor.
PART = "perdure.dev/part"
QUEUE = "kueue.x-k8s.io/queue-name"
CONTAINER = "job"
# Beyond its grace: the supervisor ends what does not stop by then, and writes down that it did.
STOP_MARGIN_S = 15
# Pods that end by themselves without having settled the job; the time between two of them doubles.
_MOST_PODS = 100
# A node that is not ready is given up soon: the job goes on from its last checkpoint.
_GIVEN_UP_S = 30
# What is left of a Job that has ended, for `kubectl describe`.
_KEPT_S = 86400
_SHM_BYTES = 8 * 2**30
_DIGITS = 12
_LONGEST_NAME = 40
# What a line begins with that is for the pods' own labels and annotations.
_OF_PODS = ("spec.template.metadata.labels.", "spec.template.metadata.annotations.")
_SEGMENT = re.compile(r'"([^"]*)"|([^."]+)')


@dataclass(frozen=True, slots=True)
class Turn:
    """What a Job runs: `command` is the supervisor's whole; `after` the generation it follows.

    `place` is the run folder below the project's, `cwd` the code's folder in the pod, `user` who
    asks for it; `part` is which of several nodes it is for.
    """

    job: JobRecord
    place: str
    after: int
    command: tuple[str, ...]
    cwd: str
    user: str = ""
    part: int = 0


def project_label(root: str) -> str:
    """Return what marks all that a project has in a cluster."""
    return hashlib.sha256(root.encode()).hexdigest()[:_DIGITS]


def key_of(root: str, place: str) -> str:
    """Return what marks all that a run folder's job has in a cluster."""
    return hashlib.sha256(f"{root}\0{place}".encode("utf-8", "surrogateescape")).hexdigest()[:20]


def job_name(root: str, place: str, after: int, part: int = 0) -> str:
    """Return the name of a Job: who submits it twice has it once."""
    slug = re.sub(r"[^a-z0-9]+", "-", place.rpartition("/")[2].lower())[:_LONGEST_NAME].strip("-")
    return f"{slug or 'job'}-{key_of(root, place)[:8]}-{after}" + (f"-n{part}" if part else "")


def manifest(turn: Turn, settings: KubernetesSettings, spec: PodSpec) -> dict[str, Any]:
    """Return the manifest of a job, with the user's own lines in their place.

    Raises:
        UsageError: there is no such place for a line.
    """
    made = bare(turn, settings, spec)
    for line in settings.lines:
        put(made, line)
    return made


def bare(turn: Turn, settings: KubernetesSettings, spec: PodSpec) -> dict[str, Any]:
    """Return the manifest of a job without the user's own lines."""
    labels = {
        "app.kubernetes.io/managed-by": "perdure",
        PROJECT: project_label(spec.root),
        KEY: key_of(spec.root, turn.place),
    }
    several = turn.job.resources.nodes > 1
    if several:
        labels[PART] = str(turn.part)
    notes = {JOB: turn.job.job, USER: turn.user, FOLDER: f"{spec.root}/{turn.place}"}
    queue = {} if settings.queue is None else {QUEUE: settings.queue}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(spec.root, turn.place, turn.after, turn.part),
            "labels": {**labels, **queue},
            "annotations": dict(notes),
        },
        "spec": {
            **_of_one_pod(),
            # Kueue has it begin when there is room.
            **({"suspend": True} if queue else {}),
            "template": {
                "metadata": {"labels": labels, "annotations": notes},
                "spec": _pod(turn, settings, spec),
            },
        },
    }


def _of_one_pod() -> dict[str, Any]:
    """Return what has a Job be one pod at a time, replaced as often as it is lost."""
    return {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": _MOST_PODS,
        "ttlSecondsAfterFinished": _KEPT_S,
    }


def _pod(turn: Turn, settings: KubernetesSettings, spec: PodSpec) -> dict[str, Any]:
    limit_s = time_limit_s(settings, turn.job.resources)
    pod: dict[str, Any] = {
        **surroundings(spec),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": math.ceil(turn.job.limits.grace_s) + STOP_MARGIN_S,
    }
    if turn.job.resources.nodes > 1:
        pod["affinity"] = _apart(key_of(spec.root, turn.place))
    if limit_s is not None:
        pod["activeDeadlineSeconds"] = math.ceil(limit_s)
    if settings.priority_class is not None:
        pod["priorityClassName"] = settings.priority_class
    if settings.scheduler is not None:
        pod["schedulerName"] = settings.scheduler
    shm = {"medium": "Memory", "sizeLimit": str(_shm_bytes(turn.job.resources))}
    container = {
        "name": CONTAINER,
        "image": spec.image,
        "command": [_unexpanded(word) for word in turn.command],
        "workingDir": turn.cwd,
        "env": _variables(turn),
        "resources": limits(turn.job.resources, settings.gpu_resource),
        "securityContext": container_context(),
        "volumeMounts": [*mounts(spec), {"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108
    }
    pod["tolerations"] = tolerations(settings)
    pod["containers"] = [container]
    pod["volumes"] = [*volumes(spec), {"name": "shm", "emptyDir": shm}]
    return pod


def _apart(key: str) -> dict[str, Any]:
    """Return what has the pods of a job on nodes of their own, where there are enough of them."""
    term = {
        "labelSelector": {"matchLabels": {KEY: key}},
        "topologyKey": "kubernetes.io/hostname",
    }
    wish = {"weight": 100, "podAffinityTerm": term}
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}


def time_limit_s(settings: KubernetesSettings, resources: Resources) -> float | None:
    """Return how long one attempt may take, in seconds; None: there is no limit."""
    return settings.time_s if resources.time_s is None else resources.time_s


def limits(resources: Resources, gpu: str) -> dict[str, Any]:
    """Return what a job's container gets: asked for and limited alike."""
    found: dict[str, str] = {}
    if resources.cpus is not None:
        found["cpu"] = f"{resources.cpus:g}"
    if resources.memory_bytes is not None:
        found["memory"] = str(resources.memory_bytes)
    if resources.gpus:
        found[gpu] = str(resources.gpus)
    return {"requests": found, "limits": dict(found)} if found else {}


def tolerations(settings: KubernetesSettings) -> list[dict[str, Any]]:
    """Return the user's tolerations, and for how long a node that is not ready is borne with."""
    found = []
    for text in settings.tolerations:
        match = TOLERATION.fullmatch(text)
        assert match is not None  # looked at when the settings were read
        given = {name: value for name, value in match.groupdict().items() if value is not None}
        found.append({**given, "operator": "Equal" if "value" in given else "Exists"})
    return [
        *found,
        *(
            {
                "key": f"node.kubernetes.io/{each}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": _GIVEN_UP_S,
            }
            for each in ("not-ready", "unreachable")
        ),
    ]


def notes_of(settings: KubernetesSettings) -> dict[str, Any]:
    """Return the `labels` and `annotations` that the user's lines give every pod of a job. Pure.

    Raises:
        UsageError: there is no such place.
    """
    notes: dict[str, Any] = {"labels": {}, "annotations": {}}
    made = {"spec": {"template": {"metadata": notes}}}
    for line in settings.lines:
        if line.startswith(_OF_PODS):
            put(made, line)
    return {name: each for name, each in notes.items() if each}


def put(made: dict[str, Any], line: str) -> None:
    """Set what a user's line says: `PATH: VALUE`, the value as JSON, or else a word.

    Raises:
        UsageError: there is no such place.
    """
    match = LINE.fullmatch(line)
    path = [] if match is None else [a or b for a, b in _SEGMENT.findall(match["path"])]
    if match is None or not path:
        raise UsageError(f"`{line}` is not `PATH: VALUE`", hint='lines = ["spec.suspend: true"]')
    try:
        value = json.loads(match["value"])
    except ValueError:
        value = match["value"]
    try:
        _put(made, path, value)
    except (IndexError, ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(
            f"the manifest has no place `{match['path']}`, which `lines` names",
            hint="perdure run --explain shows the manifest",
        ) from None


def _put(at: Any, path: Sequence[str], value: object) -> None:  # noqa: ANN401 - of a manifest
    first, *rest = path
    if isinstance(at, list):
        if first == "-" and not rest:
            at.append(value)
        elif rest:
            _put(at[int(first)], rest, value)
        else:
            at[int(first)] = value
    elif rest:
        _put(at.setdefault(first, {}), rest, value)
    else:
        at[first] = value


def _variables(turn: Turn) -> list[dict[str, Any]]:
    own = {
        "HOME": "/tmp",  # noqa: S108 - the pod's own
        "PYTHONPATH": f"{turn.cwd}/src:{turn.cwd}",
        "PYTHONUNBUFFERED": "1",
        # Its supervisor ends with 0 once the job is settled.
        names.RETURNS_AFTER: str(turn.after),
    }
    found = {**own, **turn.job.variables}
    told: list[dict[str, Any]] = [
        {"name": name, "value": _unexpanded(value)} for name, value in found.items()
    ]
    if turn.job.resources.nodes > 1:
        # Where the ranks meet: names of pods need not lead to them.
        address = {"fieldRef": {"fieldPath": "status.podIP"}}
        told.append({"name": ADDRESS, "valueFrom": address})
    return told


def _unexpanded(word: str) -> str:
    """Return a word that Kubernetes leaves as it is: it reads `$(NAME)` as a variable's.

    Raises:
        UsageError: it is no text, and a manifest is.
    """
    try:
        word.encode()
    except UnicodeEncodeError:
        shown = word.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise UsageError(
            f"`{shown}` is not UTF-8, and a manifest holds nothing else",
            hint="a name that is, or a file that the task reads",
        ) from None
    return word.replace("$", "$$")


def _shm_bytes(resources: Resources) -> int:
    if resources.shm_bytes is not None:
        return resources.shm_bytes
    # What lies there counts as the job's memory.
    return _SHM_BYTES if resources.memory_bytes is None else resources.memory_bytes // 2
