"""A small project that needs no environment of its own, and trains for real."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"

PYPROJECT = """\
[project]
name = "cats"
version = "0"

[tool.perdure]
format = 1
package = "cats"

[tool.perdure.tasks]
train = "python -m cats.train"
unaware = "python -m cats.unaware"
crash = "python -c 'import sys; print(\\"oh no\\"); sys.exit(9)'"
echo = ["python", "-c", "import sys; print(sys.argv[1:])"]
stubborn = { command = "python -m cats.stubborn", grace_s = 60 }
"""

#: Goes on until step N; a step takes a moment, so that there is time to interrupt it.
TRAIN = """\
import argparse
import time

import perdure

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--pause", type=float, default=0.0)
parser.add_argument("--noise", action="store_true")
options = parser.parse_args()
run = perdure.start()
weights = {"w": 1.0}
run.track(weights=weights)
print("hello from the training", flush=True)
for step in run.steps(options.steps):
    weights["w"] += run.seed * 1e-9 + (time.time() if options.noise else 0)
    time.sleep(options.pause)
    run.log(loss=weights["w"])
print("done", flush=True)
"""

UNAWARE = """\
import time

print("working", flush=True)
while True:
    time.sleep(0.05)
"""

STUBBORN = """\
import signal
import time

for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
print("try me", flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a project whose jobs find the `perdure` that is tested."""
    folder = tmp_path / "a project"
    package = folder / "src" / "cats"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    for name, text in (("train", TRAIN), ("unaware", UNAWARE), ("stubborn", STUBBORN)):
        (package / f"{name}.py").write_text(text)
    (package / "__init__.py").write_text("")
    (folder / ".gitignore").write_text("results/\n__pycache__/\n")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    bin_folder = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(SRC))
    monkeypatch.delenv("PYTHONHOME", raising=False)
    return folder
