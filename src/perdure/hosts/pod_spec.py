"""What the pod is made from through which a project's volumes are reached. Pure.

All of it stands in its destination, so that whoever comes upon a job of that project, whatever the
settings say by then, can make the pod again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import parse_qsl, urlencode

from perdure.errors import UsageError

SCHEME = "kubernetes://"
CONTAINER = "desk"
# Where the claim for run folders is in every pod of a project.
VOLUME = "/perdure"
# Where the one for data is: the project's `data` on the volume leads there.
DATA = "/perdure-data"
ROLE = "perdure.dev/role"
# In the place of a digest: what is to be pushed is not known before.
NOT_PUSHED = ":not-pushed-yet"
_DIGITS = 12
_MEMORY, _MOST_MEMORY, _CPU = "128Mi", "2Gi", "50m"
# It follows a lost node's other pods soon: somebody waits for it.
_GIVEN_UP_S = 5
# So long a pod stays that nobody uses; one that may have GPUs not so long.
_IDLE_S, _SOON_S = "1800", "120"
_USUAL = {"role": "desk", "gpus": 0, "gpu_resource": "nvidia.com/gpu", "notes": "{}"}

# PID 1 of the pod: takes up what others leave behind, and ends when nobody has been here for long.
_PROGRAM = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
used = time.monotonic()
while time.monotonic() - used < float(sys.argv[1]):
    if any(name.isdigit() and name != "1" for name in os.listdir("/proc")):
        used = time.monotonic()
    time.sleep(10)
"""


@dataclass(frozen=True, slots=True)
class PodSpec:
    """Claims, image, user and place of a pod; `folder` is the project's name on the volume.

    `selector` is JSON, `tolerations` JSON as they stand in a manifest. `role` is what the pod is
    for; one that is no desk has `gpus`, and of its node what it can get. `notes` is JSON, too:
    labels and annotations that the cluster wants of every pod.
    """

    folder: str
    image: str
    results: str
    user_id: int
    group_id: int
    context: str | None = None
    namespace: str | None = None
    data: str | None = None
    selector: str = "{}"
    tolerations: str = "[]"
    role: str = "desk"
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    service_account: str | None = None
    pull_secret: str | None = None
    scheduler: str | None = None
    priority_class: str | None = None
    notes: str = "{}"

    @property
    def root(self) -> str:
        """Return the project's folder in its pods."""
        return f"{VOLUME}/{self.folder}"

    @property
    def destination(self) -> str:
        """Return what `read_destination` makes this of."""
        # What came later is left out where it is as usual: a pod of an earlier version is the same.
        given = {
            name: value
            for name, value in asdict(self).items()
            if value is not None and _USUAL.get(name) != value
        }
        return SCHEME + urlencode(sorted((name, str(value)) for name, value in given.items()))


def is_pod(destination: str) -> bool:
    """Return whether a destination is a pod's, and nothing to give to ssh."""
    return destination.startswith(SCHEME)


def read_destination(destination: str) -> PodSpec:
    """Return what a pod is made from. Raises ValueError for what is no pod's."""
    given: dict[str, Any] = dict(parse_qsl(destination.removeprefix(SCHEME), strict_parsing=True))
    for name in ("user_id", "group_id", "gpus"):
        given[name] = int(given.get(name, "0"))
    known = {each.name for each in fields(PodSpec)}
    return PodSpec(**{name: value for name, value in given.items() if name in known})


def require_person(spec: PodSpec) -> None:
    """Return if a project's pods run as somebody. Pure.

    Raises:
        UsageError: they would as root.
    """
    for name, number in (("user", spec.user_id), ("group", spec.group_id)):
        if number == 0:
            raise UsageError(
                f"pods do not run as root, and the {name} id is 0: the project's folder belongs to "
                "root",
                hint="give the project an owner (`chown -R 1000:1000 .`), or set `user_id` and "
                "`group_id` under `[docker]` in .perdure/local.toml",
            )


def require_image(name: str, spec: PodSpec) -> None:
    """Return if the pods of a target have an image. Pure.

    Raises:
        UsageError: nothing was pushed to its registry yet.
    """
    if spec.image.endswith(NOT_PUSHED):
        raise UsageError(
            f"no image of this project was pushed for `{name}` yet",
            hint=f"perdure run --on {name} builds and pushes it",
        )


def desk_name(destination: str) -> str:
    """Return the pod's name: the same for whoever has the same project and settings."""
    role = read_destination(destination).role
    return f"perdure-{role}-{hashlib.sha256(destination.encode()).hexdigest()[:_DIGITS]}"


def desk(destination: str) -> dict[str, Any]:
    """Return the pod's manifest."""
    spec = read_destination(destination)
    own = {"app.kubernetes.io/managed-by": "perdure", ROLE: spec.role}
    notes = json.loads(spec.notes)
    given = {"schedulerName": spec.scheduler, "priorityClassName": spec.priority_class}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **notes,
            "name": desk_name(destination),
            "labels": {**notes.get("labels", {}), **own},
        },
        "spec": {
            **surroundings(spec),
            **{name: value for name, value in given.items() if value is not None},
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "tolerations": [*json.loads(spec.tolerations), *_soon_given_up()],
            "containers": [_desk_container(spec)],
            "volumes": volumes(spec),
        },
    }


def _soon_given_up() -> list[dict[str, Any]]:
    """Return what has a pod leave a dead node sooner than others do: another one stands in."""
    return [
        {"key": f"node.kubernetes.io/{each}", "operator": "Exists", "effect": "NoExecute"}
        | {"tolerationSeconds": _GIVEN_UP_S}
        for each in ("not-ready", "unreachable")
    ]


def _desk_container(spec: PodSpec) -> dict[str, Any]:
    requests, limits = {"cpu": _CPU, "memory": _MEMORY}, {"cpu": "2", "memory": _MOST_MEMORY}
    if spec.role != "desk":
        limits = {spec.gpu_resource: str(spec.gpus)} if spec.gpus else {}
        requests |= limits
    resources = {"requests": requests, "limits": limits}
    return {
        "name": CONTAINER,
        "image": spec.image,
        "command": ["python3", "-I", "-c", _PROGRAM, _IDLE_S if spec.role == "desk" else _SOON_S],
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108 - the pod's own
        "resources": resources,
        "securityContext": container_context(),
        "volumeMounts": mounts(spec),
    }


def surroundings(spec: PodSpec) -> dict[str, Any]:
    """Return what all pods of a project have: whom they run as, and no word to the API server."""
    own: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": spec.user_id,
            "runAsGroup": spec.group_id,
            "fsGroup": spec.group_id,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if json.loads(spec.selector):
        own["nodeSelector"] = json.loads(spec.selector)
    if spec.service_account is not None:
        own["serviceAccountName"] = spec.service_account
    if spec.pull_secret is not None:
        own["imagePullSecrets"] = [{"name": spec.pull_secret}]
    return own


def container_context() -> dict[str, Any]:
    """Return the rights of a container: none."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def volumes(spec: PodSpec) -> list[dict[str, Any]]:
    """Return the volumes of a project's pods."""
    found = [{"name": "results", "persistentVolumeClaim": {"claimName": spec.results}}]
    if spec.data is not None:
        claim: dict[str, Any] = {"claimName": spec.data, "readOnly": True}
        found.append({"name": "data", "persistentVolumeClaim": claim})
    return found


def mounts(spec: PodSpec) -> list[dict[str, Any]]:
    """Return where a project's pods have its volumes."""
    found: list[dict[str, Any]] = [{"name": "results", "mountPath": VOLUME}]
    if spec.data is not None:
        found.append({"name": "data", "mountPath": DATA, "readOnly": True})
    return found
