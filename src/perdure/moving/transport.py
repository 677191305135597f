"""Files between a folder here and a staging folder there, by what both sides have."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from perdure.hosts.progress import Progress
from perdure.moving import rsync, tar
from perdure.moving.entry import Entry
from perdure.moving.errand import Errand
from perdure.moving.far import Place, list_folder
from perdure.moving.streams import share_out
from perdure.moving.walk import entry_at


def to_there(errand: Errand, place: Place, files: Mapping[str, Entry], progress: Progress) -> int:
    """Return the bytes that were sent into the staging folder there.

    Raises:
        HostUnreachable, StorageError, TimeoutExpired: as rsync and tar do.
    """
    near = errand.selection.near
    if place.has_rsync and rsync.is_here():
        return _by_rsync(errand, place, near, files, progress)
    staged = list_folder(place, place.staging).entries
    missing = {
        path: entry
        for path, entry in files.items()
        if path not in staged or not tar.is_whole(staged[path].stamp, entry)
    }
    return tar.push(place, near, missing, lambda count: progress.at("tar", count))


def to_here(errand: Errand, place: Place, files: Mapping[str, Entry], progress: Progress) -> int:
    """Return the bytes that came into the staging folder here.

    Raises:
        HostUnreachable, StorageError, TimeoutExpired: as rsync and tar do.
    """
    if place.has_rsync and rsync.is_here():
        return _by_rsync(errand, place, errand.staging, files, progress)
    missing = {
        path: entry
        for path, entry in files.items()
        if (found := entry_at(errand.staging / path)) is None
        or not tar.is_whole(found.stamp, entry)
    }
    return tar.pull(place, errand.staging, missing, lambda count: progress.at("tar", count))


def _by_rsync(
    errand: Errand, place: Place, near: Path, files: Mapping[str, Entry], progress: Progress
) -> int:
    shares = share_out(files)
    far = place.staging if errand.pushing else place.folder
    with _lists(errand, shares) as lists:
        streams = [rsync.Stream(each, near, far, errand.pushing) for each in lists]

        running = rsync.Running()

        def send(number: int) -> int:
            tell: Callable[[int], None] = lambda count: progress.at(number, count)  # noqa: E731
            return rsync.run(place.host, streams[number], tell, running).bytes

        with ThreadPoolExecutor(len(streams)) as pool:
            try:
                return sum(pool.map(send, range(len(streams))))
            except BaseException:
                # Ctrl-C, or another stream that broke off: nobody waits for the rest.
                running.end()
                raise


@contextlib.contextmanager
def _lists(errand: Errand, shares: list[list[str]]) -> Iterator[list[Path]]:
    name = errand.known.stem
    lists = [errand.state / f"{name}-{number}.list" for number in range(len(shares))]
    try:
        for file, paths in zip(lists, shares, strict=True):
            rsync.write_list(file, paths)
        yield lists
    finally:
        for file in lists:
            file.unlink(missing_ok=True)
