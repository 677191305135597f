"""Rootless podman, as an ordinary user has it: build, run, interrupt, resume, kill, develop."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import Ended
from tests.engines.engines import RealEngine
from tests.engines.user import OrdinaryUser
from tests.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.install, pytest.mark.timeout(600)]

PYPROJECT = """\
[project]
name = "rootless-cats"
version = "0"
requires-python = "==3.11.*"
dependencies = ["six==1.17.0"]

[tool.perdure]
format = 1
package = "cats"

[tool.perdure.tasks]
count = "python -m cats.count"
"""
COUNT = """\
import os, pathlib, signal, sys, time

def leave(*_):
    print("asked")
    sys.exit(75)

signal.signal(signal.SIGTERM, leave)
print("begun", os.getuid())
pathlib.Path(os.environ["PERDURE_RUN_DIR"], "outputs", "mine").touch()
while len(sys.argv) == 1:
    time.sleep(0.05)
"""


class House:
    """A user with podman as their engine, and a project."""

    def __init__(self, user: OrdinaryUser, engine: RealEngine) -> None:
        self.user = user
        self.engine = engine
        self.project = user.home / "a 'project'"
        source = self.project / "src" / "cats"
        source.mkdir(parents=True)
        (self.project / "pyproject.toml").write_text(PYPROJECT)
        (self.project / ".gitignore").write_text("results/\ndata/\n")
        (source / "__init__.py").touch()
        (source / "count.py").write_text(COUNT)
        settings = user.home / ".config" / "perdure"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "config.toml").write_text('[docker]\nprogram = "podman"\n')
        user.give(user.home)

    def perdure(self, *words: str) -> Ended:
        """Return how `perdure WORDS...` ended; it did well."""
        ended = self.user.perdure(*words, cwd=self.project, env=dict(self.engine.variables))
        assert ended.code == 0, ended
        return ended

    def wait_for(self, job: str, text: str) -> None:
        """Return once a job has said something."""
        until(lambda: text in self.perdure("logs", job).out)


@pytest.fixture
def house(as_user: OrdinaryUser, rootless_podman: RealEngine) -> House:
    """Return an ordinary user's house."""
    return House(as_user, rootless_podman)


def test_rootless_podman_is_an_engine_like_the_others(house: House) -> None:
    assert "podman" in house.perdure("doctor").out
    house.perdure("run", "--on", "docker", "--name", "a", "-d", "count")
    house.wait_for("a", f"begun {house.user.user_id}")
    house.perdure("interrupt", "a")
    house.wait_for("a", "asked")
    house.perdure("resume", "-d", "a")
    house.perdure("kill", "a")
    assert "CANCELLED" in house.perdure("ps", "-a").out
    ended = house.perdure("run", "--on", "docker", "count", "once")
    assert "building" not in ended.err
    house.perdure("up")
    said = house.perdure("shell", "--", "python", "-c", "import cats, os; print(os.getuid())")
    assert said.out.split() == [str(house.user.user_id)]
    house.perdure("down")
    assert house.user.of_others(house.project) == []
    assert Path(house.project, "results", "a", "outputs", "mine").exists()
