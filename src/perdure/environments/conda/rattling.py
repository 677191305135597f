"""Asking the worker: py-rattler in a process of its own, within a time limit."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from perdure.environments.conda.declared import HINT
from perdure.environments.machine import masked
from perdure.errors import EnvironmentFailed, MissingProgram, PerdureError, StorageError
from perdure.hosts import local
from perdure.model.report import Report

_WORKER = Path(__file__).with_name("worker.py")
_COUNT = re.compile(r"(\d+) (\d+)")
_FULL = ("no space left", "os error 28", "disk quota", "os error 122")
_READ_ONLY = ("permission denied", "os error 13", "read-only file system", "os error 30")


def ask(
    request: Mapping[str, object], doing: str, *, timeout_s: float, report: Report
) -> dict[str, object]:
    """Return the worker's answer; `doing` is told while it works. Touches disk and network.

    An answer with `error` in it is returned too, if it is one that the caller may put in words.

    Raises:
        MissingProgram: py-rattler is not installed.
        StorageError: no space, or a folder that cannot be written.
        EnvironmentFailed: it died.
        TimeoutExpired: it took too long.
    """

    def tell(line: str) -> None:
        count = _COUNT.fullmatch(line.strip())
        if count:
            report(doing, done=int(count[1]), total=int(count[2]))

    report(doing)
    # -P: the folder of the script is none to import from.
    argv = [sys.executable, "-P", str(_WORKER)]
    completed = local.run(
        argv, stdin=json.dumps(request).encode(), timeout_s=timeout_s, on_line=tell
    )
    answer = _answer(completed)
    error = failure(answer)
    if error.get("kind") == "absent":
        raise MissingProgram(
            "conda packages need py-rattler, which is not installed",
            program="py-rattler",
            hint=HINT,
        )
    if error.get("kind") == "other":
        raise _told(str(error.get("text")))
    return answer


def failure(answer: Mapping[str, object]) -> Mapping[str, object]:
    """Return the error in an answer, empty where there is none."""
    error = answer.get("error")
    return error if isinstance(error, dict) else {}


def cache_folder(fallback: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return rattler's own cache if it can be written, else the other folder."""
    if environ.get("RATTLER_CACHE_DIR"):
        return Path(environ["RATTLER_CACHE_DIR"])
    home = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "/") / ".cache")
    wanted = folder = Path(home) / "rattler" / "cache"
    while not folder.exists():
        folder = folder.parent
    return wanted if os.access(folder, os.W_OK | os.X_OK) else fallback


def _answer(completed: local.Completed) -> dict[str, object]:
    try:
        answer = json.loads(completed.stdout)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return answer
    last = masked(completed.complaint).splitlines()[-1:] or ["it said nothing"]
    raise EnvironmentFailed(
        f"py-rattler ended without an answer (exit code {completed.returncode}): {last[0]}",
        hint="run it again",
    )


def _told(text: str) -> PerdureError:
    """Return an error with rattler's own words: each cause on a line of its own."""
    said = masked(text.strip())
    lower = said.lower()
    if any(word in lower for word in _FULL):
        return StorageError(f"no space left for the conda packages; py-rattler said:\n{said}")
    if any(word in lower for word in _READ_ONLY):
        return StorageError(f"cannot write the conda packages; py-rattler said:\n{said}")
    return EnvironmentFailed(f"the conda packages could not be had; py-rattler said:\n{said}")
