import hashlib
from pathlib import Path

import pytest

from perdure.environments.lock import (
    ensure_lock,
    lock_digest,
)
from perdure.errors import EnvironmentFailed
from perdure.model.project import Project
from perdure.model.settings import Index, IndexFormat, Settings
from tests.environments.conftest import MakeWheel
from tests.environments.told import Told


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = (tmp_path / "yard").as_uri()
    return Settings(indexes={"yard": Index("yard", folder, IndexFormat.FLAT)})


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
