"""A pod of its own for JupyterLab: with GPUs, and as much of its node as there is."""

from __future__ import annotations

from dataclasses import replace

from perdure.hosts.pod import Pod
from perdure.hosts.pod_spec import read_destination
from perdure.model.settings import KubernetesSettings
from perdure.services import jupyter
from perdure.services.spot import Spot


def pod_for(spot: Spot, gpus: str | None) -> Pod:
    """Return the pod, which has the project's volumes and so many GPUs. Pure.

    The first question makes it.
    """
    host = spot.host
    assert isinstance(host, Pod)  # what `in_pod` says
    wanted = spot.workspace.settings.targets[spot.name].kubernetes
    own = KubernetesSettings("", "") if wanted is None else wanted
    known = read_destination(host.destination)
    spec = replace(known, role=jupyter.NAME, gpus=int(gpus or 0), gpu_resource=own.gpu_resource)
    return Pod(spot.name, spec.destination, host.root)
