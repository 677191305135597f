"""An image on its way out of an engine: read from `docker save`, with progress and clear ends."""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Callable, Iterator

from perdure.errors import EngineUnreachable, EnvironmentFailed, PerdureError, StorageError
from perdure.hosts import piped
from perdure.hosts.engine import Engine
from perdure.hosts.local import Completed
from perdure.hosts.piped import Piped
from perdure.hosts.progress import MIB
from perdure.images.archive import UnexpectedArchive

# The classic store writes all layers to a folder of its own before it sends the first byte, and an
# engine unpacks what it was sent after the last one.
STALL_S = 900.0
END_S = 3600.0
_FULL = "no space left on device"
_LOST = (
    "cannot connect to the docker daemon",
    "error during connect",
    "connection reset",
    "unexpected eof",
    "broken pipe",
    "connection refused",
    "transport is closing",
)


class Saved:
    """The archive of an image as it comes from `docker save`."""

    def __init__(self, process: Piped, what: str, tell: Callable[[int], None]) -> None:
        self._process = process
        self._what = what
        self._tell = tell
        self._count = 0
        self._ended = False

    def read(self, count: int, /) -> bytes:
        """Return the next bytes, b"" at the end."""
        data = self._process.read(count)
        self._ended = not data
        self._count += len(data)
        self._tell(self._count)
        return data

    def finish(self) -> None:
        """Read what is left, an archive's padding, and return if all of it came.

        Raises:
            EnvironmentFailed: the engine says that it did not.
            EngineUnreachable: the engine was lost.
        """
        while self.read(MIB):
            pass
        done = self._process.finish(END_S)
        if done.returncode != 0:
            raise failure(self._what, done)

    def blame(self) -> None:
        """Return unless the engine itself has ended badly; then its words are the error."""
        if self._ended:
            self.finish()


@contextlib.contextmanager
def saved(
    engine: Engine, reference: str, tell: Callable[[int], None] = lambda count: None
) -> Iterator[Saved]:
    """Yield the archive of an image as it comes from `docker save`; what is not read is left.

    Raises:
        EnvironmentFailed: the engine does not give it, whole.
        EngineUnreachable: the engine was lost in the middle.
    """
    argv = engine.argv(["image", "save", reference])
    what = f"`{reference}` did not come whole from its engine"
    with piped.reading(argv, env=engine.environ, stall_s=STALL_S) as process:
        archive = Saved(process, what, tell)
        try:
            yield archive
        except (tarfile.TarError, EOFError, UnexpectedArchive) as error:
            archive.blame()
            if isinstance(error, UnexpectedArchive):
                raise
            raise EnvironmentFailed(
                f"{what}: {error}", hint="`perdure doctor` looks at the engine"
            ) from error


class Fed:
    """The command that takes the archive: counts what it took."""

    def __init__(self, process: Piped) -> None:
        self.bytes = 0
        self._process = process

    def write(self, data: bytes, /) -> int:
        """Hand it bytes.

        Raises:
            BrokenPipeError: it takes no more.
        """
        self.bytes += self._process.write(data)
        return len(data)


def failure(what: str, done: Completed) -> PerdureError:
    """Return the error for a command that failed: a full disk, a lost engine, or its own words."""
    said = done.complaint or done.text or f"exit code {done.returncode}"
    last = said.splitlines()[-1].strip()
    lowered = said.lower()
    if _FULL in lowered:
        return StorageError(
            f"{what}: no space left on its disk",
            hint="`docker system df` shows what takes it; `docker image rm` frees it",
        )
    if any(word in lowered for word in _LOST):
        return EngineUnreachable(
            f"{what}: the engine was lost: {last}",
            hint="once it answers (`docker version`), ship again",
        )
    return EnvironmentFailed(f"{what}: {last}", hint="`perdure doctor` looks at the engine")
