"""What is asked for: a word, the two sides, and how it is to be moved."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import ConflictError
from perdure.model.report import Report, silent
from perdure.moving.arrive import conflict_name
from perdure.moving.known import known_file
from perdure.moving.selection import STAGING, Selection


@dataclass(frozen=True, slots=True)
class Errand:
    """A selection of the project at `root`, moved to or from `where`; `dry`: only planned."""

    selection: Selection
    root: Path
    where: str
    pushing: bool
    dry: bool = False
    report: Report = silent
    clock: Callable[[], float] = time.time
    # What tells the other side from others of that name: None where `where` does.
    identity: str | None = None

    @property
    def state(self) -> Path:
        """Return where perdure keeps what concerns moving."""
        return self.root / ".perdure" / "moving"

    @property
    def known(self) -> Path:
        """Return the file that says what both sides had."""
        return known_file(self.root / ".perdure", self.identity or self.where, self.selection.word)

    @property
    def staging(self) -> Path:
        """Return where what is pulled lies until it is whole: on the disk where it belongs."""
        near = self.selection.near
        name = self.known.stem
        if near.is_dir() and near.stat().st_dev != self.root.stat().st_dev:
            return near.resolve() / STAGING / name
        return self.state / name

    def kept_below(self) -> str:
        """Return the folder for what is displaced, from the project's root on either side."""
        folder = f".perdure/conflicts/{conflict_name(self.clock())}"
        return f"{folder}/{self.selection.below}".rstrip("/")


@contextlib.contextmanager
def alone(errand: Errand) -> Iterator[None]:
    """Keep two of us from moving the same word to or from the same place at once.

    Raises:
        ConflictError: another one does.
    """
    errand.state.mkdir(parents=True, exist_ok=True)
    fd = os.open(errand.known.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConflictError(
            f"another perdure is moving {errand.selection.word} to or from `{errand.where}`",
            hint="try again when it has ended",
        ) from None
    finally:
        os.close(fd)
