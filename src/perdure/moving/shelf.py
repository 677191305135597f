"""One word's folder in a bucket: its objects, its manifest and the marks that say which counts."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perdure.errors import ConflictError, StorageError
from perdure.moving.address import Address
from perdure.moving.bucket import asking, is_missing, open_bucket
from perdure.moving.manifest import (
    COMMITTED,
    OURS,
    PUSHING,
    Manifest,
    check_format,
    decode,
    encode,
    key_of,
)
from perdure.runtime import names

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ObjectStore

_MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Mark:
    """What `committed.json` or `pushing.json` says: a manifest's name, None for none.

    `touched` are the files of that manifest that a push may have replaced. `tag` and
    `version` are the provider's names for what this mark holds: some compare one, some the other.
    """

    manifest: str | None
    touched: tuple[str, ...] = ()
    tag: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Object:
    """An object of a bucket: its bytes, and the provider's name for its contents."""

    size: int
    tag: str | None


@dataclass(frozen=True, slots=True)
class Shelf:
    """A word's folder in a bucket that is open."""

    address: Address
    store: ObjectStore
    word: str

    @property
    def where(self) -> str:
        """Return its address in words."""
        return f"{self.address}/{self.word}"

    def committed(self) -> Mark | None:
        """Return what counts, None where nothing does. Asks over the network."""
        return self._mark(COMMITTED)

    def pushing(self) -> Mark | None:
        """Return what a push that has not ended left. Asks over the network."""
        return self._mark(PUSHING)

    def manifest(self, mark: Mark | None) -> Manifest:
        """Return the manifest that a mark names, an empty one for none.

        Raises:
            StorageError: it is gone or cannot be read.
        """
        if mark is None or mark.manifest is None:
            return Manifest()
        raw = self.read(f"{OURS}/{mark.manifest}")
        if raw is None:
            raise StorageError(f"the manifest of `{self.where}` is gone")
        return decode(raw, self.where)

    def begin(self, manifest: str | None, touched: Iterable[str]) -> None:
        """Note that a push begins, before it changes anything."""
        content = {"format": names.FORMAT, "manifest": manifest, "touched": sorted(touched)}
        self.write(PUSHING, json.dumps(content).encode())

    def uncommit(self) -> None:
        """Have nothing count: what did is about to be replaced."""
        self.delete([f"{self.word}/{COMMITTED}"])

    def commit(self, manifest: Manifest, before: Mark | None, old: str | None) -> None:
        """Have a manifest count, if what counted `before` still does; the `old` one is deleted.

        Raises:
            ConflictError: somebody else pushed meanwhile.
        """
        name = f"manifest-{uuid.uuid4().hex}.json.gz"
        self.write(f"{OURS}/{name}", encode(manifest))
        content = {
            "format": names.FORMAT,
            "manifest": name,
            "files": len(manifest.files),
            "bytes": manifest.bytes,
        }
        self._put_if(COMMITTED, json.dumps(content).encode(), before)
        gone = [PUSHING, *([f"{OURS}/{old}"] if old else [])]
        self.delete(f"{self.word}/{each}" for each in gone)

    def read(self, name: str) -> bytes | None:
        """Return an object of the word's folder, None where there is none."""
        import obstore

        with asking(self.address, "read"):
            try:
                return bytes(obstore.get(self.store, f"{self.word}/{name}").bytes())
            except FileNotFoundError as error:
                if not is_missing(error):
                    raise
                return None

    def write(self, name: str, data: bytes) -> None:
        """Write an object of the word's folder, whole or not at all."""
        import obstore

        with asking(self.address, "write"):
            obstore.put(self.store, f"{self.word}/{name}", data)

    def objects(self) -> dict[str, Object]:
        """Return all objects of the word's folder, by their whole names."""
        import obstore

        with asking(self.address, "list"):
            return {
                each["path"]: Object(each["size"], each["e_tag"])
                for batch in obstore.list(self.store, prefix=self.word)
                for each in batch
            }

    def keep(self, path: str, folder: str) -> None:
        """Copy what a file holds now to where displaced contents are kept."""
        import obstore

        kept = key_of(self.word, path).removeprefix(f"{self.word}/")
        with asking(self.address, "write"), contextlib.suppress(FileNotFoundError):
            obstore.copy(self.store, key_of(self.word, path), f"{self.word}/{folder}/{kept}")

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; none there is right too."""
        import obstore

        waiting = list(keys)
        with asking(self.address, "delete"):
            for start in range(0, len(waiting), _MOST_AT_ONCE):
                batch = waiting[start : start + _MOST_AT_ONCE]
                try:
                    obstore.delete(self.store, batch)
                except FileNotFoundError:
                    # A folder of this machine says so where buckets do not.
                    for key in batch:
                        with contextlib.suppress(FileNotFoundError):
                            obstore.delete(self.store, key)

    def _mark(self, name: str) -> Mark | None:
        import obstore

        with asking(self.address, "read"):
            try:
                found = obstore.get(self.store, f"{self.word}/{name}")
                meta, raw = found.meta, bytes(found.bytes())
            except FileNotFoundError as error:
                if not is_missing(error):
                    raise
                return None
        try:
            content = json.loads(raw)
            check_format(content, self.where)
            touched = tuple(content.get("touched", ()))
            return Mark(content["manifest"], touched, meta["e_tag"], meta["version"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"`{name}` of `{self.where}` cannot be read") from error

    def _put_if(self, name: str, data: bytes, before: Mark | None) -> None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        key = f"{self.word}/{name}"
        with asking(self.address, "write"):
            try:
                if before is None:
                    obstore.put(self.store, key, data, mode="create")
                else:
                    obstore.put(self.store, key, data, mode=_named(before))
            except NotImplementedError:
                # A folder of this machine cannot compare; the lock of `alone` does for one user.
                obstore.put(self.store, key, data)
            except (AlreadyExistsError, PreconditionError):
                raise ConflictError(
                    f"somebody else pushed to `{self.where}` meanwhile",
                    hint=f"perdure pull {self.word} --on {self.address}, and push again",
                ) from None


def _named(mark: Mark) -> UpdateVersion:
    """Return how a provider knows a mark again: Google by its version, others by its tag."""
    known: UpdateVersion = {}
    if mark.tag:
        known["e_tag"] = mark.tag
    if mark.version:
        known["version"] = mark.version
    return known


def open_shelf(address: Address, word: str, *, make: bool) -> Shelf:
    """Return a word's folder in a bucket. See `open_bucket`."""
    return Shelf(address, open_bucket(address, make=make), word)
