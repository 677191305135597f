"""An environment installed on another host: the half that runs there.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.environments.exclusive import alone
from perdure.environments.uv import prepare_state, run_uv, this_machine, with_cache
from perdure.errors import EnvironmentFailed, TimeoutExpired
from perdure.hosts import local

if TYPE_CHECKING:
    from perdure.model.report import Report

MARKER = "perdure-environment.json"
_TIMEOUT_S = 3600.0
_WARM_S = 180.0


def look(root: str, prefix: str) -> dict[str, Any]:
    """Return what is there: the environment's Python version (None: no environment), the system."""
    folder = Path(root).expanduser() / prefix
    installed = (folder / MARKER).is_file() and (folder / "bin/python").exists()
    system = os.uname()
    return {
        "root": str(Path(root).expanduser()),
        "python": version_in(folder) if installed else None,
        "system": system.sysname.lower(),
        "machine": system.machine,
    }


def install(
    root: str,
    prefix: str,
    wanted: dict[str, Any],
    on_line: Report,
) -> str:
    """Return the Python version of the environment, installed if it is not there. Runs uv.

    `wanted`: `uv` (its path), `pythons` (what `uv venv --python` is asked for, the best first),
    `files` (requirements by index, "" for uv's own), `marker`, `lock` (the text of uv.lock),
    `warm` (a script, and the distributions whose bytecode is to be there).

    Raises:
        EnvironmentFailed: uv could not install.
        StorageError: no space, or a folder that cannot be written.
    """
    base = Path(root).expanduser()
    folder = base / prefix
    prepare_state(base / ".perdure")
    folder.parent.mkdir(exist_ok=True)
    with alone(folder.with_name(f"{folder.name}.lock"), "installing this environment", on_line):
        if not ((folder / MARKER).is_file() and (folder / "bin/python").exists()):
            _clear(folder)
            _install(folder, wanted, on_line)
            _warm(folder, wanted["warm"], on_line)
            (folder / "uv.lock").write_text(wanted["lock"])
            draft = folder / f".{MARKER}"
            draft.write_text(json.dumps(wanted["marker"]) + "\n")
            draft.replace(folder / MARKER)
    return version_in(folder)


def version_in(prefix: Path) -> str:
    """Return the Python version of a virtual environment, "" where it does not say."""
    for line in (prefix / "pyvenv.cfg").read_text(errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() in ("version_info", "version"):
            return value.strip()
    return ""


def _install(folder: Path, wanted: dict[str, Any], report: Report) -> None:
    program = Path(wanted["uv"]).expanduser()
    environ = with_cache(this_machine().environ, folder.parent.parent)
    environ["PATH"] = os.pathsep.join([str(program.parent), environ.get("PATH", os.defpath)])
    if wanted["logins"]:
        environ["UV_INDEX"] = " ".join([*wanted["logins"], environ.get("UV_INDEX", "")]).strip()
    _make(folder, wanted["pythons"], environ, report)
    for index, text in wanted["files"].items():
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(text)
            file.flush()
            words = ["pip", "install", "--python", f"{folder}/bin/python", "--no-deps"]
            words += ["--require-hashes", "-r", file.name]
            words += ["--default-index", index] if index else []
            run_uv(words, cwd=folder, environ=environ, timeout_s=_TIMEOUT_S, report=report)


def _make(folder: Path, pythons: list[str], environ: dict[str, str], report: Report) -> None:
    """Make the virtual environment with the first Python that can be had."""
    for number, python in enumerate(pythons, 1):
        words = ["venv", "--quiet", *(["--python", python] if python else []), str(folder)]
        try:
            run_uv(words, cwd=folder.parent, environ=environ, timeout_s=_TIMEOUT_S, report=report)
            return
        except EnvironmentFailed:
            if number == len(pythons):
                raise
            report(f"there is no Python {python} there; looking for another one that fits")


def _warm(folder: Path, wanted: dict[str, Any], report: Report) -> None:
    """Compile what the project imports, as `perdure.environments.sync` does here."""
    report("compiling the packages that the project imports")
    argv = [f"{folder}/bin/python", "-E", "-s", "-c", wanted["script"], *wanted["names"]]
    with contextlib.suppress(TimeoutExpired):
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        local.run(argv, env=environ, cwd=folder, timeout_s=_WARM_S)


def _clear(folder: Path) -> None:
    if folder.exists():
        (folder / MARKER).unlink(missing_ok=True)
        shutil.rmtree(folder)
