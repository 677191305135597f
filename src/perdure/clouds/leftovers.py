"""What of a cloud no job has a use for: groups, templates and machines by their tags."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.clouds.aws_account import Account
from perdure.clouds.aws_requests import group_name
from perdure.clouds.side import standing
from perdure.clouds.side.bucket import Bucket


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something in a cloud that no job wants: its kind, its name, whose it was."""

    kind: str
    name: str
    job: str


def find(account: Account, bucket: Bucket, folder: str) -> list[Leftover]:
    """Return what a project's folder has in the cloud beyond what its jobs want.

    Asks the provider and the bucket.
    """
    groups = {name: job for name, (job, _) in account.groups(folder).items()}
    templates, machines = account.templates(folder), account.machines(folder)
    jobs = {*groups.values(), *templates.values(), *machines.values()}
    wanted = {job: standing.wanted(bucket, job) for job in sorted(jobs)}
    kept = {group_name(folder, job, each.turn) for job, each in wanted.items() if each.wanted}
    running = {job for job, each in wanted.items() if each.wanted}
    found = [Leftover("group", name, job) for name, job in groups.items() if name not in kept]
    found += [
        Leftover("template", name, job) for name, job in templates.items() if name not in kept
    ]
    # Which group a machine is in is not told; those of a job that goes on are its own.
    found += [
        Leftover("machine", name, job) for name, job in machines.items() if job not in running
    ]
    return found


def end(account: Account, found: list[Leftover]) -> None:
    """End and delete what was found. Asks the provider."""
    for name in sorted({each.name for each in found if each.kind != "machine"}):
        account.forget(name)
    account.end_machines([each.name for each in found if each.kind == "machine"])
