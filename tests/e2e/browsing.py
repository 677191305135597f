"""Debian's Chromium, driven by Playwright: installed when the first test asks for a browser.

Screenshots stay in tests/artefacts.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import uv

ROOT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).with_name("browser")
ARTEFACTS = ROOT / "tests" / "artefacts"
CHROMIUM = Path("/usr/bin/chromium")
INSTALL_S = 600.0

Run = Callable[[Sequence[str], str], subprocess.CompletedProcess[str]]


class Browser:
    """A browser that `run` starts: on this host, or on another one as somebody else."""

    def __init__(self, folder: Path, run: Run, artefacts: str) -> None:
        self._folder = folder
        self._run = run
        self.artefacts = ARTEFACTS / artefacts
        shutil.rmtree(self.artefacts, ignore_errors=True)

    def drive(self, task: str, address: str, *given: str) -> str:
        """Return what `drive.py TASK` said of an address; its screenshots are kept."""
        shots = self._folder / "shots"
        argv = [str(self._folder / "env/bin/python"), str(self._folder / "drive.py")]
        done = self._run([*argv, task, "-", str(shots), *given], f"{address}\n")
        self.artefacts.mkdir(parents=True, exist_ok=True)
        for shot in shots.glob("*.png"):
            shutil.copy(shot, self.artefacts)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def install(folder: Path) -> Path:
    """Return a folder with a driver for a browser, made there; the browser is installed too."""
    if not CHROMIUM.exists():
        command([str(ROOT / "scripts" / "apt"), "chromium"])
    folder.mkdir(parents=True)
    shutil.copy(FILES / "drive.py", folder)
    program = uv.find_uv_bin()
    # The system's Python: another user and another host have it too.
    command([program, "venv", "--quiet", "--python", "/usr/bin/python3", str(folder / "env")])
    words = ["pip", "install", "--quiet", "--require-hashes", "--link-mode", "copy"]
    words += ["--python", str(folder / "env/bin/python"), "-r", str(FILES / "requirements.txt")]
    command([program, *words])
    return folder


def command(words: Sequence[str]) -> None:
    """Run a command that has to work."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_S)
    assert done.returncode == 0, done.stderr
