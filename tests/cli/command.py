"""The real command, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MAIN = (sys.executable, "-m", "perdure.cli.main")
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def perdure(*words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Ended:
    """Return how `perdure WORDS...` ended, its input closed."""
    done = subprocess.run(
        [*MAIN, *words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def python(program: str, *words: str) -> Ended:
    """Return how a Python program ended."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def is_one_error(ended: Ended, code: int, *words: str) -> bool:
    """Return whether it ended with one error line, a hint and that code, and said `words`."""
    lines = ended.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
    assert "Traceback" not in ended.err, ended.err
    assert len(errors) == 1, ended.err
    assert hints, ended.err
    assert ended.code == code, ended
    assert all(word in ended.err for word in words), ended.err
    return True
