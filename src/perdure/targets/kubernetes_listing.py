"""The queue and the room of a Kubernetes, as plain values for tables: see `slurm_listing`."""

from __future__ import annotations

import datetime as dt
import getpass
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from perdure.errors import UsageError
from perdure.hosts.kubectl import Forbidden, Kubectl
from perdure.hosts.pod_spec import ROLE
from perdure.model.settings import KubernetesSettings
from perdure.targets.kubernetes_capacity import Node, free, quantity, read_nodes, require_claims
from perdure.targets.kubernetes_cluster import why_pending
from perdure.targets.kubernetes_manifest import JOB, USER

Values = dict[str, Any]

_MEBIBYTE = 2**20
_OVER = ("Succeeded", "Failed")


def queue(kubectl: Kubectl, settings: KubernetesSettings) -> list[Values]:
    """Return the pods of a target's namespace that wait or run. Asks the cluster.

    Raises:
        UsageError: there is no such namespace, or volume claim.
        EnvironmentFailed: the cluster does not answer.
    """
    require_claims(kubectl, settings)
    found = kubectl.read("get", "pods").get("items", ())
    return rows(found, settings, user_name(), time.time())


def rows(
    pods: Iterable[Mapping[str, Any]], settings: KubernetesSettings, user: str, now: float
) -> list[Values]:
    """Return a row for each pod that waits or runs, those that run last. Pure."""
    live = [
        pod
        for pod in pods
        if pod["status"].get("phase") not in _OVER and ROLE not in pod["metadata"].get("labels", {})
    ]
    made = [_row(pod, settings, user, now) for pod in live]
    return sorted(made, key=lambda row: (row["state"] == "RUNNING", row["number"]))


def user_name() -> str:
    """Return what this user is called here."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def _row(pod: Mapping[str, Any], settings: KubernetesSettings, user: str, now: float) -> Values:
    metadata, spec, status = pod["metadata"], pod["spec"], pod["status"]
    notes = metadata.get("annotations", {})
    asked = [each.get("resources", {}).get("requests", {}) for each in spec["containers"]]
    gpus = sum(quantity(str(each.get(settings.gpu_resource, "0"))) for each in asked)
    state = str(status.get("phase", "Unknown")).upper()
    return {
        "number": metadata["name"],
        "user": notes.get(USER, ""),
        "mine": bool(user) and notes.get(USER) == user,
        "job": notes.get(JOB),
        "name": metadata["name"],
        "partition": metadata.get("namespace", ""),
        "state": "STOPPING" if "deletionTimestamp" in metadata else state,
        "reason": why_pending(status).partition(":")[0] if state == "PENDING" else "",
        "elapsed_s": _since(status.get("startTime"), now),
        "limit_s": spec.get("activeDeadlineSeconds"),
        "nodes": 1,
        "cpus": sum(quantity(str(each.get("cpu", "0"))) for each in asked),
        "gpus": f"{gpus:g}" if gpus else "",
        "place": spec.get("nodeName", ""),
    }


def _since(text: str | None, now: float) -> float | None:
    return None if text is None else now - dt.datetime.fromisoformat(text).timestamp()


def capacity(kubectl: Kubectl, settings: KubernetesSettings) -> list[Values]:
    """Return what the nodes that a target may use have, and what of it is free. Asks the cluster.

    Raises:
        UsageError: the cluster does not show its nodes to this user.
        EnvironmentFailed: it does not answer.
    """
    try:
        nodes = read_nodes(kubectl, settings)
        pods = kubectl.read("get", "pods", "--all-namespaces").get("items", ())
    except Forbidden as error:
        raise UsageError(
            f"what is free cannot be told: {error.message}", hint="kubectl describe quota"
        ) from error
    return [room(nodes, pods, settings)]


def room(
    nodes: Sequence[Node], pods: Iterable[Mapping[str, Any]], settings: KubernetesSettings
) -> Values:
    """Return the one row of a cluster. Pure."""
    up = [node for node in nodes if node.ready]
    left = free(up, pods, settings.gpu_resource)
    idle = [node for node in up if left[node.name] == node]
    chosen = ",".join(f"{name}={value}" for name, value in settings.node_selector.items())
    return {
        "partition": chosen or "all nodes",
        "default": False,
        "limit_s": settings.time_s,
        "nodes": len(nodes),
        "nodes_up": len(up),
        "nodes_idle": len(idle),
        "gpus": sum(node.gpus for node in nodes),
        "gpus_free": sum(node.gpus for node in left.values()),
        "gpus_free_on_one": max((node.gpus for node in left.values()), default=0),
        "cpus": round(sum(node.cpus for node in nodes), 1),
        "cpus_free": round(sum(node.cpus for node in left.values()), 1),
        "cpus_free_on_one": round(max((node.cpus for node in left.values()), default=0.0), 1),
        "memory_mib_on_one": max((node.memory_bytes for node in nodes), default=0) // _MEBIBYTE,
        "memory_mib_free_on_one": max((node.memory_bytes for node in left.values()), default=0)
        // _MEBIBYTE,
    }


LISTS = {"queue": queue, "capacity": capacity}
