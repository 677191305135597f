import json
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments import sync
from perdure.environments.lock import LockInfo, ensure_lock
from perdure.environments.sync import (
    MARKER,
    choose_variant,
    ensure_environment,
    handle_of,
    is_complete,
    restore_environment,
)
from perdure.errors import ConflictError, EnvironmentFailed
from perdure.model.project import Environment, Project
from perdure.model.settings import Index, IndexFormat, Settings
from tests.environments.told import Told


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = (tmp_path / "yard").as_uri()
    return Settings(indexes={"yard": Index("yard", folder, IndexFormat.FLAT)})


def where(python: Path) -> str:
    argv = [str(python), "-c", "import toy, brought; print(toy.where)"]
    return subprocess.check_output(argv, text=True).strip()


def test_an_environment_holds_one_variant(project: Project, settings: Settings) -> None:
    told = Told()
    cpu = ensure_environment(project, settings, report=told)
    cuda = ensure_environment(project, settings, "cuda", report=told)
    assert (where(cpu.python), where(cuda.python)) == ("house", "yard")
    assert cpu.prefix == project.state / "environments" / f"{cpu.lock_digest[:16]}-cpu"
    assert cuda.prefix.name == f"{cuda.lock_digest[:16]}-cuda"
    assert json.loads((cpu.prefix / MARKER).read_text())["variant"] == "cpu"
    assert (cpu.prefix / "uv.lock").read_bytes() == (project.root / "uv.lock").read_bytes()
    assert "installing the environment (cpu) with uv" in told.messages
    # uv's list of packages is its own affair.
    assert not any(message.startswith("+") for message in told.messages)


def test_an_environment_that_is_there_costs_no_uv(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = ensure_environment(project, settings)
    monkeypatch.setattr(sync, "run_uv", None)
    assert ensure_environment(project, settings) == handle


def test_what_the_project_imports_is_compiled(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    handle = ensure_environment(project, settings)
    compiled = {file.parent.parent.name for file in handle.prefix.rglob("__init__.*.pyc")}
    assert {"brought", "toy"} <= compiled


def test_half_an_environment_is_made_again(project: Project, settings: Settings) -> None:
    handle = ensure_environment(project, settings)
    (handle.prefix / MARKER).unlink()
    next(handle.prefix.rglob("toy/__init__.py")).unlink()
    assert not is_complete(handle)
    assert where(ensure_environment(project, settings).python) == "house"


def test_an_environment_whose_python_is_gone_is_made_again(
    project: Project, settings: Settings
) -> None:
    handle = ensure_environment(project, settings)
    handle.python.unlink()
    handle.python.symlink_to("/nowhere/python")
    assert not is_complete(handle)
    assert where(ensure_environment(project, settings).python) == "house"


def test_a_failed_installation_is_not_taken_for_one(
    project: Project, settings: Settings, tmp_path: Path, wheels: Path
) -> None:
    ensure_environment(project, settings, "cuda")
    (tmp_path / "yard").rename(tmp_path / "away")
    next(wheels.glob("*.whl")).unlink()
    with pytest.raises(EnvironmentFailed, match="`uv sync` failed"):
        ensure_environment(project, settings, "cpu")
    handle = handle_of(project, ensure_lock(project, settings).digest, "cpu")
    assert not is_complete(handle)


def test_a_lock_that_changes_meanwhile_is_noticed(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meddle(*_: object, **__: object) -> None:
        with (project.root / "uv.lock").open("a") as lock:
            lock.write("# changed\n")

    monkeypatch.setattr(sync, "run_uv", meddle)
    with pytest.raises(ConflictError, match="was changed while it was being installed"):
        ensure_environment(project, settings)


def test_two_at_once_install_once(project: Project, settings: Settings) -> None:
    reports = [Told(), Told()]
    threads = [
        threading.Thread(
            target=ensure_environment, args=(project, settings), kwargs={"report": told}
        )
        for told in reports
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    started = [
        message for told in reports for message in told.messages if "installing the" in message
    ]
    assert len(started) == 1
    assert is_complete(ensure_environment(project, settings))


def test_perdures_command_is_left_to_the_user(project: Project, settings: Settings) -> None:
    handle = ensure_environment(project, settings)
    command = handle.prefix / "bin" / "perdure"
    command.touch()
    sync._leave_command_out(handle.prefix)
    assert not command.exists()
    command.touch()
    next(handle.prefix.glob("lib/python*/site-packages/toy")).with_name("msgspec").mkdir()
    sync._leave_command_out(handle.prefix)
    assert command.exists()


def test_an_earlier_lock_can_be_installed_again(
    project: Project, settings: Settings, tmp_path: Path
) -> None:
    before = ensure_environment(project, settings)
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "uv.lock"):
        (source / name).write_bytes((project.root / name).read_bytes())
    file = project.root / "pyproject.toml"
    file.write_text(file.read_text().replace('["brought"]', "[]"))
    with pytest.raises(EnvironmentFailed, match="older than the dependencies"):
        ensure_environment(project, settings)
    ensure_lock(project, settings)
    after = ensure_environment(project, settings)
    assert after.prefix != before.prefix
    (before.prefix / MARKER).unlink()
    lock = LockInfo(before.lock_digest, source / "uv.lock", "cpu")
    assert restore_environment(project, settings, lock, source) == before
    assert where(before.python) == "house"


def test_the_variant_is_the_one_asked_for_the_users_or_the_projects() -> None:
    project = Project(Path("/p"), "cats", "cats", {}, Environment(("cpu", "cuda"), "cpu"))
    assert choose_variant(project, Settings(), None) == "cpu"
    assert choose_variant(project, Settings(default_variant="cuda"), None) == "cuda"
    assert choose_variant(project, Settings(default_variant="cuda"), "cpu") == "cpu"
    assert choose_variant(replace(project, environment=Environment()), Settings(), None) is None


def test_a_variant_that_does_not_exist_is_told() -> None:
    project = Project(Path("/p"), "cats", "cats", {}, Environment(("cpu", "cuda"), "cpu"))
    with pytest.raises(EnvironmentFailed, match="no variant `cudaa`") as caught:
        choose_variant(project, Settings(), "cudaa")
    assert caught.value.hint == "--variant cuda"
    with pytest.raises(EnvironmentFailed):
        choose_variant(replace(project, environment=Environment()), Settings(), "cpu")
