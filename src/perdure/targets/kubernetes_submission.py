"""A Job handed over to a cluster, once, also where the answer is lost; and its first sign."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure.errors import (
    ConflictError,
    EnvironmentFailed,
    HostUnreachable,
    PerdureError,
    StorageError,
)
from perdure.hosts.kubectl import Kubectl, Refused
from perdure.hosts.pod import NEVER
from perdure.model.settings import KubernetesSettings
from perdure.runtime import generation
from perdure.targets import kubernetes_manifest as manifests
from perdure.targets import kubernetes_ticket as tickets
from perdure.targets import supervisor
from perdure.targets.kubernetes_cluster import Word, why_pending
from perdure.targets.protocol import Plan

if TYPE_CHECKING:
    from perdure.targets.kubernetes import Kubernetes

SUBMIT_S = 60.0
# For so long it is looked whether a Job is there whose submission was not answered.
LOOK_S = 20.0
# For so long a first sign is waited for: that it runs, that it waits, or why it never will.
SIGN_S = 10.0
_NO_POD_S = 4.0
_POLL_S = 0.3

# Of this process: the settings with which a Job was seen to run.
_ran: list[tuple[str, KubernetesSettings]] = []


def submit(
    target: Kubernetes, plan: Plan, *, pause: Callable[[float], None] = time.sleep
) -> int | None:
    """Return the generation that a Job is to claim, None where the cluster had it already.

    Raises:
        HostUnreachable: the cluster does not answer, and has not taken it.
        EnvironmentFailed: it refuses the Job, or its image cannot be had.
        ConflictError: another attempt has begun meanwhile.
    """
    place = target.place
    run_dir = place.path(plan.run_dir)
    named = supervisor.digest()
    main = supervisor.folder(target.station.root, named) / supervisor.MAIN
    found = target.host.call(tickets.look, run_dir, str(main))
    word = target.word(plan.run_dir)
    if word is not None and word.active and not found["over"]:
        return None
    if word is not None and word.others:
        # Of a handing over that is no more: they would follow the next one, too.
        delete(target.kubectl, word)
    after = int(found["newest"])
    if after != (generation.newest(plan.run_dir) if plan.run_dir.is_dir() else 0):
        raise ConflictError(f"`{plan.key}` has begun another attempt meanwhile", hint="perdure ps")
    if not found["main"]:
        target.host.call(supervisor.unpack, target.station.root, named, supervisor.sources())
    name = manifests.job_name(target.station.root, place.name(plan.run_dir), after)
    target.host.call(tickets.hold, run_dir, name, after)
    try:
        _create(target, plan, name, pause)
        _await_sign(target, plan, pause)
    except HostUnreachable:
        raise  # nobody can say whether it was taken: the ticket finds it
    except PerdureError:
        target.host.call(tickets.release, run_dir)
        raise
    return after + 1


def _create(target: Kubernetes, plan: Plan, name: str, pause: Callable[[float], None]) -> None:
    """Return once the cluster has the Job."""
    deadline = time.monotonic() + LOOK_S
    while True:
        try:
            words = ("create", "--filename=-")
            target.kubectl.ask(*words, stdin=plan.script, timeout_s=SUBMIT_S)
        except HostUnreachable:
            # It may have it all the same: then that is said next.
            if time.monotonic() > deadline:
                raise
            pause(_POLL_S)
            continue
        except Refused as error:
            if "already exists" not in error.message:
                _take_back(target, plan)
                raise refusal(error) from error
            if not _clear(target, plan, name):
                pause(_POLL_S)
                continue
        target.queue.changed()
        return


def _take_back(target: Kubernetes, plan: Plan) -> None:
    """Delete what a cluster took of a job of several nodes before it refused one of them."""
    with contextlib.suppress(PerdureError):
        word = target.word(plan.run_dir)
        if word is not None and word.jobs:
            delete(target.kubectl, word)
            target.queue.changed()


def _clear(target: Kubernetes, plan: Plan, name: str) -> bool:
    """Return whether a Job of that name goes on; one that does not is removed."""
    word = target.word(plan.run_dir)
    if word is not None and word.name == name and word.active:
        return True
    delete(target.kubectl, (word or Word(name, active=False))._replace(name=name))
    return False


def delete(kubectl: Kubectl, word: Word) -> None:
    """Have a cluster delete the Jobs of a job, with their pods; return at once."""
    # Not in the foreground: that waits for ever for a pod of a node that is gone.
    if word.element is not None:
        if word.pods:
            kubectl.ask("delete", "pod", *word.pods, "--ignore-not-found", "--wait=false")
        return
    words = ("--ignore-not-found", "--cascade=background", "--wait=false")
    kubectl.ask("delete", "job", *word.jobs, *words)


def refusal(error: Refused) -> PerdureError:
    """Return the error of a manifest that a cluster does not take. Pure."""
    return EnvironmentFailed(
        f"the cluster refuses the Job: {error.message}", hint="perdure run --explain shows it"
    )


def _await_sign(target: Kubernetes, plan: Plan, pause: Callable[[float], None]) -> None:
    """Return once a Job runs or waits, or after a while.

    Raises:
        EnvironmentFailed: it never will; it is deleted.
    """
    known_to_run = (target.station.destination, target.settings)
    if known_to_run in _ran:
        return  # what its image and its claims come to was seen: a sweep has thousands of them
    began = time.monotonic()
    while time.monotonic() - began < SIGN_S:
        pause(_POLL_S)
        known = target.queue.known(fresh=True)
        if known.problem:
            continue  # it has the Job: whether that begins is seen later
        word = known.words.get(target.key(plan.run_dir))
        if word is not None and word.active and word.waits is None:
            _ran.append(known_to_run)
            return
        if word is None or not word.active or word.waits in ("Suspended", "Unschedulable"):
            return
        problem = _problem(target, plan, word, no_pod_s=time.monotonic() - began)
        if problem is not None:
            delete(target.kubectl, word)
            target.queue.changed()
            raise problem


def _problem(target: Kubernetes, plan: Plan, word: Word, *, no_pod_s: float) -> PerdureError | None:
    """Return why a Job that does not run never will, None where it may yet. Asks the cluster."""
    if word.waits in NEVER:
        pod = target.kubectl.read("get", "pod", word.pod, "--ignore-not-found")
        said = why_pending(pod.get("status", {})) or word.waits
        return EnvironmentFailed(
            f"the image of `{plan.key}` does not start: {said}",
            hint=f"`image` and `pull_secret` of `[targets.{target.name}]`",
        )
    if word.waits == "no pod yet" and no_pod_s > _NO_POD_S:
        said = _said_of(target, word.name)
        return None if not said else EnvironmentFailed(
            f"the cluster makes no pod for `{plan.key}`: {said}",
            hint="kubectl describe quota; perdure run --explain",
        )  # fmt: skip
    if word.waits is not None and word.waits.startswith(("exit code", "its pod", "StartError")):
        return _ended_at_once(target, plan, word)
    return None


def _said_of(target: Kubernetes, name: str) -> str:
    """Return why a Job has no pod: its newest event's own words."""
    words = ("get", "events", f"--field-selector=involvedObject.name={name},type=Warning")
    try:
        items: list[dict[str, Any]] = list(target.kubectl.read(*words).get("items", ()))
    except EnvironmentFailed:
        return ""
    return str(items[-1].get("message", "")) if items else ""


def _ended_at_once(target: Kubernetes, plan: Plan, word: Word) -> PerdureError | None:
    """Return why a pod ended before its supervisor owned the run folder, None where it did."""
    place = target.place.path(plan.run_dir)
    found = target.host.call(tickets.look, place, "")
    if int(found["newest"]) > (generation.newest(plan.run_dir) if plan.run_dir.is_dir() else 0):
        return None
    selector = f"--selector={manifests.KEY}={target.key(plan.run_dir)}"
    done = target.kubectl.run(("logs", selector, "--tail=5"))
    code = (word.waits or "").rpartition(" ")[2]
    kind = StorageError if code == str(StorageError.exit_code) else EnvironmentFailed
    return kind(
        f"the supervisor of `{plan.key}` did not start ({word.waits})",
        hint=done.text or done.complaint or None,
    )
