"""What is found of a Kubernetes cluster: kubectl, credentials, volumes, and the pod for these."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from perdure.doctor.finding import Finding, fine, problem, warning
from perdure.errors import PerdureError, UsageError
from perdure.hosts.pod_spec import require_person
from perdure.model.project import Project
from perdure.model.report import Report
from perdure.model.settings import Settings
from perdure.targets import shelf
from perdure.targets.kubernetes import Kubernetes
from perdure.targets.kubernetes_opening import open_kubernetes

_GIB = 2**30
_VERSION_S = 10.0


def examine_kubernetes(
    name: str, project: Project | None, settings: Settings, *, report: Report
) -> tuple[Finding, ...]:
    """Return what is found of a target's cluster. Asks it, and starts a small pod there."""
    report(f"asking `{name}`")
    if project is not None:
        return tuple(_findings(open_kubernetes(project, settings, name)))
    with tempfile.TemporaryDirectory(prefix="perdure-", ignore_cleanup_errors=True) as folder:
        none = Project(Path(folder), "", "", {})
        return tuple(_findings(open_kubernetes(none, settings, name)))


def _findings(target: Kubernetes) -> Iterator[Finding]:
    try:
        done = target.kubectl.run(("version", "--client", "--output=json"), timeout_s=_VERSION_S)
    except PerdureError as error:
        yield problem("kubectl", error.message, error.hint or error.usual_hint)
        return
    yield fine("kubectl", "there" if done.returncode == 0 else done.complaint)
    able = target.probe()
    if able.problem:
        yield problem("cluster", able.problem, able.hint or "kubectl get pods")
        return
    yield fine("cluster", able.summary)
    try:
        require_person(target.spec)
    except UsageError as error:
        # The cluster itself is fine: what a pod finds there is all that is not looked at.
        yield warning("pod", error.message, error.hint or "")
        return
    try:
        facts = target.pod.probe()
    except PerdureError as error:
        yield problem("pod", error.message, error.hint or error.usual_hint)
        return
    yield fine("python", f"{facts.python} in `{target.settings.image}`")
    yield _volume(target, facts.disk_free_bytes)


def _volume(target: Kubernetes, free_bytes: int) -> Finding:
    claim = target.settings.results
    try:
        target.pod.call(shelf.make, [target.station.root])
    except (OSError, PerdureError) as error:
        user = target.spec.user_id
        told = f"user {user} cannot write to `{claim}`: {error}"
        return problem("volume", told, "`user_id` under `[docker]`, or another claim")
    return fine("volume", f"`{claim}`, {free_bytes / _GIB:.0f} GiB free")
