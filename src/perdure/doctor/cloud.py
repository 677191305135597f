"""What is found of a cloud: engine, credentials, clock, bucket, machines, permissions, quota."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from perdure.doctor import container
from perdure.doctor.finding import Finding, fine, problem, warning
from perdure.doctor.surroundings import Surroundings, look_at_engine
from perdure.errors import PerdureError
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings
from perdure.moving.bucket import asking
from perdure.targets.cloud_image import made_here_hint

if TYPE_CHECKING:
    from perdure.targets.cloud import Cloud

# "Signature Version 4": a request is refused where it is five minutes off; S3 allows fifteen.
_CLOCK_S = 240.0


def examine_cloud(
    name: str, project: Project, settings: Settings, *, report: Report = silent
) -> tuple[Finding, ...]:
    """Return what is found of a target's cloud, the first problem last where nothing else matters.

    Asks this machine's engine, if jobs there run in an image, the provider and the bucket; leaves
    nothing there.
    """
    from perdure.targets.cloud import open_cloud

    cloud = open_cloud(project, settings, name)
    report("looking for the container engine of this machine")
    found: list[Finding] = list(_engine(cloud, settings))
    for what, examine in _PARTS.items():
        report(f"looking at {what} of `{name}`")
        try:
            found += examine(cloud)
        except PerdureError as error:
            found.append(problem(what, error.message, error.hint or error.usual_hint))
            if what in ("credentials", "bucket"):
                break  # what follows would only say the same
    return tuple(found)


def _engine(cloud: Cloud, settings: Settings) -> Iterator[Finding]:
    """Yield whether this machine can build the image that jobs there run in. Asks its engine."""
    if not cloud.in_image:
        yield fine("engine", "none is needed: jobs run on the machine itself, in no image")
        return
    seen = look_at_engine(settings, os.environ)
    root = cloud.project.root
    around = Surroundings(root, dict(os.environ), cloud.project, settings, seen=seen)
    for each in (*container.engine(around), *container.building(around)):
        # Without one there is no image: elsewhere that is a warning.
        lacking = seen.version is None
        yield problem(each.name, each.seen, made_here_hint(cloud.name)) if lacking else each


def _credentials(cloud: Cloud) -> Iterator[Finding]:
    yield fine("credentials", cloud.provider.identity())


def _bucket(cloud: Cloud) -> Iterator[Finding]:
    bucket = cloud.bucket()
    with asking(cloud.address, "write"):
        # Written, read, listed and deleted: all that a machine does to it.
        now = bucket.now("scratch")
        bucket.names("scratch")
    yield fine("bucket", str(cloud.address))
    off_s = (dt.datetime.now(dt.UTC) - now).total_seconds()
    if abs(off_s) > _CLOCK_S:
        seen = f"this machine's is {abs(off_s):.0f} s {'ahead' if off_s > 0 else 'behind'}"
        yield warning("clock", seen, "timedatectl set-ntp true")
    else:
        yield fine("clock", "as the bucket's")


def _provider(cloud: Cloud) -> Iterator[Finding]:
    for each in cloud.provider.examine(str(cloud.address)):
        if each.verdict == "problem":
            yield problem(each.name, each.told, each.remedy)
        elif each.verdict == "warning":
            yield warning(each.name, each.told, each.remedy)
        else:
            yield fine(each.name, each.told)


_PARTS: dict[str, Callable[[Cloud], Iterator[Finding]]] = {
    "credentials": _credentials,
    "bucket": _bucket,
    "machines": _provider,
}
