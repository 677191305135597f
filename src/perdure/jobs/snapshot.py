"""The code of a job: the working tree by contents, stored once, shared between jobs, read-only.

Contents lie in `.perdure/objects`, named by their SHA-256; a snapshot is a folder of hard links to
them, named by the digest of all its names and contents. It is built aside and renamed, so that it
is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from perdure.errors import StorageError, UsageError
from perdure.jobs.listing import list_code
from perdure.model.code import SHARED
from perdure.model.project import Project
from perdure.model.report import Report

LARGEST_MIB = 50
_DIGEST_LENGTH = 32
_READ_TRIES = 5
_BLOCK = 1 << 20
# Every stored file has this time (1980-01-01, the earliest a zip knows): a link is shared by all
# snapshots that have its contents, and one that was written to shows another time.
STORED_AT = 315532800


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a snapshot: `-` plain, `x` executable, `l` a link; the digest of its contents.

    Of a link, `content` is where it points.
    """

    kind: str
    content: str


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of a snapshot by path, and the digest of all of it."""

    entries: Mapping[str, Entry]

    @property
    def digest(self) -> str:
        """Return what names these contents: equal trees, equal digests."""
        digest = hashlib.sha256()
        for path, entry in sorted(self.entries.items()):
            line = f"{path}\0{entry.kind}\0{entry.content}\n"
            digest.update(os.fsencode(line))
        return digest.hexdigest()[:_DIGEST_LENGTH]

    def to_json(self) -> str:
        """Return the tree as text; `from_json` reads it."""
        return json.dumps({p: [e.kind, e.content] for p, e in sorted(self.entries.items())})

    @staticmethod
    def from_json(text: str) -> Tree:
        """Return the tree that `to_json` wrote.

        Raises:
            ValueError: it is none.
        """
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("not a list of files")
        return Tree({str(path): Entry(str(kind), str(c)) for path, (kind, c) in content.items()})


def snapshot_folder(project: Project, digest: str) -> Path:
    """Return where the snapshot of that digest lies."""
    return project.state / "snapshots" / digest


def read_tree(project: Project, report: Report, *, store: bool) -> Tree:
    """Return the working tree by contents, stored in `.perdure/objects` if `store`.

    Not stored, files too large for code are left out instead of refused.
    A file that changes while it is read is read again, one that vanishes is left out, and so is,
    with a warning, a link that leads out of the project.

    Raises:
        UsageError: files too large for code.
        StorageError: a file cannot be read or stored.
    """
    listing = list_code(project.root)
    if listing.warning:
        report(listing.warning)
    large = _large(project.root, listing.paths)
    if large and store:
        _refuse(large)
    objects = project.state / "objects" if store else None
    entries: dict[str, Entry] = {}
    for path in listing.paths:
        if path in large:
            continue
        entry = _read(project.root, path, objects, report)
        if entry is not None:
            entries[path] = entry
    return Tree(entries)


def make_snapshot(project: Project, tree: Tree) -> Path:
    """Return the read-only folder with the tree's files, made of links if it was not there.

    `data` and `results` in it lead to the project's own.

    Raises:
        OSError: the disk refuses.
    """
    final = snapshot_folder(project, tree.digest)
    if final.is_dir():
        return final
    draft = final.with_name(f".tmp-{os.urandom(16).hex()}")
    try:
        _build(project, tree, draft)
        with contextlib.suppress(FileExistsError):
            draft.rename(final)
    except OSError as error:
        # Somebody else was quicker: a folder that is there and not empty is the same one.
        if not final.is_dir():
            raise error
    finally:
        remove_tree(draft)
    return final


def has_object(project: Project, entry: Entry) -> bool:
    """Return whether the contents of a file are stored. Touches the disk."""
    return _object(project.state / "objects", entry).is_file()


def store_object(project: Project, entry: Entry, content: bytes) -> None:
    """Store the contents of a file under its name. Touches the disk."""
    _store(project.state / "objects", entry, content)


def read_object(project: Project, entry: Entry) -> bytes:
    """Return the contents of a stored file.

    Raises:
        OSError: they are not there.
    """
    return _object(project.state / "objects", entry).read_bytes()


def verify(folder: Path, tree: Tree) -> None:
    """Return if a snapshot is as it was made; looks at sizes of nothing but times and kinds.

    Raises:
        StorageError: naming a file that was changed or removed.
    """
    for path, entry in tree.entries.items():
        try:
            found = (folder / path).lstat()
        except OSError:
            raise StorageError(f"`{path}` is missing from the snapshot `{folder}`") from None
        if entry.kind != "l" and found.st_mtime != STORED_AT:
            raise StorageError(
                f"`{path}` in the snapshot `{folder}` was changed after the job was submitted",
                hint="a job writes to results/ and data/, or to a folder of its own",
            )


def remove_tree(folder: Path) -> None:
    """Remove a folder, read-only folders inside included; none there is right too."""
    if not folder.is_dir():
        return
    folder.chmod(0o700)
    for path, folders, _ in os.walk(folder):
        for name in folders:
            inner = Path(path, name)
            if not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(folder)


def _large(root: Path, paths: Iterable[str]) -> Mapping[str, int]:
    """Return the sizes, in bytes, of the files that are too large for code."""
    large: dict[str, int] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found = (root / path).lstat()
            if stat.S_ISREG(found.st_mode) and found.st_size > LARGEST_MIB << 20:
                large[path] = found.st_size
    return large


def _refuse(large: Mapping[str, int]) -> NoReturn:
    listed = ", ".join(f"`{path}` ({size / 2**20:.0f} MiB)" for path, size in large.items())
    raise UsageError(
        f"too large for code, of which every job keeps a copy: {listed}",
        hint=f"put what is over {LARGEST_MIB} MiB under data/, or name it in .gitignore; "
        "--live runs the working tree as it is",
    )


def _read(root: Path, path: str, objects: Path | None, report: Report) -> Entry | None:
    try:
        mode = (root / path).lstat().st_mode
        if stat.S_ISLNK(mode):
            return _read_link(root, path, report)
        if not stat.S_ISREG(mode):
            report(f"`{path}` is left out: neither a file nor a link")
            return None
        return _read_file(root / path, objects)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise StorageError(
            f"`{path}` cannot be read: {(error.strerror or '').lower()}",
            hint="if it is not code, name it in .gitignore",
        ) from error


def _read_link(root: Path, path: str, report: Report) -> Entry | None:
    leads = os.readlink(root / path)  # noqa: PTH115 - as text, whatever it holds
    inside = os.path.normpath(os.path.join(os.path.dirname(path), leads))  # noqa: PTH118, PTH120
    if inside.startswith(("/", "../")) or inside == os.pardir:
        report(f"warning: `{path}` is left out: a link that leads out of the project, to `{leads}`")
        return None
    return Entry("l", leads)


def _read_file(path: Path, objects: Path | None) -> Entry:
    for _ in range(_READ_TRIES):
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            content = file.read()
            after = os.fstat(file.fileno())
        unchanged = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if unchanged and len(content) == after.st_size:
            kind = "x" if before.st_mode & 0o100 else "-"
            digest = hashlib.sha256(content).hexdigest()
            if objects is not None:
                _store(objects, Entry(kind, digest), content)
            return Entry(kind, digest)
    raise StorageError(
        f"`{path}` changes faster than it can be read",
        hint="if it is not code, name it in .gitignore",
    )


def _object(objects: Path, entry: Entry) -> Path:
    suffix = ".x" if entry.kind == "x" else ""
    return objects / entry.content[:2] / f"{entry.content[2:]}{suffix}"


def _store(objects: Path, entry: Entry, content: bytes) -> None:
    final = _object(objects, entry)
    with contextlib.suppress(FileNotFoundError):
        found = final.stat()
        # One that was written to through a link is replaced: it does not hold what its name says.
        if found.st_mtime == STORED_AT and found.st_size == len(content):
            return
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = final.with_name(f".tmp-{os.urandom(16).hex()}")
    try:
        draft.write_bytes(content)
        draft.chmod(0o555 if entry.kind == "x" else 0o444)
        os.utime(draft, (STORED_AT, STORED_AT))
        draft.replace(final)
    finally:
        draft.unlink(missing_ok=True)


def _build(project: Project, tree: Tree, draft: Path) -> None:
    draft.mkdir(parents=True)
    objects = project.state / "objects"
    folders = {draft}
    for path, entry in tree.entries.items():
        target = draft / path
        if target.parent not in folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            folders.update(p for p in target.parents if p.is_relative_to(draft))
        if entry.kind == "l":
            target.symlink_to(entry.content)
        else:
            _link(_object(objects, entry), target)
    for name in SHARED:
        (project.root / name).mkdir(exist_ok=True)
        (draft / name).symlink_to(project.root / name)
    for folder in folders:
        folder.chmod(0o555)


def _link(stored: Path, target: Path) -> None:
    try:
        # `Path.hardlink_to` is of Python 3.10, and this is streamed to other hosts.
        os.link(stored, target)
    except FileNotFoundError:
        raise
    except OSError:
        # A file system without links, or too many of them to one file.
        shutil.copy2(stored, target)
