"""An image as a squashfs file, which Apptainer runs where there is no container engine.

The engine's export of a container goes to `mksquashfs` as it comes. An export has no environment,
so the image's own is put where Apptainer reads it: /.singularity.d/env. What it is given by `--env`
it sets after another file there, and never where that is missing.
"""

from __future__ import annotations

import contextlib
import errno
import io
import re
import shlex
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from perdure.errors import EnvironmentFailed, MissingProgram
from perdure.hosts import local, piped
from perdure.hosts.engine import Engine
from perdure.hosts.local import Completed
from perdure.hosts.progress import MIB, Progress
from perdure.images.ship_file import storage_error, whole_or_not
from perdure.images.ship_image import ImageRecord
from perdure.images.ship_stream import END_S, STALL_S, failure
from perdure.images.shipment import Moved
from perdure.model.report import Report

ENVIRONMENT = ".singularity.d/env/10-docker2singularity.sh"
GIVEN = ".singularity.d/env/99-base.sh"

# Not its other name, `sqfstar`: up to 4.5.1 that takes no compression level.
_PROGRAM = "mksquashfs"
_ASK_S = 120.0
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The default, 15, was measured to take 18 times as long for a tenth less.
_LEVEL = "3"
_INSTALL = "install squashfs-tools 4.5 or newer (Debian: `sudo apt-get install squashfs-tools`)"
_FULL = "no space left on device"
_HEAD = "#!/bin/sh\n"


def write_squashfs(
    engine: Engine, tag: str, image: ImageRecord, path: Path, report: Report
) -> Moved:
    """Return what was written once the file holds the image's files and environment.

    Raises:
        MissingProgram: there is no `mksquashfs` here.
        EnvironmentFailed: the engine did not give all of it, or `mksquashfs` failed.
        StorageError: the file cannot be written, or the disk is full.
    """
    program = find_program()
    with whole_or_not(path) as partial, container_of(engine, tag) as container:
        # It would add to a file that is there.
        partial.unlink()
        _convert(engine, container, program, image, (path, partial), report)
        _check(partial, path)
        written = partial.stat().st_size
    return Moved(len(image.layers), written)


def find_program() -> str:
    """Return the path of `mksquashfs`.

    Raises:
        MissingProgram: it is not here.
    """
    program = shutil.which(_PROGRAM)
    if program is None:
        raise MissingProgram(
            f"a squashfs needs `{_PROGRAM}`, which is not here",
            program=_PROGRAM,
            hint=_INSTALL,
        )
    return program


@contextlib.contextmanager
def container_of(engine: Engine, tag: str) -> Iterator[str]:
    """Yield the id of a container of the image that never ran; it is removed at the end.

    Raises:
        EnvironmentFailed: the engine does not make one.
    """
    words = ["container", "create", "--network", "none", "--label", "perdure.role=ship"]
    done = engine.run([*words, tag, "true"], timeout_s=_ASK_S)
    if done.returncode != 0:
        raise failure(f"the engine does not make a container of `{tag}`", done)
    try:
        yield done.text
    finally:
        engine.run(["container", "rm", "--force", done.text], timeout_s=_ASK_S)


def _convert(
    engine: Engine,
    container: str,
    program: str,
    image: ImageRecord,
    paths: tuple[Path, Path],
    report: Report,
) -> None:
    path, partial = paths
    tell = Progress(report, f"writing {path.name}", image.size)
    argv = [program, "-", str(partial), "-tar", "-no-progress", "-quiet"]
    argv += ["-comp", "zstd", "-Xcompression-level", _LEVEL]
    export = engine.argv(["container", "export", container])
    with (
        piped.feeding(argv, stall_s=STALL_S) as squash,
        piped.reading(export, env=engine.environ, stall_s=STALL_S) as source,
    ):
        # It reads no more: how it ended, below, says why.
        with contextlib.suppress(BrokenPipeError):
            _copy(source, squash, image, tell)
        done = squash.finish(END_S)
    _refuse(done, path)


def _copy(source: piped.Piped, squash: piped.Piped, image: ImageRecord, tell: Progress) -> None:
    """Hand over the environment, then all that comes from the engine."""
    count = squash.write(environment_archive(image))
    while data := source.read(MIB):
        count += squash.write(data)
        tell(count)
    ended = source.finish(END_S)
    if ended.returncode != 0:
        raise failure("the image's files did not come whole from its engine", ended)


def _refuse(done: Completed, path: Path) -> None:
    """Return if the file was written."""
    if _FULL in (done.complaint + done.text).lower():
        raise storage_error(path, OSError(errno.ENOSPC, _FULL))
    if "-tar" in done.complaint:
        raise MissingProgram(
            f"this `{_PROGRAM}` is too old to read an archive", program=_PROGRAM, hint=_INSTALL
        )
    if done.returncode != 0:
        raise failure(f"`{_PROGRAM}` did not write `{path}`", done)


def _check(partial: Path, path: Path) -> None:
    """Return if the file can be read, and has the environment in it."""
    program = shutil.which("unsquashfs")
    if program is None:
        return
    done = local.run([program, "-l", str(partial), ENVIRONMENT], timeout_s=_ASK_S)
    if done.returncode != 0 or ENVIRONMENT not in done.text:
        raise EnvironmentFailed(f"`{path}` came out damaged", hint="ship it again")


def environment_archive(image: ImageRecord) -> bytes:
    """Return the beginning of an archive, with the image's environment for Apptainer. Pure.

    Without an end, so that the engine's own archive can follow.
    """
    output = io.BytesIO()
    written = tarfile.open(fileobj=output, mode="w")  # noqa: SIM115 - closing would end it
    folders = [parent.as_posix() for parent in Path(ENVIRONMENT).parents][-2::-1]
    for folder in folders:
        member = tarfile.TarInfo(folder)
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        written.addfile(member)
    for name, text in ((ENVIRONMENT, environment_script(image)), (GIVEN, _HEAD)):
        content = text.encode("utf-8", "surrogateescape")
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o755
        written.addfile(member, io.BytesIO(content))
    return output.getvalue()


def environment_script(image: ImageRecord) -> str:
    """Return the shell script that gives a process the image's environment. Pure."""
    lines = [_HEAD.rstrip()]
    for pair in image.environ:
        name, _, value = pair.partition("=")
        if _NAME.fullmatch(name):
            lines.append(f"export {name}={shlex.quote(value)}")
    return "\n".join(lines) + "\n"
