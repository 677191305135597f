import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments import pinned
from perdure.environments.lock import require_lock
from perdure.environments.manifest import Manifest
from perdure.environments.pinned import (
    check_pinned,
    ensure_pinned,
    read_pinned,
    require_pinned,
)
from perdure.errors import EngineUnreachable, EnvironmentFailed, MissingProgram
from perdure.model.image import ImageLock, PythonSource, Tier
from perdure.model.project import Project
from perdure.model.settings import Docker, Settings
from tests.engines.engines import RealEngine
from tests.environments.told import Told

SETTINGS = Settings()


def with_environment(project: Project, **changes: object) -> Project:
    return replace(project, environment=replace(project.environment, **changes))  # type: ignore[arg-type]


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


def forbid_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_: object, **__: object) -> None:
        raise AssertionError("an engine was asked")

    monkeypatch.setattr(pinned, "find_engine", called)


def test_without_an_engine_the_python_part_is_locked(plain: Project, no_engine: None) -> None:
    told = Told()
    lock = ensure_pinned(plain, SETTINGS, report=told)
    assert lock == read_pinned(plain)
    assert lock.base is None
    assert dict(lock.tiers) == {"toy": Tier.MID}
    said = [each for each in told.messages if "image" in each]
    assert len(said) == 1
    assert "the image was not locked, `local` needs none: no container engine answers" in said[0]
    require_lock(plain, SETTINGS)
    with pytest.raises(EnvironmentFailed, match="has no image") as caught:
        check_pinned(plain, SETTINGS)
    assert caught.value.hint == "perdure lock"
    with pytest.raises(EngineUnreachable):
        require_pinned(plain, SETTINGS)


def test_without_a_client_too(plain: Project) -> None:
    told = Told()
    settings = Settings(docker=Docker(program="no-such-engine"))
    assert ensure_pinned(plain, settings, report=told).base is None
    assert "no container engine" in told.text
    with pytest.raises(MissingProgram):
        require_pinned(plain, settings)


def test_what_has_no_lock_says_so(plain: Project) -> None:
    with pytest.raises(EnvironmentFailed, match="`cats` is not locked yet"):
        check_pinned(plain, SETTINGS)
    with pytest.raises(EnvironmentFailed, match="no variant `cud`"):
        check_pinned(plain, Settings(default_variant="cud"))


def test_a_job_on_this_machine_asks_no_engine(
    plain: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_engines(monkeypatch)
    require_lock(plain, SETTINGS)
    require_lock(plain, SETTINGS)


def test_an_image_is_locked_kept_and_refused_when_it_is_old(
    plain: Project, modern_engine: RealEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = plain.root / "apt $(x).txt"
    apt.write_text("tree\n")
    project = with_environment(plain, apt={"runtime": apt})
    lock = require_pinned(project, SETTINGS)
    assert_locked(lock)
    check_pinned(project, SETTINGS)
    with monkeypatch.context() as forbidding:
        forbid_engines(forbidding)
        assert_kept_where_python_packages_change(project, lock)
        # What the image is made from does not change without being asked for either.
        apt.write_text("tree\njq\n")
        for refuse in (check_pinned, require_pinned, require_lock):
            with pytest.raises(EnvironmentFailed, match="older than what") as caught:
                refuse(project, SETTINGS)
            assert caught.value.hint == "perdure lock"
    # Where no engine answers, what no longer fits is left out, and local work goes on.
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert ensure_pinned(project, SETTINGS).base is None
    require_lock(project, SETTINGS)


def assert_locked(lock: ImageLock) -> None:
    assert lock.base is not None
    assert lock.base.release == "bookworm"
    assert lock.python_source is PythonSource.BASE
    assert lock.python.startswith("3.11.")
    names = {stage: {each.name for each in packages} for stage, packages in lock.apt.items()}
    assert "tree" in names["runtime"]
    assert {"git", "openssh-client", "less"} <= names["dev"]
    assert "tree" not in names["dev"]


def assert_kept_where_python_packages_change(project: Project, lock: ImageLock) -> None:
    assert ensure_pinned(project, SETTINGS) == lock
    file = project.root / "pyproject.toml"
    file.write_text(file.read_text().replace('["toy"]', "[]"))
    fewer = ensure_pinned(project, SETTINGS)
    assert (fewer.base, fewer.apt, dict(fewer.tiers)) == (lock.base, lock.apt, {})


def test_a_package_that_debian_has_not_is_named_and_leaves_local_work_alone(
    plain: Project, old_engine: RealEngine
) -> None:
    project = with_environment(plain, apt={"dev": ("htopp",)})
    with pytest.raises(
        EnvironmentFailed, match=r"no package `htopp` \(asked for in `apt.dev`\)"
    ) as caught:
        ensure_pinned(project, SETTINGS)
    assert "`htop`" in (caught.value.hint or "")
    require_lock(project, SETTINGS)


def test_a_python_that_neither_base_nor_debian_has_comes_from_uv(plain: Project) -> None:
    manifest = Manifest.of({"project": {"requires-python": ">=3.11"}})
    project = with_environment(plain, python="3.12")
    source, version = pinned._python(project, manifest, "linux/amd64", ("3.11.2", "3.11.2"))
    assert source is PythonSource.UV
    assert version.startswith("3.12.")
    assert version.count(".") == 2
    project = with_environment(plain, python="3.99")
    with pytest.raises(EnvironmentFailed, match=r'no Python fits `python = "3\.99"`'):
        pinned._python(project, manifest, "linux/amd64", (None, None))


def test_origins_are_told_as_people_know_them(plain: Project, tmp_path: Path) -> None:
    declared = {
        "build": plain.root / "requirements/apt-build.txt",
        "runtime": ("git",),
        "dev": tmp_path / "elsewhere.txt",
    }
    assert pinned._origins(with_environment(plain, apt=declared)) == {
        "build": "`requirements/apt-build.txt`",
        "runtime": "`apt.runtime`",
        "dev": "`apt.dev`",
    }


def test_a_project_elsewhere_has_the_same_lock(
    plain: Project, no_engine: None, tmp_path: Path
) -> None:
    ensure_pinned(plain, SETTINGS)
    other = tmp_path / "cloned"
    shutil.copytree(plain.root, other, ignore=shutil.ignore_patterns(".perdure"))
    require_lock(replace(plain, root=other), SETTINGS)
