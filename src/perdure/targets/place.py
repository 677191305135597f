"""Where a project lies: on this machine, or on a host that has the same folders elsewhere."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.errors import StorageError, UsageError

if TYPE_CHECKING:
    from perdure.hosts.host import Host

_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """A project's folder on a host: `root` there, `local` on this machine."""

    host: Host
    root: str
    local: Path

    @property
    def is_here(self) -> bool:
        """Return whether it is this machine's folder itself."""
        return self.host.is_here

    def path(self, local: Path) -> str:
        """Return what a path in the project is called there. Pure.

        Raises:
            UsageError: it is not in the project.
        """
        return f"{self.root}/{self.name(local)}".rstrip("/")

    def name(self, local: Path) -> str:
        """Return a path in the project, relative to it. Pure; raises as `path`."""
        try:
            relative = local.relative_to(self.local)
        except ValueError:
            raise UsageError(
                f"`{local}` is not in the project `{self.local}`, and so it is not on "
                f"`{self.host.name}` either"
            ) from None
        return "" if relative == Path() else relative.as_posix()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Have what a disk there refuses be one clear error. Touches nothing itself.

        Raises:
            StorageError: no space there, or a folder that cannot be written.
        """
        import errno

        try:
            yield
        except OSError as error:
            if self.is_here:
                raise
            where = error.filename if isinstance(error.filename, str) else self.root
            name = self.host.name
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise StorageError(
                f"cannot write `{where}` on `{name}`: {(error.strerror or str(error)).lower()}",
                hint=f"perdure clean results --on {name}" if full else self.host.remedy,
            ) from error


def here(root: Path) -> Place:
    """Return the place of a project of this machine."""
    from perdure.hosts.here import HERE

    return Place(HERE, os.fspath(root), root)


def folder_name(local: Path, destination: str) -> str:
    """Return the name of a project's folder on a host that `ssh destination` reaches. Pure."""
    import hashlib

    known = os.fsencode(local) + b"\0" + destination.encode()
    return f"{local.name}-{hashlib.sha256(known).hexdigest()[:_DIGITS]}"
