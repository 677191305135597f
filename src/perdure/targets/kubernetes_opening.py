"""The targets of `kind = "kubernetes"`: a cluster that this machine's kubectl reaches."""

from __future__ import annotations

import json
from dataclasses import replace

from perdure.errors import UsageError
from perdure.hosts.kubectl import current_context
from perdure.hosts.pod import Pod
from perdure.hosts.pod_spec import NOT_PUSHED, PodSpec, read_destination
from perdure.images.user import found_user
from perdure.model.project import Project
from perdure.model.settings import KubernetesSettings, Settings, TargetSettings
from perdure.model.station import Station
from perdure.project.identity import identity_of
from perdure.targets import pushed
from perdure.targets.kubernetes import Kubernetes
from perdure.targets.kubernetes_manifest import notes_of, tolerations
from perdure.targets.place import folder_name

KIND = "kubernetes"


def open_kubernetes(project: Project, settings: Settings | None, name: str) -> Kubernetes:
    """Return the target of that name in the user's settings; it asks nobody yet.

    Raises:
        UsageError: there is none of that name.
    """
    if settings is None or name not in settings.targets:
        from perdure.project.settings import load_settings

        settings = load_settings(project.root)
    if name not in settings.targets:
        raise UsageError(f"no target `{name}` in the settings", hint="perdure targets")
    wanted = settings.targets[name]
    assert wanted.kubernetes is not None  # a target of this kind has them
    own = wanted.kubernetes
    if own.registry is not None:
        image = pushed.read(project.state, own.registry) or f"{own.registry}{NOT_PUSHED}"
        own = replace(own, image=image)
    spec = spec_of(project, settings, own)
    return _made(name, project, replace(wanted, kubernetes=own), spec)


def open_begun(
    project: Project, settings: Settings | None, name: str, station: Station
) -> Kubernetes:
    """Return the target that a job was begun on, whatever the settings say by now.

    What they say holds for another attempt of it: another priority, say.
    """
    if settings is None or name not in settings.targets:
        from perdure.project.settings import load_settings

        settings = load_settings(project.root)
    spec = read_destination(station.destination)
    wanted = settings.targets.get(name)
    if wanted is None or wanted.kubernetes is None:
        own = KubernetesSettings(spec.image, spec.results)
        wanted = TargetSettings("", KIND, KIND, sync="none", kubernetes=own)
    found = _made(name, project, wanted, spec)
    return replace(found, known=station)


def spec_of(project: Project, settings: Settings, wanted: KubernetesSettings) -> PodSpec:
    """Return what the pods of a project have in common.

    Reads the owner of the project's folder, and what this copy of it is known by; asks kubectl
    which context is the current one, if none is named.
    """
    # Root, too: who asks what the cluster has needs no pod. A pod is refused: `require_person`.
    user = found_user(project, settings)
    # Written down, so that a job stays where it is when the current one changes.
    context = current_context() if wanted.context is None else wanted.context
    own = [each for each in tolerations(wanted) if "tolerationSeconds" not in each]
    return PodSpec(
        folder=wanted.folder or _own_folder(project, wanted),
        image=wanted.image,
        results=wanted.results,
        user_id=user.user_id,
        group_id=user.group_id,
        context=context,
        namespace=wanted.namespace,
        data=wanted.data,
        selector=json.dumps(dict(wanted.node_selector)),
        tolerations=json.dumps(own),
        service_account=wanted.service_account,
        pull_secret=wanted.pull_secret,
        scheduler=wanted.scheduler,
        priority_class=wanted.priority_class,
        notes=json.dumps(notes_of(wanted)),
    )


def _own_folder(project: Project, wanted: KubernetesSettings) -> str:
    # Not by the context: its name is this machine's own.
    where = f"{identity_of(project)}/{wanted.namespace}/{wanted.results}"
    return folder_name(project.root, where)


def _made(name: str, project: Project, wanted: TargetSettings, spec: PodSpec) -> Kubernetes:
    station = Station(spec.destination, spec.root, KIND)
    return Kubernetes(name, project, Pod(name, spec.destination, spec.root), wanted, station)
