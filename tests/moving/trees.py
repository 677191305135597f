"""Folders for the tests: filled with names that break programs, and read back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from perdure.moving.errand import Errand
from perdure.moving.far import Far
from perdure.moving.outcome import Moved
from perdure.moving.pull import pull as pull_from
from perdure.moving.push import push as push_to
from perdure.moving.selection import Selection, select

#: Each of these has broken some program that moves files.
HOSTILE = (
    b"plain.bin",
    b"with space",
    b"it's",
    b'a "quote"',
    b"new\nline",
    b"-rf",
    b"--delete",
    b"$(touch pwned)",
    b"`id`",
    b"; exit 1",
    b"#comment",
    b";comment",
    b"*",
    b"[x]",
    b"back\\slash",
    b"\\#012",
    b"100%",
    b"a:b",
    b"\xc3\xbcn\xc3\xaf",
    b"not utf8 \xff",
    b" leading and trailing ",
    b".hidden",
    b"a folder\nwith 'it'/inner \"file\"",
    b"deep/er/and/deeper/x",
)


@dataclass(frozen=True, slots=True)
class Project:
    """A project's root."""

    root: Path

    @property
    def data(self) -> Path:
        """Return its data."""
        return self.root / "data"

    def errand(
        self,
        where: str,
        *,
        pushing: bool,
        dry: bool = False,
        selection: Selection | None = None,
    ) -> Errand:
        """Return what is asked for, of `data` unless another selection is named."""
        chosen = selection or select("data", self.root)
        return Errand(chosen, self.root, where, pushing, dry=dry, clock=lambda: 1.7e9)


def fill(folder: Path) -> None:
    """Fill a folder with hostile names; a file's contents are its own."""
    for number, name in enumerate(HOSTILE):
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name * (number + 1))
        os.utime(path, ns=(0, 1_700_000_000_123_456_789 + number))
    (folder / "empty").mkdir()
    (folder / "a link").symlink_to("with space")


def content(folder: Path) -> dict[str, bytes | str | None]:
    """Return what a folder holds: a file's bytes, a link's target, None for a folder.

    What perdure keeps for itself is left out.
    """
    found: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = os.fspath(path.relative_to(folder))
        if name.split("/")[0] == ".perdure":
            continue
        if path.is_symlink():
            found[name] = os.fspath(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def why(skipped: object) -> dict[str, int]:
    """Return how many files were left out for each reason."""
    assert isinstance(skipped, tuple)
    return {each.why: each.files for each in skipped}


def push(
    project: Project, far: Far, selection: Selection | None = None, *, dry: bool = False
) -> Moved:
    errand = project.errand(far.host.name, pushing=True, dry=dry, selection=selection)
    return push_to(errand, far)


def pull(
    project: Project, far: Far, selection: Selection | None = None, *, dry: bool = False
) -> Moved:
    errand = project.errand(far.host.name, pushing=False, dry=dry, selection=selection)
    return pull_from(errand, far)


def other(tmp_path: Path) -> Project:
    found = Project(tmp_path / "another laptop")
    found.root.mkdir()
    return found
