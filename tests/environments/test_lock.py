import threading
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments import resolve as resolving
from perdure.environments.lock import (
    check_lock,
    ensure_lock,
    lock_digest,
    lock_packages,
    require_lock,
)
from perdure.environments.lockfile import read_pinned, write_pinned
from perdure.errors import EnvironmentFailed, StorageError, UsageError
from perdure.model.image import Base, Tier
from perdure.model.project import Project
from perdure.model.settings import Index, IndexFormat, Settings
from tests.environments.conftest import MakeWheel, declare
from tests.environments.told import Told


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = (tmp_path / "yard").as_uri()
    return Settings(indexes={"yard": Index("yard", folder, IndexFormat.FLAT)})


def forbid_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_: object, **__: object) -> None:
        raise AssertionError("uv was called")

    monkeypatch.setattr(resolving, "run_uv", called)


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


def test_a_lock_that_is_gone_is_made_again(project: Project, settings: Settings) -> None:
    before = require_lock(project, settings)
    pinned = (project.root / "perdure.lock").read_bytes()
    (project.root / "perdure.lock").unlink()
    assert require_lock(project, settings) == before
    before.path.unlink()
    assert require_lock(project, settings) == before
    assert (project.root / "perdure.lock").read_bytes() == pinned


def test_a_lock_that_is_older_than_its_declarations_is_refused(
    project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_lock(project) is None
    before = require_lock(project, settings)
    file = project.root / "pyproject.toml"
    file.write_text(file.read_text().replace('["brought"]', "[]"))
    with monkeypatch.context() as forbidding:
        forbid_uv(forbidding)
        with pytest.raises(EnvironmentFailed, match="older than the dependencies") as caught:
            require_lock(project, settings)
        assert caught.value.hint == "perdure lock"
    assert lock_digest(project) == before.digest
    after = ensure_lock(project, settings)
    assert require_lock(project, settings) == after != before


def test_a_uv_lock_that_perdure_did_not_make_is_refused(
    project: Project, settings: Settings
) -> None:
    ensure_lock(project, settings)
    with (project.root / "uv.lock").open("a") as lock:
        lock.write("\n# by hand\n")
    with pytest.raises(EnvironmentFailed, match=r"not the one that `perdure\.lock` was made with"):
        require_lock(project, settings)
    ensure_lock(project, settings)
    require_lock(project, settings)


def test_an_image_that_is_out_of_date_is_refused_until_it_is_dropped(
    project: Project, settings: Settings
) -> None:
    """`perdure lock` brings it up to date; where no engine answers, it leaves it out."""
    lock = lock_packages(project, settings)
    write_pinned(project, replace(lock, image="0" * 64))
    with pytest.raises(EnvironmentFailed, match="the base, Python, Debian or conda") as caught:
        require_lock(project, settings)
    assert caught.value.hint == "perdure lock"
    write_pinned(project, lock)
    require_lock(project, settings)


def test_what_is_known_of_images_outlives_a_change_of_packages(
    project: Project, settings: Settings
) -> None:
    base = Base("debian:12", "debian:12", "0" * 64, "bookworm", "3.11.2")
    lock = replace(lock_packages(project, settings), base=base, image="1" * 64, python="3.11.2")
    write_pinned(project, lock)
    file = project.root / "pyproject.toml"
    file.write_text(file.read_text().replace('["brought"]', "[]"))
    after = lock_packages(project, settings)
    assert (after.base, after.image, after.python) == (base, "1" * 64, "3.11.2")
    assert "brought" not in after.tiers
    assert after == read_pinned(project)


def test_a_new_package_lands_in_the_lightest_tier(project: Project, settings: Settings) -> None:
    lock = lock_packages(project, settings)
    assert dict(lock.tiers) == {"brought": Tier.LIGHT, "toy": Tier.MID}
    write_pinned(project, replace(lock, tiers={"brought": Tier.HEAVY}))
    file = project.root / "pyproject.toml"
    file.write_text(file.read_text().replace('version = "0.1.0"', 'version = "0.2.0"'))
    tiers = lock_packages(project, settings).tiers
    assert dict(tiers) == {"brought": Tier.HEAVY, "toy": Tier.LIGHT}
    again = lock_packages(project, settings, refresh=True)
    assert dict(again.tiers) == {"brought": Tier.LIGHT, "toy": Tier.MID}


def test_a_damaged_lock_is_told_and_can_be_made_anew(project: Project, settings: Settings) -> None:
    before = lock_packages(project, settings)
    (project.root / "perdure.lock").write_text("<<<<<<< HEAD\n")
    with pytest.raises(EnvironmentFailed, match="damaged"):
        require_lock(project, settings)
    with pytest.raises(EnvironmentFailed, match="damaged"):
        lock_packages(project, settings)
    assert lock_packages(project, settings, refresh=True) == before


def test_a_new_version_is_taken_only_when_asked_for(
    plain: Project, make_wheel: MakeWheel, wheels: Path
) -> None:
    ensure_lock(plain, Settings())
    make_wheel(wheels, "toy", "2.0")
    make_wheel(wheels, "other", "1.0")
    declare(plain, '["toy", "other"]')
    text = ensure_lock(plain, Settings()).path.read_text()
    assert 'name = "other"\nversion = "1.0"' in text
    assert 'name = "toy"\nversion = "1.0+house"' in text
    lock_packages(plain, Settings(), refresh=True)
    assert 'name = "toy"\nversion = "2.0"' in (plain.root / "uv.lock").read_text()


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
