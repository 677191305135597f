"""Where a project lies on another host, and the names that such a host gives."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NamedTuple

from perdure.errors import StorageError

CLOUDS = ("aws", "gcp", "azure", "sky")


class Station(NamedTuple):
    """A project on a host: its folder there, and the engine that runs its jobs.

    Of one in a cloud, `destination` is its folder in a bucket, and the engine such as
    `aws:eu-central-1`.

    Not a dataclass: those take eight times as long to make, at each `perdure ps`.
    """

    destination: str
    root: str
    engine: str


def is_cloud(station: Station) -> bool:
    """Return whether a station is a folder of a bucket, by its engine. Pure."""
    return station.engine.partition(":")[0] in CLOUDS


def inside(name: str) -> PurePosixPath:
    """Return a name that another host gave, if it stays below the folder it is for.

    Raises:
        StorageError: it does not.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
        raise StorageError(f"the host names a file outside of the run folder: `{name}`")
    return path
