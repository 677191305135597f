import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments import lock as locks
from perdure.environments.lock import ensure_lock, lock_digest, relock
from perdure.errors import EnvironmentFailed, StorageError, UsageError
from perdure.model.project import Project
from perdure.model.settings import Index, IndexFormat, Settings
from tests.environments.conftest import MakeWheel
from tests.environments.told import Told


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = (tmp_path / "yard").as_uri()
    return Settings(indexes={"yard": Index("yard", folder, IndexFormat.FLAT)})


def forbid_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_: object, **__: object) -> None:
        raise AssertionError("uv was called")

    monkeypatch.setattr(locks, "run_uv", called)


def test_indexes_are_replaced_by_the_users_and_by_the_machines_folder(
    project: Project, settings: Settings, wheels: Path
) -> None:
    told = Told()
    made = ensure_lock(project, settings, report=told)
    text = made.path.read_text()
    assert made.path == project.root / "uv.lock"
    assert made.digest == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert made.variant == "cpu"
    assert 'version = "1.0+house"' in text
    assert 'version = "1.0+yard"' in text
    assert (
        f"index `house` is replaced by a folder of wheels of this machine: {wheels.as_uri()}"
        in (told.messages)
    )
    assert "`yard` is replaced" not in told.text
    assert "warning: uv.lock names folders of this machine" in told.text
    assert ".invalid" not in text
    # Paths begin at the project, not at the copy that was locked.
    assert 'source = { path = "vendor/brought-1.0-py3-none-any.whl" }' in text
    assert ".perdure" not in text
    assert [each.name for each in project.state.glob("lock-*")] == []


def test_a_lock_that_fits_costs_no_uv(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ensure_lock(project, settings)
    forbid_uv(monkeypatch)
    assert ensure_lock(project, settings) == before
    # A task more is no dependency more; a folder that only pip knew may be unknown by now.
    file = project.root / "pyproject.toml"
    file.write_text(file.read_text() + "[tool.perdure.tasks]\ntrain = 'x'\n")
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert ensure_lock(project, settings) == before


def test_a_lock_that_no_longer_fits_is_made_again(project: Project, settings: Settings) -> None:
    before = ensure_lock(project, settings)
    file = project.root / "pyproject.toml"
    file.write_text(file.read_text().replace('["brought"]', "[]"))
    after = ensure_lock(project, settings)
    assert after.digest != before.digest
    assert 'name = "brought"' not in after.path.read_text().split("[package.metadata]")[0]


def test_a_lock_that_was_changed_or_torn_is_mended(project: Project, settings: Settings) -> None:
    before = ensure_lock(project, settings)
    (project.state / "lock.json").write_text('{"wanted": ')
    assert ensure_lock(project, settings) == before
    before.path.unlink()
    assert ensure_lock(project, settings).digest == before.digest
    assert relock(project, settings).digest == before.digest


def test_a_project_without_replacements_is_locked_where_it_is(
    tmp_path: Path, project: Project
) -> None:
    file = project.root / "pyproject.toml"
    file.write_text('[project]\nname = "cats"\nversion = "1"\nrequires-python = ">=3.11"\n')
    told = Told()
    ensure_lock(project, Settings(), report=told)
    assert "replaced" not in told.text
    assert "warning" not in told.text
    assert lock_digest(project) is not None


def test_a_path_outside_the_project_stays_relative_to_it(
    project: Project, settings: Settings, make_wheel: MakeWheel
) -> None:
    make_wheel(project.root.parent / "near", "brought")
    file = project.root / "pyproject.toml"
    file.write_text(file.read_text().replace("vendor/", "../near/"))
    text = ensure_lock(project, settings).path.read_text()
    assert 'source = { path = "../near/brought-1.0-py3-none-any.whl" }' in text


def test_what_uv_complains_of_is_shown_without_passwords(project: Project) -> None:
    index = Index("yard", "https://me:secret@yard.invalid/simple", IndexFormat.SIMPLE)
    with pytest.raises(EnvironmentFailed, match="`uv lock` failed") as caught:
        ensure_lock(project, Settings(indexes={"yard": index}), report=Told())
    assert "toy" in caught.value.message
    assert "secret" not in caught.value.message
    assert lock_digest(project) is None


def test_a_lock_from_before_is_kept_when_uv_fails(project: Project, settings: Settings) -> None:
    before = ensure_lock(project, settings)
    file = project.root / "pyproject.toml"
    file.write_text(file.read_text().replace('["brought"]', '["brought", "toy==9"]'))
    with pytest.raises(EnvironmentFailed):
        ensure_lock(project, settings)
    assert lock_digest(project) == before.digest


def test_a_broken_or_missing_pyproject_is_told(project: Project) -> None:
    file = project.root / "pyproject.toml"
    file.write_text("[project\n")
    with pytest.raises(UsageError, match="not valid TOML"):
        ensure_lock(project, Settings())
    file.unlink()
    with pytest.raises(StorageError, match="cannot read"):
        ensure_lock(project, Settings())


def test_a_folder_that_cannot_be_written_is_told(project: Project, settings: Settings) -> None:
    project.state.write_text("a file is in the way")
    with pytest.raises(StorageError, match=r"\.perdure"):
        ensure_lock(project, settings)


def test_two_at_once_make_one_lock(project: Project, settings: Settings) -> None:
    made: list[str] = []
    reports = [Told(), Told()]

    def ensure(told: Told) -> None:
        made.append(ensure_lock(project, settings, report=told).digest)

    threads = [threading.Thread(target=ensure, args=(told,)) for told in reports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1
    assert sum("resolving the dependencies with uv" in told.messages for told in reports) == 1


def test_the_users_variant_is_the_locks(project: Project, settings: Settings) -> None:
    assert ensure_lock(project, replace(settings, default_variant="cuda")).variant == "cuda"
