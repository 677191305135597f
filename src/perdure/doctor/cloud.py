"""What is found of a cloud: credentials, clock, bucket, machines, permissions, quota."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from perdure.doctor.finding import Finding, fine, problem, warning
from perdure.errors import PerdureError
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings
from perdure.moving.bucket import asking

if TYPE_CHECKING:
    from perdure.targets.cloud import Cloud

# "Signature Version 4": a request is refused where it is five minutes off; S3 allows fifteen.
_CLOCK_S = 240.0


def examine_cloud(
    name: str, project: Project, settings: Settings, *, report: Report = silent
) -> tuple[Finding, ...]:
    """Return what is found of a target's cloud, the first problem last where nothing else matters.

    Asks the provider and the bucket; leaves nothing there.
    """
    from perdure.targets.cloud import open_cloud

    cloud = open_cloud(project, settings, name)
    found: list[Finding] = []
    for what, examine in _PARTS.items():
        report(f"looking at {what} of `{name}`")
        try:
            found += examine(cloud)
        except PerdureError as error:
            found.append(problem(what, error.message, error.hint or error.usual_hint))
            if what in ("credentials", "bucket"):
                break  # what follows would only say the same
    return tuple(found)


def _credentials(cloud: Cloud) -> Iterator[Finding]:
    yield fine("credentials", cloud.account.identity())


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


def _machines(cloud: Cloud) -> Iterator[Finding]:
    has = cloud.account.gpus(cloud.wanted.types)
    told = (f"{name} ({count} GPUs)" if count else name for name, count in has.items())
    yield fine("machines", ", ".join(told))
    image = cloud.account.image(cloud.image(gpus=any(has.values())))
    subnets = cloud.wanted.subnets or cloud.account.subnets()
    yield fine("image", f"{image}, in {len(subnets)} subnets")


def _permissions(cloud: Cloud) -> Iterator[Finding]:
    wanted, account = cloud.wanted, cloud.account
    machine = wanted.types[0]
    image = account.image(cloud.image(gpus=bool(account.gpus((machine,))[machine])))
    denied = account.denied(machine, image, wanted.profile, str(cloud.address))
    remedy = f"perdure cloud setup {cloud.name} --explain"
    for permission, why in denied.items():
        if why:
            yield problem(permission, why, remedy)
        else:
            yield fine(permission, "allowed")


def _quota(cloud: Cloud) -> Iterator[Finding]:
    for what, cores in cloud.account.quotas(cloud.wanted.types, cloud.wanted.market).items():
        if cores is None:
            yield warning("quota", f"{what}: not told", "the provider's console: Service Quotas")
        elif cores == 0:
            yield problem("quota", f"{what}: 0 cores", "ask for more: Service Quotas, EC2")
        else:
            yield fine("quota", f"{what}: {cores:g} cores")


_PARTS: dict[str, Callable[[Cloud], Iterator[Finding]]] = {
    "credentials": _credentials,
    "bucket": _bucket,
    "machines": _machines,
    "permissions": _permissions,
    "quota": _quota,
}
