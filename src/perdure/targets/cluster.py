"""What can be asked of a target that has a scheduler, and of no other."""

from __future__ import annotations

from typing import Any

from perdure.errors import UsageError
from perdure.model.job import ImageUsed
from perdure.targets.protocol import Handle, Target

Values = dict[str, Any]

KUBERNETES = "kubernetes"
# Slurm tries for nine seconds before it says that it does not answer.
_LEAVE_S = 60.0
# Beyond what is allowed for what is done there.
_WAY_S = 20.0


def queue_of(target: Target) -> list[Values]:
    """Return the jobs of everybody in the partitions of a target: `slurm_listing.queue`. Asks it.

    Raises:
        UsageError: it has no queue.
        EnvironmentFailed: it does not answer.
    """
    return _asked(target, "queue")


def capacity_of(target: Target) -> list[Values]:
    """Return the partitions of a target, with what is free: `slurm_listing.capacity`. Asks it.

    Raises:
        UsageError: it has no partitions.
        EnvironmentFailed: it does not answer.
    """
    return _asked(target, "capacity")


def node_of(target: Target) -> dict[str, str]:
    """Return what a node of a Slurm has that runs images: `slurm_apptainer.look`. Takes a node.

    Raises:
        PerdureError: none is free, Slurm refuses, or does not answer.
    """
    from perdure.targets import far, slurm_apptainer
    from perdure.targets.remote import Remote
    from perdure.targets.slurm import Slurm

    if isinstance(target, Remote):
        timeout_s = slurm_apptainer.ANSWER_S + _WAY_S
        found: dict[str, str] = target.host.call_long(
            far.node, target.values(), timeout_s=timeout_s
        )
        return found
    assert isinstance(target, Slurm)  # what the caller knows
    return slurm_apptainer.look(target.settings)


def image_of(target: Target) -> ImageUsed | None:
    """Return the image of the user's own that a target's jobs run in, None where it has none."""
    if target.place.is_here:
        return None
    from perdure.targets.remote import Remote

    # Its module is loaded where such a target was opened.
    if not isinstance(target, Remote) or target.wanted.kubernetes is None:
        return None
    from perdure.targets.kubernetes import Kubernetes

    return target.image if isinstance(target, Kubernetes) else None


def registry_of(target: Target) -> str | None:
    """Return where a target's images are pushed at each submission, None where they are not."""
    if target.place.is_here:
        return None
    from perdure.targets.remote import Remote

    own = target.wanted.kubernetes if isinstance(target, Remote) else None
    return None if own is None else own.registry


def is_pods(target: Target) -> bool:
    """Return whether a target's jobs are pods of a cluster."""
    return image_of(target) is not None


def require_machine(target: Target, what: str) -> None:
    """Return if a target has a machine of its own for what is no job.

    Raises:
        UsageError: it has pods, which come and go.
    """
    if image_of(target) is not None:
        raise UsageError(
            f"`{target.name}` is a cluster of pods: {what}", hint="perdure attach JOB, for a shell"
        )


def is_scheduled(target: Target) -> bool:
    """Return whether a scheduler runs the jobs of a target; may ask the host."""
    from perdure.targets import far
    from perdure.targets.remote import Remote
    from perdure.targets.slurm import Slurm

    if isinstance(target, Remote):
        return target.station.engine in (far.SLURM, KUBERNETES)
    return isinstance(target, Slurm)


def is_slurm(target: Target) -> bool:
    """Return whether a target's jobs run on the nodes of a Slurm; may ask the host."""
    from perdure.targets import far
    from perdure.targets.remote import Remote
    from perdure.targets.slurm import Slurm

    if isinstance(target, Remote):
        return target.station.engine == far.SLURM
    return isinstance(target, Slurm)


def leave(target: Target, handle: Handle) -> None:
    """Return once no queue has a job that is to go on elsewhere; at once where there is none.

    Asks the scheduler.

    Raises:
        EnvironmentFailed: it does not answer.
        ConflictError: it still has the job.
    """
    from perdure.targets import far
    from perdure.targets import slurm_ticket as tickets
    from perdure.targets.remote import Remote
    from perdure.targets.slurm import Slurm

    if isinstance(target, Slurm):
        tickets.leave(str(handle.run_dir))
    elif is_pods(target):
        from perdure.targets.kubernetes import Kubernetes

        assert isinstance(target, Kubernetes)  # it has an image of the user's own
        target.leave(handle)
    elif isinstance(target, Remote) and target.station.engine == far.SLURM:
        there = target.place.path(handle.run_dir)
        target.host.call_long(tickets.leave, there, timeout_s=_LEAVE_S)


def _asked(target: Target, what: str) -> list[Values]:
    from perdure.targets import far
    from perdure.targets.remote import Remote
    from perdure.targets.slurm import Slurm

    if isinstance(target, Slurm):
        from perdure.targets import slurm_listing

        return slurm_listing.LISTS[what](target.settings)
    if image_of(target) is not None:
        from perdure.targets import kubernetes_listing
        from perdure.targets.kubernetes import Kubernetes

        assert isinstance(target, Kubernetes)  # it has an image of the user's own
        return kubernetes_listing.LISTS[what](target.kubectl, target.settings)
    if isinstance(target, Remote) and target.station.engine == far.SLURM:
        return target.host.call(far.listed, target.values(), what)
    raise UsageError(
        f"`{target.name}` has no scheduler: it runs what it is given at once",
        hint="perdure ps shows your jobs, perdure targets --check what a machine has",
    )
