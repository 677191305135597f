"""What the doctor says of real engines, and of whose files containers make."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from perdure.doctor import container, owner
from perdure.doctor.examine import examine
from perdure.doctor.finding import Finding, Verdict
from perdure.doctor.surroundings import look_around
from tests.cli.command import perdure
from tests.cli.terminal import on_terminal
from tests.engines.engines import RealEngine
from tests.engines.user import OrdinaryUser

PYPROJECT = (
    '[project]\nname = "cats"\nversion = "0"\n[tool.perdure]\nformat = 1\npackage = "cats"\n'
)
USER = 1000


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project that belongs to an ordinary user."""
    root = tmp_path / 'a "project", $(x) é'
    (root / ".perdure").mkdir(parents=True)
    (root / "results").mkdir()
    (root / "pyproject.toml").write_text(PYPROJECT)
    if os.getuid() == 0:
        for path in (root, *root.iterdir()):
            os.chown(path, USER, USER)
    return root


def found_in(root: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(root)}


def test_an_engine_is_told_from_the_other(engine: RealEngine, project: Path) -> None:
    found = found_in(project)
    assert found["engine"].verdict is Verdict.OK
    assert ("20.10" if engine.name == "old" else "26.1") in found["engine"].seen
    store = "classic" if engine.name == "old" else "containerd"
    assert found["image store"].seen.startswith(store)
    assert found["buildkit"].verdict is Verdict.OK
    assert str(engine.data) in found["disk: engine"].seen
    assert found["compose"].verdict is (Verdict.WARNING if engine.name == "old" else Verdict.OK)


def test_a_file_of_a_container_is_tried(engine: RealEngine, project: Path) -> None:
    found = found_in(project)["files of containers"]
    assert found.verdict is Verdict.OK
    assert "as tried in a container" in found.seen
    assert engine.docker("ps", "-aq", "--filter", "name=perdure-doctor") == ""
    assert list((project / ".perdure").iterdir()) == []


def test_nothing_is_pulled(modern_engine: RealEngine, project: Path) -> None:
    around = look_around(project)
    assert around.seen.engine is not None
    made = owner.make_file(around.seen.engine, "nobody/has:this", project, (USER, USER))
    assert isinstance(made, str)
    assert "nobody/has" in made
    assert owner.judge_owner("x", made, (USER, USER)).verdict is Verdict.PROBLEM


def test_what_belongs_to_somebody_else_is_a_problem() -> None:
    found = owner.judge_owner("x", (100_999, 100_999), (USER, USER))
    assert found.verdict is Verdict.PROBLEM
    assert "100999" in found.seen
    assert owner.judge_owner("x", (USER, USER), (USER, USER)).verdict is Verdict.OK


def test_an_image_to_try_with() -> None:
    listed = ["perdure/cats:runtime", "lab/tool:1", "<none>:<none>", "docker.io/library/debian:12"]
    assert owner.choose_image(listed, "lab/tool:1") == "lab/tool:1"
    assert owner.choose_image(listed, "other:1") == "docker.io/library/debian:12"
    assert owner.choose_image(listed[:3], "other:1") is None
    assert owner.choose_image(["busybox:<none>"], "other:1") is None


def test_root_is_told_when_there_is_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    if os.getuid() != 0:
        pytest.skip("this is about root")
    around = look_around(tmp_path, {**os.environ, "DOCKER_HOST": "unix:///nowhere"})
    (found,) = owner.user(around)
    assert found.verdict is Verdict.WARNING
    assert "user_id" in found.remedy


def test_an_ordinary_user_has_no_problems(engine: RealEngine, as_user: OrdinaryUser) -> None:
    root = as_user.folder / 'their "project", é'
    root.mkdir()
    (root / "pyproject.toml").write_text(PYPROJECT)
    as_user.give(root)
    environ = as_user.leading_to(engine)
    ended = as_user.perdure("doctor", "--json", cwd=root, env=environ)
    assert ended.code == 0, ended.err
    found = {each["name"]: each for each in json.loads(ended.out)["findings"]}
    assert found["user"]["seen"] == f"{as_user.user_id}:{as_user.group_id}"
    assert "as tried in a container" in found["files of containers"]["seen"]
    # What is looked at stays as it was: nothing is made in the project.
    assert [path.name for path in root.iterdir()] == ["pyproject.toml"]


def test_engines_that_map_users() -> None:
    from perdure.doctor.surroundings import EngineSeen

    assert not container.remapped(EngineSeen(info={"SecurityOptions": ["name=seccomp"]}))
    assert container.remapped(EngineSeen(info={"SecurityOptions": ["name=userns"]}))
    assert container.graph_folder(EngineSeen(info={"store": {"graphRoot": "/x"}})) == "/x"
    assert container.graph_folder(EngineSeen()) is None


def test_the_verb_with_an_engine_that_is_not_there(tmp_path: Path) -> None:
    away = {"DOCKER_HOST": "unix:///nowhere"}
    ended = perdure("doctor", cwd=tmp_path, env=away)
    assert ended.code == 1
    assert "problem: engine" in ended.out
    assert "  remedy: " in ended.out
    assert "`perdure run --on local` works" in ended.err
    told = json.loads(perdure("doctor", "--json", cwd=tmp_path, env=away).out)
    assert told["problems"] == 1
    assert {"name", "verdict", "seen", "remedy"} == set(told["findings"][0])


def test_a_narrow_terminal_loses_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/that/is/a/rather/long/name/of/a/socket")
    monkeypatch.setenv("NO_COLOR", "1")
    with on_terminal("doctor", cwd=tmp_path, columns=60) as terminal:
        assert terminal.end() == 1
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", terminal.text)
    rows = [line for line in text.splitlines() if line.startswith("engine")]
    assert [row.split()[1] for row in rows] == ["problem"]
    assert all(len(row.rstrip()) <= 60 for row in rows)


def test_the_verb_without_problems(modern_engine: RealEngine, project: Path) -> None:
    ended = perdure("doctor", cwd=project)
    assert ended.code == 0, ended.out
    assert "\x1b" not in ended.out
