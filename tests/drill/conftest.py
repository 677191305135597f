"""Small real trainings: the runtime in its own process, with nothing but the standard library."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdure.drill.play import Stage, thread_settings
from perdure.hosts import local

SRC = Path(__file__).resolve().parents[2] / "src"

#: Thirty steps in three epochs; FAULT is what a test plants into it.
TRAINING = """
import random
import perdure

run = perdure.start()
weights = {"w": 1.0}
run.track(weights=weights)
loader = run.loader(list(range(40)), batch_size=4, shuffle=True)
lost = 0.0
own = random.Random(1)
for epoch in run.epochs(3):
    for batch in loader:
        weights["w"] += 0.01 * random.random() * sum(batch)
        FAULT
        run.log(loss=weights["w"])
    for item in run.poll(range(5)):
        pass
    run.log(score=weights["w"] / 2)
"""

#: A project without dependencies: it runs on the machine's own Python.
PROJECT = """
[project]
name = "small"
version = "0"

[tool.perdure]
format = 1
package = "small"

[tool.perdure.tasks]
train = "python train.py"
"""


@dataclass(frozen=True)
class Here:
    """This machine as the site of a drill."""

    cwd: Path
    environment: Mapping[str, str]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout_s: float,
        on_line: Callable[[str], None],
    ) -> local.Completed:
        around, cwd = self.environment, self.cwd
        return local.run(
            argv, env=around, cwd=cwd, stdin=stdin, timeout_s=timeout_s, on_line=on_line
        )

    def seen(self, path: Path) -> str:
        return os.fspath(path)


SetStage = Callable[[str], Stage]


@pytest.fixture
def stage(tmp_path: Path) -> SetStage:
    """Return a function that sets the stage for a training's code."""

    def set_stage(code: str) -> Stage:
        cwd = tmp_path / "a project"
        cwd.mkdir()
        (cwd / "train.py").write_text(code)
        folder = tmp_path / "drill $(x)"
        folder.mkdir()
        environment = {**os.environ, **thread_settings(2), "PYTHONPATH": os.fspath(SRC)}
        site = Here(cwd, environment)
        return Stage(sys.executable, ("python", "train.py"), cwd, site, folder, seed=3, lanes=2)

    return set_stage
