"""Bucket, role and instance profile: made once before the first job, or deleted again."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.clouds import aws_iam
from perdure.clouds.aws_account import Account
from perdure.clouds.aws_requests import Values
from perdure.model.settings import CloudSettings
from perdure.moving.address import parse_address

Calls = tuple[tuple[str, str, Values], ...]


def setup_calls(wanted: CloudSettings) -> Calls:
    """Return the calls that make them. Pure."""
    return aws_iam.setup_calls(parse_address(wanted.bucket), wanted.region, wanted.profile)


def teardown_calls(wanted: CloudSettings) -> Calls:
    """Return the calls that undo it, but for the bucket: jobs are in it. Pure."""
    return aws_iam.teardown_calls(wanted.profile)


def set_up(account: Account, wanted: CloudSettings) -> Iterator[str]:
    """Yield what was made, and what was there already. Asks AWS."""
    for service, operation, values in setup_calls(wanted):
        made = account.make(service, operation, values)
        yield f"{operation}: {'done' if made else 'was there already'}"


def tear_down(account: Account, wanted: CloudSettings) -> Iterator[str]:
    """Yield what was deleted, and what was not there. Asks AWS."""
    for service, operation, values in teardown_calls(wanted):
        done = account.unmake(service, operation, values)
        yield f"{operation}: {'done' if done else 'there was none'}"
