"""The user's own files of a run folder in a bucket: those that changed, and back."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket
from perdure.runtime import names

_WORKERS = 8
_Stamp = tuple[int, int]


@dataclass(slots=True)
class Outputs:
    """What a job has written to `outputs/`: `known` is what the bucket has, by size and time."""

    bucket: Bucket
    job: str
    run_dir: Path
    known: dict[str, _Stamp] = field(default_factory=dict)

    def send(self) -> int:
        """Return how many files were sent: those that changed. Touches the network.

        Those that are gone here are deleted, last: one that got another name is there by that.
        """
        found = self._found()
        changed = [name for name, stamp in found.items() if self.known.get(name) != stamp]
        with ThreadPoolExecutor(_WORKERS) as pool:
            for name, is_sent in zip(changed, pool.map(self._send, changed), strict=True):
                if is_sent:
                    self.known[name] = found[name]
        gone = [name for name in self.known if name not in found]
        self.bucket.delete(map(self._key, gone))
        for name in gone:
            del self.known[name]
        return len(changed)

    def bring(self) -> None:
        """Bring what is in the bucket into the run folder. Touches network and disk."""
        prefix = keys.job(self.job, keys.OUTPUTS)
        wanted = list(self.bucket.names(prefix))
        with ThreadPoolExecutor(_WORKERS) as pool:
            list(pool.map(self._bring, wanted))
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
                if not file.is_symlink():
                    name = file.relative_to(base).as_posix()
                    found[name] = (stamp.st_size, stamp.st_mtime_ns)
        return found

    def _send(self, name: str) -> bool:
        try:
            data = (self.run_dir / names.OUTPUTS / name).read_bytes()
        except OSError:
            return False
        self.bucket.put(self._key(name), data)
        return True

    def _key(self, name: str) -> str:
        return keys.job(self.job, f"{keys.OUTPUTS}/{_encoded(name)}")

    def _bring(self, key: str) -> None:
        found = self.bucket.get(key)
        encoded = key.removeprefix(keys.job(self.job, f"{keys.OUTPUTS}/"))
        path = self.run_dir / names.OUTPUTS / _decoded(encoded)
        if found is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found.data)


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
