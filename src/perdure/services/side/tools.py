"""The programs of services, installed on their target beside the project's own environment.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.environments.exclusive import alone
from perdure.environments.uv import run_uv, this_machine, with_cache
from perdure.errors import EnvironmentFailed
from perdure.hosts import local
from perdure.services.side import record
from perdure.services.side.desk import prepare

if TYPE_CHECKING:
    from perdure.model.report import Report

_INSTALL_S = 1800.0
_ASK_S = 60.0
_DONE = "perdure-installed"


def installed(root: str, name: str) -> bool:
    """Return whether the tools of that name are there, and their Python still is."""
    folder = _folder(root, name)
    python = folder / "bin/python"
    return (folder / _DONE).is_file() and (python.exists() or not python.is_symlink())


def install(root: str, name: str, uv: str, wanted: dict[str, str], on_line: Report) -> str:
    """Return the folder of the tools, installed there if they are not. Runs uv.

    `wanted`: `requirements`, and the `python` or the `version` of one that they are for; with that
    they come to lie in a plain folder, without it in a virtual environment of their own.

    Raises:
        EnvironmentFailed: uv could not install.
        StorageError: no space, or a folder that cannot be written.
    """
    folder = _folder(root, name)
    prepare(folder.parent)
    with alone(folder.with_name(f"{name}.lock"), f"installing {name}", on_line):
        if not installed(root, name):
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder, Path(uv).expanduser(), wanted, on_line)
            (folder / _DONE).touch()
    return os.fspath(folder)


def _install(folder: Path, uv: Path, wanted: dict[str, str], report: Report) -> None:
    environ = with_cache(this_machine().environ, folder.parent.parent)
    environ["PATH"] = os.pathsep.join([str(uv.parent), environ.get("PATH", os.defpath)])
    draft = folder.with_name(f"{folder.name}.txt")
    draft.write_text(wanted["requirements"])

    def run(words: list[str]) -> None:
        run_uv(words, cwd=folder.parent, environ=environ, timeout_s=_INSTALL_S, report=report)

    where = ["--python", wanted.get("python") or sys.executable, "--target", os.fspath(folder)]
    if "version" in wanted:
        # For an image on this machine: its Python is not here, and builds nothing.
        where += ["--python-version", wanted["version"], "--only-binary", ":all:"]
        where += ["--python-platform", "linux"]
    elif "python" not in wanted:
        where = ["--python", f"{folder}/bin/python"]
        run(["venv", "--quiet", "--python", sys.executable, os.fspath(folder)])
    run(["pip", "install", "--no-deps", "--require-hashes", *where, "-r", os.fspath(draft)])
    draft.unlink()


def _folder(root: str, name: str) -> Path:
    return Path(root).expanduser() / record.SERVICES / "tools" / name


def interpreter(prefix: str | None) -> dict[str, Any]:
    """Return the Python that the project's code runs on: its path and version, and `kernel`.

    `kernel`: whether it can run notebooks as it is.

    Raises:
        EnvironmentFailed: it does not run.
    """
    path = f"{prefix}/bin/python" if prefix else shutil.which("python3") or sys.executable
    script = "import sys, importlib.util as u; print(*sys.version_info[:2], sep='.'); "
    script += "print(u.find_spec('ipykernel') is not None)"
    done = local.run([path, "-c", script], timeout_s=_ASK_S)
    words = done.text.split()
    if done.returncode != 0 or len(words) != 2:
        raise EnvironmentFailed(f"`{path}` does not run: {done.complaint}")
    return {"path": path, "version": words[0], "kernel": words[1] == "True"}


def has_folder(root: str, name: str) -> bool:
    """Return whether a folder of the project is there."""
    return (Path(root).expanduser() / name).is_dir()
