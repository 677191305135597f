"""The other side, where it is a host: what is there, and what is done there.

All of it is POSIX sh with GNU find, so that a host needs neither a Python nor anything of ours.
What a script takes comes as words or on its input, never as a part of its text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from perdure.errors import HostUnreachable, PerdureError, StorageError, UsageError
from perdure.hosts import piped
from perdure.hosts.host import Host
from perdure.hosts.local import Completed
from perdure.moving import scripts
from perdure.moving.entry import Entry, Folder, Kind
from perdure.moving.selection import Selection

ANSWER_S = 120.0
# A folder of a million files on a slow disk.
LIST_S = 900.0
PUBLISH_S = 3600.0
# What ssh ends with where it failed itself.
_LOST = 255
_FULL = ("no space left", "disk quota exceeded")
_REFUSED = ("permission denied", "read-only file system", "operation not permitted")


@dataclass(frozen=True, slots=True)
class Far:
    """A host, and where the project lies there: `root`, absolute or beginning with `~/`."""

    host: Host
    root: str


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of the other side, as it was found: absolute paths there.

    `staging` lies on the disk of `folder`, where what is whole is moved into place by renaming.
    """

    host: Host
    root: str
    folder: str
    staging: str
    exists: bool
    is_link: bool
    free_bytes: int
    has_rsync: bool

    def run(
        self, script: str, *words: str, stdin: bytes = b"", timeout_s: float = ANSWER_S
    ) -> Completed:
        """Return how a script ended there.

        Raises:
            HostUnreachable: the host does not answer.
        """
        argv = ["sh", "-c", script, "sh", *words]
        return self.host.run(argv, timeout_s=timeout_s, stdin=stdin)

    def must(
        self, what: str, script: str, *words: str, stdin: bytes = b"", timeout_s: float = PUBLISH_S
    ) -> bytes:
        """Return what a script wrote there.

        Raises:
            StorageError: it failed; `what` was being done.
            HostUnreachable: the host does not answer.
        """
        done = self.run(script, *words, stdin=stdin, timeout_s=timeout_s)
        if done.returncode != 0:
            raise refusal(self.host.name, what, done.complaint or f"exit code {done.returncode}")
        return done.stdout


def look(far: Far, selection: Selection, *, make: bool) -> Place:
    """Return the other side's folder of a selection; `make` has it made where it is missing.

    Raises:
        StorageError: it cannot be made.
        HostUnreachable: the host does not answer.
    """
    words = (far.root, selection.below or ".", selection.word, "make" if make else "look")
    argv = ["sh", "-c", scripts.LOOK, "sh", *words]
    done = far.host.run(argv, timeout_s=ANSWER_S)
    if done.returncode != 0:
        raise refusal(far.host.name, f"`{far.root}` cannot be used", done.complaint)
    fields = [each.decode("utf-8", "surrogateescape") for each in done.stdout.split(b"\0")]
    root, folder, staging, found, link, free, rsync = fields[:7]
    return Place(
        far.host,
        root,
        folder,
        staging,
        exists=found == "yes",
        is_link=link == "yes",
        free_bytes=_free(free),
        has_rsync=is_recent(rsync),
    )


def list_there(place: Place, selection: Selection) -> Folder:
    """Return what the folder there holds.

    Raises:
        HostUnreachable: the host does not answer.
        UsageError: its `find` is none of GNU's.
    """
    if not place.exists:
        return Folder({})
    return list_folder(place, place.folder, selection.apart)


def list_folder(place: Place, folder: str, apart: Collection[str] = ()) -> Folder:
    """Return what a folder there holds, without the names at its top that are `apart`."""
    argv = ["sh", "-c", scripts.LIST, "sh", folder, *scripts.pruned(apart)]
    said = bytearray()
    with piped.reading(place.host.command(argv), stall_s=LIST_S) as process:
        while data := process.read():
            said += data
        done = process.finish(ANSWER_S)
    if done.returncode == scripts.MISSING:
        return Folder({})
    refused = dict(_unreadable(done.complaint))
    if done.returncode != 0 and not refused:
        _blame(place, done)
    return Folder(parse(bytes(said)), refused)


def parse(said: bytes) -> dict[str, Entry]:
    """Return the entries of what `find` printed: pairs of facts and path. Pure."""
    fields = said.decode("utf-8", "surrogateescape").split("\0")
    entries: dict[str, Entry] = {}
    for facts, path in zip(fields[0::2], fields[1::2], strict=False):
        kind, size, changed, mode, target = facts.split(" ", 4)
        if kind == "f":
            seconds, _, fraction = changed.partition(".")
            mtime_ns = int(seconds) * 10**9 + int(fraction[:9].ljust(9, "0"))
            entries[path] = Entry(Kind.FILE, int(size), mtime_ns, int(mode, 8) & 0o777)
        elif kind == "d":
            entries[path] = Entry(Kind.FOLDER, mode=int(mode, 8) & 0o777)
        elif kind == "l":
            entries[path] = Entry(Kind.LINK, target=target)
    return entries


def digests(place: Place, paths: Iterable[str]) -> Mapping[str, str]:
    """Return the SHA-256 of files there, of those that can be read."""
    done = place.run(scripts.DIGEST, place.folder, stdin=listed(paths), timeout_s=PUBLISH_S)
    found = {}
    for line in done.stdout.split(b"\0"):
        digest, _, path = line.decode("utf-8", "surrogateescape").partition("  ")
        if path:
            found[path.removeprefix("./")] = digest
    return found


def listed(paths: Iterable[str]) -> bytes:
    """Return paths as a script takes them on its input: none of them can be an option."""
    return b"".join(b"./%s\0" % path.encode("utf-8", "surrogateescape") for path in paths)


def refusal(name: str, what: str, said: str) -> PerdureError:
    """Return the error for what a host's disk refused, in its own words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line.lower() for word in (*_FULL, *_REFUSED))]
    last = (telling or lines[-1:] or [""])[0]
    hint = None
    if any(word in said.lower() for word in _FULL):
        hint = "free some space there, and say it again: it goes on where it stopped"
    elif any(word in said.lower() for word in _REFUSED):
        hint = f"ssh {name}, and look at who owns the folder"
    return StorageError(f"{what} on `{name}`: {last or 'it gives no reason'}", hint=hint)


def is_loss(done: Completed) -> bool:
    """Return whether ssh failed and not what it ran, or was killed."""
    return done.returncode == _LOST or done.returncode < 0


def loss(host: Host, said: str) -> HostUnreachable:
    """Return the error for a connection that broke off.

    Raises:
        HostUnreachable: the host cannot be reached at all, in ssh's own words.
    """
    host.run(["true"], timeout_s=ANSWER_S)
    first = next((line.strip() for line in said.splitlines() if line.strip()), "")
    return HostUnreachable(
        f"the connection to `{host.name}` was lost" + (f": {first}" if first else ""),
        hint="say it again: it goes on where it stopped",
    )


def _blame(place: Place, done: Completed) -> None:
    if is_loss(done):
        raise loss(place.host, done.complaint)
    if "-printf" in done.complaint or "unrecognized" in done.complaint:
        raise UsageError(
            f"the `find` of `{place.host.name}` cannot list files for us",
            hint="install GNU findutils there",
        )
    raise refusal(place.host.name, f"`{place.folder}` cannot be listed", done.complaint)


def _unreadable(said: str) -> Iterable[tuple[str, str]]:
    for line in said.splitlines():
        found = re.fullmatch(r"find: .(.*).: (Permission denied)", line)
        if found:
            yield found[1].removeprefix("./"), "cannot be read there: permission denied"


def _free(said: str) -> int:
    """Return the bytes that `df -Pk` calls available; what cannot be told counts as enough."""
    found = re.search(r"\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%", said)
    return int(found[3]) * 1024 if found else 1 << 62


def is_recent(said: str) -> bool:
    """Return whether `rsync --version` tells of one that keeps names and times whole: 3.1.3."""
    found = re.match(r"rsync\s+version v?(\d+)\.(\d+)\.(\d+)", said)
    return found is not None and tuple(map(int, found.groups())) >= (3, 1, 3)
