"""What of a cloud no job has a use for: groups, templates and machines by their tags."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.clouds.provider import Provider
from perdure.clouds.side import standing
from perdure.clouds.side.bucket import Bucket


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something in a cloud that no job wants: its kind, its name, whose it was."""

    kind: str
    name: str
    job: str


def find(provider: Provider, bucket: Bucket | None, folder: str) -> list[Leftover]:
    """Return what a project's folder has in the cloud beyond what its jobs want.

    None: the bucket is gone, and with it all that a job could want. Asks the provider and the
    bucket.
    """
    groups = {name: job for name, (job, _) in provider.groups(folder).items()}
    templates, machines = provider.templates(folder), provider.machines(folder)
    jobs = {*groups.values(), *templates.values(), *machines.values()}
    stands = {} if bucket is None else {job: standing.wanted(bucket, job) for job in sorted(jobs)}
    kept = {provider.name(folder, job, each.turn) for job, each in stands.items() if each.wanted}
    running = {job for job, each in stands.items() if each.wanted}
    found = [Leftover("group", name, job) for name, job in groups.items() if name not in kept]
    found += [
        Leftover("template", name, job) for name, job in templates.items() if name not in kept
    ]
    # Which group a machine is in is not told; those of a job that goes on are its own.
    found += [
        Leftover("machine", name, job) for name, job in machines.items() if job not in running
    ]
    return found


def end(provider: Provider, found: list[Leftover]) -> None:
    """End and delete what was found. Asks the provider."""
    for name in sorted({each.name for each in found if each.kind != "machine"}):
        provider.forget(name)
    provider.end_machines([each.name for each in found if each.kind == "machine"])
