"""uv, found and run: with this machine's settings, within a time limit, its complaints told."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.environments.machine import (
    find_links,
    machine_settings,
    masked,
    pip_files,
    read_files,
)
from perdure.errors import EnvironmentFailed, MissingProgram, PerdureError, StorageError
from perdure.hosts import local

if TYPE_CHECKING:
    from perdure.environments.manifest import Manifest
    from perdure.model.project import Project
    from perdure.model.report import Report

# Of another environment or another call of uv; here they would name the wrong place.
_OTHERS = (
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_FROZEN",
    "UV_LOCKED",
    "UV_NO_SYNC",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_WORKING_DIR",
    "VIRTUAL_ENV",
)
_CHATTER = re.compile(r"^( [+~-] |Using CPython |Using Python |Creating virtual environment )")
_EXACT = re.compile(r"==\s*(\d+\.\d+)(?:\.\*|\.\d+)?")
_LAST_LINES = 25

INDEX_HINT = (
    "is the index reachable from here? A mirror or a folder of wheels can take its place: "
    '`[indexes] NAME = "URL or folder"` in ~/.config/perdure/config.toml'
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine tells uv: its environment, and its folders of wheels."""

    environ: Mapping[str, str]
    folders: tuple[Path, ...]


def this_machine(environ: Mapping[str, str] | None = None) -> Machine:
    """Return what the user's environment and pip's files say. Reads those files."""
    environ = dict(os.environ) if environ is None else environ
    texts = read_files(pip_files(environ))
    kept = {name: value for name, value in environ.items() if name not in _OTHERS}
    told = kept | machine_settings(environ, texts) | {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}
    return Machine(told, find_links(environ, texts))


def without_folders(environ: Mapping[str, str], urls: Sequence[str]) -> dict[str, str]:
    """Return the environment whose find-links leave out the folders with these URLs.

    A folder that has become an index may not be looked through a second time: its CPU build would
    be taken for the CUDA variant too.
    """
    kept = [
        place
        for place in re.split(r"[\s,]+", environ.get("UV_FIND_LINKS", ""))
        if place and ("://" in place or Path(place).absolute().as_uri() not in urls)
        if place not in urls
    ]
    return {**environ, "UV_FIND_LINKS": ",".join(kept)}


def run_uv(
    words: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    timeout_s: float,
    report: Report,
) -> str:
    """Return what uv writes; what it says beside that is told. Touches disk and network.

    Raises:
        MissingProgram: there is no uv.
        StorageError: no space, or a folder that cannot be written.
        EnvironmentFailed: uv failed; its own last lines are in the message.
        TimeoutExpired: it took too long.
    """
    complaining = False

    def tell(line: str) -> None:
        nonlocal complaining
        # What it ends with is the error's message, and is told once.
        complaining = complaining or line.startswith("error: ")
        if not complaining and not _CHATTER.match(line):
            report(masked(line.strip()))

    closed = environ.get("UV_NO_INDEX") and words[0] != "python"
    argv = [find_uv(environ), *words, *(["--no-index"] if closed else [])]
    completed = local.run(argv, env=environ, cwd=cwd, timeout_s=timeout_s, on_line=tell)
    if completed.returncode != 0:
        raise _failure(words[0], completed)
    return completed.stdout.decode("utf-8", "replace")


def find_uv(environ: Mapping[str, str]) -> str:
    """Return the path of uv: the one installed with perdure, else the one on PATH.

    Raises:
        MissingProgram: there is none.
    """
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv", path=environ.get("PATH"))
    if found is None:
        raise MissingProgram(
            "uv was not found; it locks and installs environments",
            program="uv",
            hint="pip install uv",
        )
    return found


def python_words(project: Project, manifest: Manifest) -> tuple[str, ...]:
    """Return the words that tell uv which Python to use; none where it is to choose.

    The Python that runs here is taken where it fits: it is there, and needs no download.
    """
    exact = _EXACT.fullmatch(manifest.requires_python.strip())
    wanted = project.environment.python or (exact[1] if exact else None)
    here = ".".join(map(str, sys.version_info[:3]))
    if wanted and (here == wanted or here.startswith(f"{wanted}.")):
        return ("--python", os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    return ("--python", project.environment.python) if project.environment.python else ()


def with_cache(environ: Mapping[str, str], state: Path) -> dict[str, str]:
    """Return the environment with a cache that can be written: uv's own, else one in `state`."""
    if environ.get("UV_CACHE_DIR"):
        return dict(environ)
    home = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "/") / ".cache")
    folder = Path(home) / "uv"
    while not folder.exists():
        folder = folder.parent
    if os.access(folder, os.W_OK | os.X_OK):
        return dict(environ)
    return {**environ, "UV_CACHE_DIR": str(state / "cache" / "uv")}


def prepare_state(state: Path) -> None:
    """Make the folder of perdure's own files, kept out of git by itself.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
        ignore = state / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise unwritable(state, error) from error


def unwritable(folder: Path, error: OSError) -> StorageError:
    """Return the error to raise for a folder that could not be written."""
    return StorageError(f"cannot write `{folder}`: {(error.strerror or str(error)).lower()}")


def _failure(verb: str, completed: local.Completed) -> PerdureError:
    lines = [line for line in masked(completed.complaint).splitlines() if not _CHATTER.match(line)]
    said = "\n".join(lines[-_LAST_LINES:])
    text = said.lower()
    if "no space left" in text or "os error 28" in text or "disk quota" in text:
        return StorageError(f"no space left for the environment; `uv {verb}` said:\n{said}")
    return EnvironmentFailed(
        f"`uv {verb}` failed (exit code {completed.returncode}):\n{said}", hint=_hint(text)
    )


def _hint(text: str) -> str | None:
    if any(
        word in text
        for word in ("failed to fetch", "error sending request", "was not found in the package")
    ):
        return INDEX_HINT
    return None
