"""The image of a job: the project's for a new one, the recorded one for one that exists."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from perdure.errors import EnvironmentFailed, UsageError
from perdure.hosts.host import Host
from perdure.jobs.snapshot import Tree
from perdure.jobs.workspace import Workspace
from perdure.model.image import Image, Stage
from perdure.model.job import EnvironmentUsed, ImageUsed, JobRecord
from perdure.model.report import Report
from perdure.model.settings import Settings
from perdure.targets.cluster import image_of, registry_of
from perdure.targets.protocol import Target


def image_for(
    workspace: Workspace,
    target: Target,
    variant: str | None,
    report: Report,
    *,
    code: Path | None = None,
) -> EnvironmentUsed:
    """Return the project's image, locked and built if need be; with `code`, the code is in it.

    It is on the engine of the target's host; of a Slurm, a file on what its nodes share.

    Raises:
        EnvironmentFailed: it cannot be had.
    """
    own = _own_image(workspace, target, variant, pegged=code is not None)
    if own is not None:
        return own
    from perdure.environments.lock import lock_digest

    _require_maker(workspace, target)
    with _advised(target):
        image = ensure_image_on(
            _builder(target), workspace, Stage.RUNTIME, variant=variant, code=code, report=report
        )
    used = _used(image)
    if _is_squashed(target):
        # A lent machine's is brought when it is lent; this one may be asked before a job begins.
        _bring(workspace, target, used, report)
    return EnvironmentUsed(lock_digest(workspace.project), image.variant, "", None, used)


def push_for(workspace: Workspace, target: Target, variant: str | None, report: Report) -> bool:
    """Return whether the project's image was pushed, for a target that takes it from a registry.

    It is locked and built here, if need be; the engine pushes it, with its client's credentials.
    From then on the target, opened anew, has that image by its digest.

    Raises:
        EnvironmentFailed: it cannot be had, or the registry refuses it.
    """
    registry = registry_of(target)
    if registry is None:
        return False
    from perdure.hosts.engine import find_engine
    from perdure.images.build import ensure_image
    from perdure.images.ship import ship
    from perdure.images.ship_destination import Destination, Kind
    from perdure.targets import pushed

    project, settings = workspace.project, workspace.settings
    image = ensure_image(project, settings, Stage.RUNTIME, variant=variant, report=report)
    to = Destination(Kind.REGISTRY, registry)
    sent = ship(find_engine(settings), image.tag, to, settings=settings, report=report)
    # A port has a colon, too: the tag's is behind the last slash.
    folder, slash, name = sent.called.rpartition("/")
    named = f"{folder}{slash}{name.partition(':')[0]}@{sent.digest}"
    pushed.write(project.state, registry, named)
    return True


def ensure_image_on(
    host: Host,
    workspace: Workspace,
    stage: Stage,
    *,
    variant: str | None = None,
    code: Path | None = None,
    report: Report,
) -> Image:
    """Return an image of the project on the engine of a host, built or shipped if need be.

    For machines that are lent it is built here.

    Raises:
        EnvironmentFailed: it cannot be had.
    """
    project, settings = workspace.project, workspace.settings
    if _is_built_here(host):
        from perdure.images.build import ensure_image

        return ensure_image(project, settings, stage, variant=variant, code=code, report=report)
    from perdure.images.elsewhere import There, ensure_image_there

    wanted = settings.targets.get(host.name)
    how = None if wanted is None else wanted.images
    there = There(host.name, settings_on(host, settings), settings, how)
    return ensure_image_there(project, there, stage, variant=variant, code=code, report=report)


def settings_on(host: Host, settings: Settings) -> Settings:
    """Return the settings with which the engine of a host is used; may ask the host.

    Raises:
        EngineUnreachable: it has none for this user.
        HostUnreachable: it does not answer.
    """
    if _is_built_here(host):
        return settings
    from perdure.hosts.engine_there import engine_there, settings_there

    return settings_there(settings, engine_there(host))


def planned_image(
    workspace: Workspace, target: Target, variant: str | None, tree: Tree | None = None
) -> EnvironmentUsed:
    """Return the image that `image_for` would give, by its tag; builds nothing.

    `tree` is the code that is to be in it, None where it is not.

    Raises:
        EnvironmentFailed: nothing is locked yet.
    """
    own = _own_image(workspace, target, variant, pegged=tree is not None)
    if own is not None:
        return own
    from perdure.environments.lock import lock_digest
    from perdure.environments.sync import choose_variant
    from perdure.images.build import planned_image as plan_image
    from perdure.images.context import listed_files
    from perdure.images.user import choose_user

    project = workspace.project
    settings = settings_on(_builder(target), workspace.settings)
    entries = {} if tree is None else tree.entries
    listed = listed_files((path, f"{each.kind}:{each.content}") for path, each in entries.items())
    code = None if tree is None else listed
    tag = plan_image(project, settings, Stage.RUNTIME, variant=variant, code=code)[0]
    user = choose_user(project, settings)
    image = ImageUsed(tag, "", user.user_id, user.group_id, pegged=code is not None)
    chosen = choose_variant(project, settings, variant)
    return EnvironmentUsed(lock_digest(project), chosen, "", None, image)


def restore_image(
    workspace: Workspace, target: Target, record: JobRecord, report: Report
) -> EnvironmentUsed:
    """Return the image of a recorded job, built again from the same lock if its engine has lost it.

    One for machines that are lent is in their bucket then, one for a Slurm where its nodes see it.

    Raises:
        EnvironmentFailed: it is gone, and the lock is another one now.
    """
    if image_of(target) is not None:
        return record.environment
    image = record.environment.image
    assert image is not None  # what the caller asked
    if image.id and _is_brought(target, image):
        return record.environment
    with _advised(target):
        used = _found_or_built(workspace, target, record, report)
    assert used.image is not None  # as it was recorded
    _bring(workspace, target, used.image, report)
    return used


def _is_brought(target: Target, image: ImageUsed) -> bool:
    """Return whether an image is where no engine is asked for it: in a bucket, on a file system."""
    if _is_lent(target.place.host):
        from perdure.targets import cloud_image
        from perdure.targets.cloud import Cloud

        assert isinstance(target, Cloud)  # nobody else has such a host
        return cloud_image.is_there(target.bucket(), target.address, image)
    if _is_squashed(target):
        from perdure.targets import squashed

        return squashed.is_there(target.place, image)
    return False


def _bring(workspace: Workspace, target: Target, image: ImageUsed, report: Report) -> None:
    """Have an image of this machine's engine where the target's jobs take it from."""
    settings = workspace.settings
    if _is_squashed(target):
        from perdure.targets import squashed

        squashed.bring(target.place, image, settings, report)
    elif _is_lent(target.place.host):
        from perdure.targets import cloud_image
        from perdure.targets.cloud import Cloud

        assert isinstance(target, Cloud)  # as above
        with _advised(target):
            moved = cloud_image.bring(target.bucket(), target.address, image, settings, report)
        report(f"the image is in the bucket: {moved.sent_layers} layers sent")


def image_there(
    workspace: Workspace, target: Target, record: JobRecord, report: Report
) -> EnvironmentUsed:
    """Return the image of a recorded job as another target has it: that one, or of the same lock.

    Raises:
        UsageError: the image there is another one.
        EnvironmentFailed: it cannot be had there.
    """
    own, used = image_of(target), record.environment
    if own is None:
        return restore_image(workspace, target, record, report)
    assert used.image is not None  # what the caller asked
    # What was just pushed to a registry is of the job's lock.
    if registry_of(target) is None and not _is_same(workspace, own, used.image):
        raise UsageError(
            f"`{target.name}` runs jobs in `{own.tag}`, and `{record.job}` runs in "
            f"`{used.image.tag}`: nobody can say that they are one",
            hint=f"`registry` in place of `image` in `[targets.{target.name}]`: then the job's "
            "own image is pushed there",
        )
    return replace(used, image=own)


def _is_same(workspace: Workspace, own: ImageUsed, other: ImageUsed) -> bool:
    """Return whether two names are one image's: by themselves, or by this machine's engine."""
    if own.tag == other.tag:
        return True
    from perdure.hosts.engine import find_engine

    try:
        found = find_engine(workspace.settings).inspect_image(own.tag)
    except EnvironmentFailed:
        return False
    return found is not None and bool(other.id) and found.id == other.id


def _found_or_built(
    workspace: Workspace, target: Target, record: JobRecord, report: Report
) -> EnvironmentUsed:
    from perdure.hosts.engine import find_engine
    from perdure.jobs.snapshot import snapshot_folder

    used = record.environment
    assert used.image is not None  # what the caller asked
    engine = find_engine(settings_on(_builder(target), workspace.settings))
    found = engine.inspect_image(used.image.reference)
    if found is not None:
        return replace(used, image=replace(used.image, id=used.image.id or found.id))
    project = workspace.project
    _require_lock(workspace, record, target.name)
    report(f"the image of `{record.job}` is gone; building it again from its lock")
    snapshot = record.code.snapshot if used.image.pegged else None
    code = None if snapshot is None else snapshot_folder(project, snapshot)
    again = image_for(workspace, target, used.variant, report, code=code)
    # One that comes from a registry has another name there, and no id here.
    if used.image.id and again.image is not None and again.image.tag != used.image.tag:
        report(f"warning: it is built otherwise now: `{again.image.tag}`")
    return replace(again, python=used.python)


def _require_lock(workspace: Workspace, record: JobRecord, name: str) -> None:
    """Return if the image that the engine of a target lacks can be made again from its lock."""
    from perdure.environments.lock import lock_digest

    used = record.environment
    assert used.image is not None  # what the caller asked
    if used.lock is None:
        raise EnvironmentFailed(
            f"`{record.job}` runs in an image of your own, `{used.image.tag}`, which the engine of "
            f"`{name}` has not",
            hint=f"docker pull {used.image.tag}",
        )
    if lock_digest(workspace.project) != used.lock:
        commit = record.code.commit
        raise EnvironmentFailed(
            f"the image of `{record.job}` is gone (`{used.image.tag}`), and the lock has changed "
            "since it was built",
            hint=f"git checkout {commit}, then perdure build" if commit else "perdure run",
        )


@contextlib.contextmanager
def _advised(target: Target) -> Iterator[None]:
    """Have the error that there is no engine here say what jobs elsewhere do without one."""
    if not (_is_lent(target.place.host) or _is_squashed(target)):
        yield
        return
    from perdure.targets.cloud_image import made_here

    with made_here(target.name):
        yield


def _require_maker(workspace: Workspace, target: Target) -> None:
    """Return if a file can be made of an image here, for a target that takes it from one."""
    if not _is_squashed(target):
        return
    from perdure.hosts.engine import find_engine
    from perdure.images.squashfs import find_program

    with _advised(target):
        find_engine(workspace.settings)
    find_program()


def _builder(target: Target) -> Host:
    """Return the host whose engine has a target's images: the nodes of a Slurm have none."""
    if _is_squashed(target):
        from perdure.hosts.here import HERE

        return HERE
    return target.place.host


def _is_squashed(target: Target) -> bool:
    """Return whether a target's jobs take their image from a file: Apptainer on a Slurm's nodes."""
    from perdure.targets.cluster import is_slurm

    return is_slurm(target)


def _is_built_here(host: Host) -> bool:
    """Return whether images for a host are built by this machine's engine."""
    return host.is_here or _is_lent(host)


def _is_lent(host: Host) -> bool:
    if host.is_here:
        return False
    from perdure.targets.bucket_host import BucketHost

    return isinstance(host, BucketHost)


def _own_image(
    workspace: Workspace, target: Target, variant: str | None, *, pegged: bool
) -> EnvironmentUsed | None:
    """Return the environment of a target whose image is the user's own, None where it is not.

    One that was pushed to a registry is the project's: of its lock.

    Raises:
        UsageError: something is asked for that the image would have to be built for.
    """
    image = image_of(target)
    if image is None:
        return None
    built = registry_of(target) is not None
    asked = "--pegged" if pegged else "--variant" if variant is not None and not built else None
    if asked is not None:
        raise UsageError(
            f"`{target.name}` runs jobs in an image of your own, `{image.tag}`: {asked} is for "
            "those that perdure builds",
            hint=f"leave out {asked}",
        )
    if not built:
        return EnvironmentUsed(None, None, "", None, image)
    from perdure.environments.lock import lock_digest
    from perdure.environments.sync import choose_variant

    chosen = choose_variant(workspace.project, workspace.settings, variant)
    return EnvironmentUsed(lock_digest(workspace.project), chosen, "", None, image)


def _used(image: Image) -> ImageUsed:
    user = image.user
    return ImageUsed(image.tag, image.id, user.user_id, user.group_id, image.pegged)
