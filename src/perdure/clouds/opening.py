"""A bucket opened for jobs: with the provider's usual credentials, as `push` and `pull` have it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from perdure.clouds.side.bucket import Bucket
from perdure.moving.address import Address
from perdure.moving.bucket import Reaching, open_bucket

# The time to live of a lease must outlast a put that fails, and the next one.
_FOR_LEASE = Reaching(connect_s=3, answer_s=5, retry_s=5, retries=2)


def open_folder(address: Address, where: str = "", *, is_own: bool = False) -> Bucket:
    """Return a folder of a bucket. Raises as `open_bucket`; asks nobody over the network yet.

    `where` is the region, and behind a slash the storage account where the provider has such.
    `is_own`: this machine is one of the provider's, and asks as itself.
    """
    return _opened(address, _reaching(Reaching(is_own=is_own), where))


def open_for_lease(address: Address, where: str = "", *, is_own: bool = False) -> Bucket:
    """Return the same, for what is worthless when it comes late."""
    return _opened(address, _reaching(replace(_FOR_LEASE, is_own=is_own), where))


def _reaching(usual: Reaching, where: str) -> Reaching:
    region, _, account = where.partition("/")
    return replace(usual, region=region or None, account=account or None)


def _opened(address: Address, reaching: Reaching) -> Bucket:
    store = open_bucket(address, make=True, reaching=reaching)
    return Bucket(store, Path(address.folder) if address.provider == "file" else None)
