"""`perdure lock`, where no container engine answers and where one does."""

import json
from pathlib import Path

import pytest

from tests.cli.command import Ended, is_one_error, perdure
from tests.engines.engines import RealEngine

NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


def lock(project: Path, *words: str) -> Ended:
    return perdure("lock", *words, cwd=project, env=NO_ENGINE)


def declare(project: Path, line: str) -> None:
    file = project / "pyproject.toml"
    file.write_text(file.read_text().replace('version = "0"', f'version = "0"\n{line}', 1))


def test_lock_says_where_the_locks_are(project: Path) -> None:
    locked = lock(project)
    assert locked.code == 0, locked.err
    names = [line.split("  ")[0] for line in locked.out.splitlines()]
    assert names == [str(project / "uv.lock"), str(project / "perdure.lock")]
    assert "the image was not locked, `local` needs none" in locked.err
    told = json.loads(lock(project, "--json").out)
    assert told["path"] == str(project / "uv.lock")
    assert f"{told['path']}  {told['digest']}" in locked.out
    assert f"{told['pinned']['path']}  {told['pinned']['digest']}" in locked.out
    assert told["pinned"]["base"] is None


def test_lock_tells_what_changed(project: Path, tmp_path: Path) -> None:
    lock(project)
    wheel(tmp_path / "wheels")
    declare(project, 'dependencies = ["toy"]')
    links = {**NO_ENGINE, "UV_FIND_LINKS": str(tmp_path / "wheels"), "UV_NO_INDEX": "1"}
    changed = perdure("lock", cwd=project, env=links)
    assert "added pip toy 1.0" in changed.err
    assert "toy" not in changed.out
    assert "pip" not in perdure("lock", cwd=project, env=links).err


def test_lock_check_writes_nothing_and_fails_where_the_lock_is_old(project: Path) -> None:
    is_one_error(lock(project, "--check"), 4, "is not locked yet", "perdure lock")
    assert not (project / "perdure.lock").exists()
    lock(project)
    before = (project / "perdure.lock").read_bytes()
    checked = lock(project, "--check")
    assert checked.code == 0, checked.err
    assert "has no image" in checked.err
    assert len(checked.out.splitlines()) == 2
    declare(project, 'requires-python = ">=3.11"')
    is_one_error(lock(project, "--check"), 4, "the lock is older than", "perdure lock")
    assert (project / "perdure.lock").read_bytes() == before
    lock(project)
    assert lock(project, "--check").code == 0


def test_lock_again_begins_anew_where_the_lock_is_damaged(project: Path) -> None:
    lock(project)
    file = project / "perdure.lock"
    before = file.read_bytes()
    file.write_text("<<<<<<< HEAD\n")
    is_one_error(lock(project), 4, "is damaged", "perdure lock --again")
    assert lock(project, "--again").code == 0
    assert file.read_bytes() == before


def test_check_and_again_exclude_each_other(project: Path) -> None:
    assert lock(project, "--check", "--again").code == 2


def test_a_package_that_there_is_not_is_one_error(project: Path) -> None:
    declare(project, 'dependencies = ["nunpy"]')
    env = {**NO_ENGINE, "UV_NO_INDEX": "1"}
    ended = perdure("lock", cwd=project, env=env)
    is_one_error(ended, 4, "no package `nunpy`", "`project.dependencies`", "`numpy`")


def test_a_base_that_cannot_be_had_leaves_local_work_alone(
    project: Path, old_engine: RealEngine
) -> None:
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.perdure.environment]\nbase = "127.0.0.1:9/nobody/here:1"\n')
    ended = perdure("lock", cwd=project, env=old_engine.variables)
    is_one_error(ended, 4, "base image `127.0.0.1:9/nobody/here:1` cannot be had")
    assert perdure("run", "echo", cwd=project, env=old_engine.variables).code == 0


def wheel(folder: Path) -> None:
    from tests.environments.conftest import wheel as content

    folder.mkdir()
    (folder / "toy-1.0-py3-none-any.whl").write_bytes(content("toy", "1.0", ""))


@pytest.mark.parametrize("key", ["apt", "conda"])
def test_a_list_that_is_not_there_is_told_with_all_else(project: Path, key: str) -> None:
    value = '{ dev = "gone.txt" }' if key == "apt" else '"gone.txt"'
    with (project / "pyproject.toml").open("a") as file:
        file.write(f'[tool.perdure.environment]\n{key} = {value}\nbase = " "\n')
    ended = lock(project)
    assert ended.code == 2
    assert "there is no file `gone.txt`" in ended.err
    assert "environment.base" in ended.err
