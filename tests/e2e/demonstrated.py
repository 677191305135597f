"""A project as `perdure demo` leaves it, for all that is tried on one's own machine.

What takes long in it is the installation of its environment: all of them share one.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 900

Done = subprocess.CompletedProcess[str]


def perdure(cwd: Path, *words: str) -> Done:
    """Return how `perdure WORDS...` ended."""
    argv = [sys.executable, "-m", "perdure.cli.main", *words]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S)


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """A project, and how the demonstration ended that made it."""

    project: Path
    done: Done

    def perdure(self, *words: str) -> Done:
        """Return how `perdure WORDS...` ended in the project."""
        return perdure(self.project, *words)

    def said(self, *words: str) -> str:
        """Return what `perdure WORDS...` printed, which ended well."""
        done = self.perdure(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
