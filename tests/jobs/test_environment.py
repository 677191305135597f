"""Jobs in environments that uv really makes, from a wheel on this machine's own disk."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from perdure.environments.lock import ensure_lock
from perdure.environments.sync import MARKER
from perdure.errors import EnvironmentFailed
from perdure.jobs.attach import attach
from perdure.jobs.folder import ENVIRONMENT_LOCK
from perdure.jobs.launch import JobRequest, explain, rerun, start, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord, State
from perdure.model.project import Project, Task
from perdure.model.settings import Settings
from tests.environments.conftest import wheel
from tests.jobs.projects import finished

PYPROJECT = """\
[project]
name = "cats"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["brought"]
[tool.perdure]
[tool.uv.sources]
brought = { path = "vendor/brought-VERSION-py3-none-any.whl" }
"""


def ask_for(root: Path, version: str) -> None:
    """Make the project depend on a version of a package that knows its version."""
    vendor = root / "vendor"
    vendor.mkdir(parents=True, exist_ok=True)
    name = f"brought-{version}-py3-none-any.whl"
    (vendor / name).write_bytes(wheel("brought", version, f"version = {version!r}"))
    (root / "pyproject.toml").write_text(PYPROJECT.replace("VERSION", version))


@pytest.fixture
def house(tmp_path: Path) -> Workspace:
    root = tmp_path / "my project"
    ask_for(root, "1.0")
    (root / "train.py").write_text("import brought, sys; print(brought.version, sys.prefix)")
    task = Task("train", ("python", "train.py"), retries=0)
    return Workspace(Project(root, "cats", "cats", {"train": task}), Settings())


def printed(workspace: Workspace, record: JobRecord) -> list[str]:
    assert finished(workspace, record).state is State.SUCCEEDED
    return (record.folder / "logs" / "000001.log").read_text().strip().split(" ", 1)


def test_a_job_has_the_environment_of_its_lock(house: Workspace) -> None:
    assert "not-locked" in explain(house, JobRequest("train"))
    record = submit(house, JobRequest("train"))
    lock = (house.project.root / "uv.lock").read_bytes()
    used = record.environment
    assert used.lock == hashlib.sha256(lock).hexdigest()
    assert (record.folder / ENVIRONMENT_LOCK).read_bytes() == lock
    assert used.python.count(".") == 2
    assert printed(house, record) == ["1.0", used.prefix]
    assert str(used.prefix) in explain(house, JobRequest("train"))
    assert attach(house, record, ["python", "-c", "import brought"]) == 0
    assert attach(house, record, ["sh", "-c", f'test "$VIRTUAL_ENV" = "{used.prefix}"']) == 0


def test_an_environment_that_is_gone_is_made_again(house: Workspace) -> None:
    record = submit(house, JobRequest("train"))
    assert record.environment.prefix is not None
    shutil.rmtree(record.environment.prefix)
    assert printed(house, rerun(house, record)) == ["1.0", record.environment.prefix]


def test_a_newer_lock_changes_nothing_of_what_was_submitted(house: Workspace) -> None:
    record = submit(house, JobRequest("train"))
    lock = (record.folder / ENVIRONMENT_LOCK).read_bytes()
    ask_for(house.project.root, "2.0")
    with pytest.raises(EnvironmentFailed, match="older than the dependencies") as caught:
        submit(house, JobRequest("train"))
    assert caught.value.hint == "perdure lock"
    ensure_lock(house.project, house.settings)
    assert printed(house, submit(house, JobRequest("train")))[0] == "2.0"
    assert record.environment.prefix is not None
    shutil.rmtree(record.environment.prefix)
    again = rerun(house, record)
    assert again.environment == record.environment
    assert (again.folder / ENVIRONMENT_LOCK).read_bytes() == lock
    assert printed(house, again) == ["1.0", record.environment.prefix]
    assert (Path(record.environment.prefix) / MARKER).exists()
    assert list(house.project.state.glob("restore-*")) == []


def test_without_its_lock_nobody_can_make_an_environment_again(house: Workspace) -> None:
    record = submit(house, JobRequest("train"))
    ask_for(house.project.root, "2.0")
    ensure_lock(house.project, house.settings)
    submit(house, JobRequest("train"))
    assert record.environment.prefix is not None
    shutil.rmtree(record.environment.prefix)
    (record.folder / ENVIRONMENT_LOCK).write_text("damaged")
    with pytest.raises(EnvironmentFailed, match="so is the copy of its lock"):
        start(house, record)


def test_a_project_without_dependencies_has_no_variant(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "cats"\n[tool.perdure]\n')
    task = Task("train", ("true",))
    workspace = Workspace(Project(tmp_path, "cats", "cats", {"train": task}), Settings())
    with pytest.raises(EnvironmentFailed, match="has no variant `cuda`"):
        submit(workspace, JobRequest("train", variant="cuda"))
    assert not (tmp_path / "results").exists()
