"""The user's own files of a run folder in a bucket: those that changed, and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from perdure.clouds.side import keys
from perdure.clouds.side.bucket import PART_BYTES, Bucket, Taken
from perdure.moving.bucket import is_missing
from perdure.runtime import names

_WORKERS = 8
_TRIES = 3
_Stamp = tuple[int, int]


def _nobody(text: str) -> None:  # noqa: ARG001 - who is told
    return None


@dataclass(slots=True)
class Outputs:
    """What a job has written to `outputs/`: `known` is what the bucket has, by size and time.

    `warn` is told of each file whose name no bucket takes: it stays behind.
    """

    bucket: Bucket
    job: str
    run_dir: Path
    warn: Callable[[str], None] = _nobody
    known: dict[str, _Stamp] = field(default_factory=dict)
    _left: set[str] = field(default_factory=set)

    def send(self) -> int:
        """Return how many files were sent: those that changed. Touches the network.

        Those that are gone here are deleted, last: one that got another name is there by that.
        """
        found = self._found()
        changed = [name for name, stamp in found.items() if self.known.get(name) != stamp]
        large = {name for name in changed if found[name][0] > PART_BYTES}
        with ThreadPoolExecutor(_WORKERS) as pool:
            self._send_all([name for name in changed if name not in large], found, pool.map)
        # One after the other: of each several parts are on their way at once.
        self._send_all(sorted(large), found, map)
        gone = [name for name in self.known if name not in found]
        self.bucket.delete(map(self._key, gone))
        for name in gone:
            del self.known[name]
        return len(changed)

    def bring(self) -> None:
        """Bring what is in the bucket into the run folder. Touches network and disk."""
        prefix = keys.job(self.job, keys.OUTPUTS)
        wanted = self.bucket.names(prefix)
        with ThreadPoolExecutor(_WORKERS) as pool:
            list(pool.map(self._bring, wanted, wanted.values()))
        self.known = self._found()

    def recall(self) -> None:
        """Know by name what the bucket has: then all is sent that is here, and the rest deleted."""
        prefix = keys.job(self.job, f"{keys.OUTPUTS}/")
        there = self.bucket.names(prefix.rstrip("/"))
        self.known = {_decoded(each.removeprefix(prefix)): (-1, -1) for each in there}

    def _found(self) -> dict[str, _Stamp]:
        base = self.run_dir / names.OUTPUTS
        found = {}
        for path, _, files in os.walk(base):
            for each in files:
                file = Path(path, each)
                try:
                    stamp = file.lstat()
                except OSError:
                    continue
                name = file.relative_to(base).as_posix()
                if not file.is_symlink() and self._is_kept(name):
                    found[name] = (stamp.st_size, stamp.st_mtime_ns)
        return found

    def _is_kept(self, name: str) -> bool:
        if self.bucket.takes(self._key(name)):
            return True
        if name not in self._left:
            self._left.add(name)
            self.warn(f"an output stays behind: its name is too long for a bucket: {name!r}")
        return False

    def _send_all(
        self,
        wanted: list[str],
        found: dict[str, _Stamp],
        each: Callable[[Callable[[str, int], bool], list[str], list[int]], Iterable[bool]],
    ) -> None:
        sizes = [found[name][0] for name in wanted]
        for name, is_sent in zip(wanted, each(self._send, wanted, sizes), strict=True):
            if is_sent:
                self.known[name] = found[name]

    def _send(self, name: str, size: int) -> bool:
        try:
            file = (self.run_dir / names.OUTPUTS / name).open("rb")
        except OSError:
            return False
        with file:
            self.bucket.send(self._key(name), file, size)
        return True

    def _key(self, name: str) -> str:
        return keys.job(self.job, f"{keys.OUTPUTS}/{_encoded(name)}")

    def _bring(self, key: str, size: int) -> None:
        encoded = key.removeprefix(keys.job(self.job, f"{keys.OUTPUTS}/"))
        path = self.run_dir / names.OUTPUTS / _decoded(encoded)
        if size > PART_BYTES:
            self._bring_large(key, path)
        elif (found := self.bucket.get(key)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found.data)

    def _bring_large(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in reversed(range(_TRIES)):
            try:
                with path.open("wb") as file:
                    file.writelines(self.bucket.pieces(key))
            except FileNotFoundError as error:
                if not is_missing(error):
                    raise
                path.unlink()
            except Taken:
                if not left:
                    raise
                continue
            return


def _encoded(name: str) -> str:
    """Return a file's name as a bucket can keep it: hexadecimal but for what is plain. Pure."""
    plain = all(letter.isascii() and (letter.isalnum() or letter in "._-/") for letter in name)
    return f"p/{name}" if plain else f"x/{os.fsencode(name).hex()}"


def _decoded(encoded: str) -> str:
    kind, _, name = encoded.partition("/")
    found = name if kind == "p" else os.fsdecode(bytes.fromhex(name))
    if found.startswith("/") or ".." in found.split("/"):
        raise ValueError(f"an output leads out of its folder: {found!r}")
    return found
