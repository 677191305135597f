"""A project whose build backend has to run, in a container that has none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.development.lifecycle import make
from perdure.development.standing import State, look
from perdure.development.wishes import NONE
from tests.development.yard import Yard, make_yard
from tests.engines.engines import RealEngine

COMPILED = """\
[build-system]
requires = ["meson-python"]
build-backend = "mesonpy; rm -rf $HOME"
[project]
name = "cats"
version = "0"
"""


@pytest.fixture
def yard(old_engine: RealEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """Return a project in an image that has neither uv nor a backend."""
    yield from make_yard(old_engine, tmp_path, monkeypatch)


def test_a_backend_that_cannot_be_had_is_told_and_is_no_error(yard: Yard) -> None:
    (yard.session.project.root / "pyproject.toml").write_text(COMPILED)
    said: list[str] = []
    make(yard.session, NONE, look(yard.session), report=lambda message, **_: said.append(message))
    assert look(yard.session).state is State.RUNNING
    (warning,) = [each for each in said if each.startswith("warning")]
    assert "can be imported, and is not installed: `mesonpy; rm -rf $HOME` did not run" in warning
    assert "uv: not found" in warning
    assert "perdure shell -- uv pip install --no-deps --editable ." in warning
    assert (yard.session.project.state / "home" / ".bashrc").exists()


def test_nothing_runs_where_nothing_has_to(yard: Yard) -> None:
    said: list[str] = []
    make(yard.session, NONE, look(yard.session), report=lambda message, **_: said.append(message))
    assert said == ["starting the container"]
