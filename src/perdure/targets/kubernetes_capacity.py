"""What a cluster has, as its nodes tell it; and whether a job could ever run there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from perdure.errors import UsageError
from perdure.hosts.kubectl import Forbidden, Kubectl, Refused
from perdure.model.job import Resources
from perdure.model.settings import KubernetesSettings

_MEBIBYTE = 2**20
_UNITS = {
    "": 1.0,
    "m": 1e-3,
    **{f"{letter}i": 1024.0 ** (n + 1) for n, letter in enumerate("KMGTPE")},
    **{letter: 1000.0 ** (n + 1) for n, letter in enumerate("kMGTPE")},
}
_QUANTITY = re.compile(r"([0-9.]+(?:e[0-9]+)?)([a-zA-Z]*)")


@dataclass(frozen=True, slots=True)
class Node:
    """A node: what jobs may have of it. `ready`: it takes new pods."""

    name: str
    ready: bool
    cpus: float
    memory_bytes: int
    gpus: int


def quantity(text: str) -> float:
    """Return what `500m`, `16Gi` or `2` is. Pure."""
    match = _QUANTITY.fullmatch(text)
    return 0.0 if match is None else float(match[1]) * _UNITS.get(match[2], 0.0)


def read_nodes(kubectl: Kubectl, settings: KubernetesSettings) -> list[Node]:
    """Return the nodes on which a target's jobs may run. Asks the cluster.

    Raises:
        Forbidden: this user may not know.
    """
    selector = ",".join(f"{name}={value}" for name, value in settings.node_selector.items())
    words = [f"--selector={selector}"] if selector else []
    found = kubectl.read("get", "nodes", *words)
    return [_node(each, settings.gpu_resource) for each in found.get("items", ())]


def _node(item: Mapping[str, Any], gpu: str) -> Node:
    status, has = item["status"], item["status"].get("allocatable", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    return Node(
        str(item["metadata"]["name"]),
        conditions.get("Ready") == "True" and not item["spec"].get("unschedulable"),
        quantity(str(has.get("cpu", "0"))),
        int(quantity(str(has.get("memory", "0")))),
        int(quantity(str(has.get(gpu, "0")))),
    )


def summary(kubectl: Kubectl, settings: KubernetesSettings) -> str:
    """Return which release it is, and how many nodes are ready. Asks the cluster.

    Raises:
        PerdureError: it does not answer, or has no such namespace or volume claim.
    """
    version = kubectl.read("version").get("serverVersion", {})
    release = f"Kubernetes {version.get('major', '?')}.{version.get('minor', '?')}"
    require_claims(kubectl, settings)
    try:
        nodes = read_nodes(kubectl, settings)
    except Forbidden:
        return f"{release}, its nodes are not shown to you"
    ready = sum(node.ready for node in nodes)
    gpus = sum(node.gpus for node in nodes if node.ready)
    return f"{release}, {ready} of {len(nodes)} nodes ready, {gpus} GPUs"


def require(kubectl: Kubectl, settings: KubernetesSettings, resources: Resources) -> None:
    """Return if the volumes are there, and some node has what is asked for. Asks the cluster.

    Raises:
        UsageError: none has; or there is no such namespace, or volume claim.
        EnvironmentFailed: the cluster does not answer, or not to this user.
    """
    if resources.gpus == "all":
        raise UsageError("a cluster is told how many GPUs a job gets", hint="--gpus 1")
    require_claims(kubectl, settings)
    try:
        nodes = read_nodes(kubectl, settings)
    except Forbidden:
        return  # the cluster itself says so later
    if not nodes and settings.node_selector:
        labels = ", ".join(f"{k}={v}" for k, v in settings.node_selector.items())
        raise UsageError(f"no node has the labels {labels}", hint="kubectl get nodes --show-labels")
    _require_nodes(resources, len(nodes))
    wanted = (
        ("GPUs", float(resources.gpus or 0), max((n.gpus for n in nodes), default=0)),
        ("processors", resources.cpus or 0.0, max((n.cpus for n in nodes), default=0)),
        (
            "MiB of memory",
            (resources.memory_bytes or 0) / _MEBIBYTE,
            max((n.memory_bytes for n in nodes), default=0) / _MEBIBYTE,
        ),
    )
    for what, asked, most in wanted:
        if asked > most:
            raise UsageError(
                f"{asked:g} {what} are more than any node has: {most:g} at most",
                hint="perdure capacity --on TARGET",
            )


def _require_nodes(resources: Resources, there: int) -> None:
    if resources.nodes > max(1, there):
        raise UsageError(
            f"{resources.nodes} nodes are asked for, and there are {there}",
            hint="perdure capacity --on TARGET",
        )


def require_claims(kubectl: Kubectl, settings: KubernetesSettings) -> None:
    """Return if the namespace has the volume claims. Asks the cluster.

    Raises:
        UsageError: it has not, or there is no such namespace.
    """
    claims = [each for each in (settings.results, settings.data) if each is not None]
    try:
        kubectl.ask("get", "pvc", *claims, "--output=name")
    except Forbidden:
        return  # a pod that uses them is refused later, if it is
    except Refused as error:
        if settings.namespace is not None:
            with contextlib.suppress(Forbidden):  # of a namespace that is none, too
                kubectl.ask("get", "namespace", settings.namespace, "--output=name")
        raise _no_claim(kubectl, claims, error) from error


def _no_claim(kubectl: Kubectl, claims: Iterable[str], error: Refused) -> UsageError:
    import difflib

    names = kubectl.ask("get", "pvc", "--output=name").split()
    known = [name.partition("/")[2] for name in names]
    for claim in claims:
        if claim not in known:
            near = difflib.get_close_matches(claim, known, 1)
            hint = f"did you mean `{near[0]}`?" if near else "kubectl get pvc"
            return UsageError(f"there is no volume claim `{claim}` in the namespace", hint=hint)
    return UsageError(error.message, hint="kubectl get pvc")


def free(nodes: Iterable[Node], pods: Iterable[Mapping[str, Any]], gpu: str) -> dict[str, Node]:
    """Return what each node has left beside the pods that it has been given. Pure."""
    left = {node.name: node for node in nodes}
    for pod in pods:
        name = pod["spec"].get("nodeName")
        if name not in left or pod["status"].get("phase") in ("Succeeded", "Failed"):
            continue
        for container in pod["spec"].get("containers", ()):
            asked = container.get("resources", {}).get("requests", {})
            node = left[name]
            left[name] = replace(
                node,
                cpus=node.cpus - quantity(str(asked.get("cpu", "0"))),
                memory_bytes=node.memory_bytes - int(quantity(str(asked.get("memory", "0")))),
                gpus=node.gpus - int(quantity(str(asked.get(gpu, "0")))),
            )
    return left
