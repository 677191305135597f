"""TensorBoard itself, over metrics that are written while it looks."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.runtime.metrics import Segment, read_rows
from tests.cli.command import perdure
from tests.waiting import until

pytestmark = [pytest.mark.install, pytest.mark.timeout(300)]

PYPROJECT = """\
[project]
name = "cats"
version = "0"
[tool.perdure]
format = 1
package = "cats"
"""


class Board:
    def __init__(self, project: Path) -> None:
        self.project = project
        done = perdure("tensorboard", "--no-browser", cwd=project)
        assert done.code == 0, done.err
        address, _, self._token = done.out.strip().partition("/?token=")
        self._address = address

    def points(self, job: str, tag: str) -> list[tuple[int, float]]:
        """Return the steps and values of a curve, none where there is no curve yet."""
        query = urllib.parse.urlencode({"tag": tag, "run": job})
        address = f"{self._address}/data/plugin/scalars/scalars?{query}"
        headers = {"Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(address, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return [(int(step), value) for _, step, value in json.loads(answer.read())]
        except urllib.error.HTTPError:
            return []

    def await_points(self, job: str, wanted: list[tuple[int, float]]) -> None:
        until(
            lambda: self.points(job, "loss") == wanted,
            told=lambda: f"{self.points(job, 'loss')} are not {wanted}",
            every_s=0.5,
        )


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "src" / "cats").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    yield tmp_path
    perdure("services", "--stop", "all", cwd=tmp_path)


def counted(folder: Path) -> list[tuple[int, float]]:
    return [(int(str(row["step"])), float(str(row["loss"]))) for row in read_rows(str(folder))]


def test_each_step_has_one_point_whatever_was_interrupted(project: Path) -> None:
    job = project / "results" / "brave-otter"
    first = Segment(str(job), 1, [], 0)
    for step in range(3):
        first.log({"step": step, "loss": step / 2, "phase": "train"})
    board = Board(project)
    board.await_points("brave-otter", [(0, 0.0), (1, 0.5), (2, 1.0)])
    saved = first.chain()
    for step in (3, 4):
        first.log({"step": step, "loss": 100.0})
    board.await_points("brave-otter", counted(job))
    second = Segment(str(job), 2, saved, 3)
    for step in (3, 4, 5):
        second.log({"step": step, "loss": step / 2})
    board.await_points("brave-otter", [(step, step / 2) for step in range(6)])
    # A job that begins later, and a service that begins again.
    other = project / "results" / "calm-crane"
    Segment(str(other), 1, [], 0).log({"step": 7, "loss": 0.25})
    board.await_points("calm-crane", [(7, 0.25)])
    perdure("tensorboard", "--stop", cwd=project)
    Board(project).await_points("brave-otter", [(step, step / 2) for step in range(6)])
