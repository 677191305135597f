"""The folder an image is built in: what is in it, and that no content has another's time."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import EnvironmentFailed, StorageError
from perdure.images import context, uv_binary
from perdure.images.context import stage_context
from perdure.images.recipe import Recipe, file_digest, make_recipe, tiers_of
from perdure.images.uv_binary import this_platform, uv_for
from perdure.model.image import ImageLock, ImageUser, Requirement, Stage, Tier
from perdure.model.project import Environment, Project
from perdure.model.report import silent
from perdure.model.settings import Settings
from tests.images.recipes import GOMP, INICONFIG, RECIPE, SIX

HERE = replace(RECIPE, platform=this_platform())


def names(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def own(tmp_path: Path, content: str) -> Recipe:
    wheel = tmp_path / "own-1-py3-none-any.whl"
    wheel.write_text(content)
    return replace(HERE, tiers=tiers_of([Requirement("own", "1", (), file=wheel), SIX], {}))


def test_it_has_what_the_stage_needs_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "c d"
    recipe = replace(own(tmp_path, "x"), apt={"runtime": (GOMP,), "dev": (GOMP,)})
    stage_context(recipe, Stage.DEV, folder)
    dev = names(folder)
    (folder / "left" / "over").mkdir(parents=True)
    (folder / "left" / "over" / "x").touch()
    stage_context(recipe, Stage.RUNTIME, folder)
    runtime = names(folder)
    assert dev - runtime == {"apt-dev.txt", "apt-dev.sha256", "dev.txt"}
    assert {"Dockerfile", "light.txt", "uv/uv", "wheels/light/own-1-py3-none-any.whl"} < runtime
    assert "supervisor/perdure/runtime/supervisor/__main__.py" in runtime
    assert not (folder / "left").exists()
    assert os.access(folder / "uv" / "uv", os.X_OK)
    assert (folder / "apt-runtime.sha256").read_text() == f"{GOMP.sha256}  {GOMP.file}\n"


def test_what_has_not_changed_keeps_its_time_and_what_has_does_not(tmp_path: Path) -> None:
    folder, code = tmp_path / "context", tmp_path / "code"
    code.mkdir()
    (code / "a.py").write_text("cats")
    (code / "b.py").write_text("same")
    stage_context(own(tmp_path, "cats"), Stage.RUNTIME, folder, code)
    before = {name: (folder / name).stat().st_mtime_ns for name in names(folder)}
    (code / "a.py").write_text("dogs")
    os.utime(code / "a.py", (1, 1))
    os.utime(code / "b.py", (1, 1))
    light = replace(INICONFIG, version="9.9.9")
    more = own(tmp_path, "dogs")
    more = replace(more, tiers={Tier.LIGHT: (*more.tiers[Tier.LIGHT], light)})
    stage_context(more, Stage.RUNTIME, folder, code)
    changed = {n for n in names(folder) if (folder / n).stat().st_mtime_ns != before[n]}
    assert changed == {"light.txt", "code/a.py", "wheels/light/own-1-py3-none-any.whl"}


def test_a_snapshots_links_lead_to_the_containers_own_folders(tmp_path: Path) -> None:
    code = tmp_path / "code"
    (code / "sub").mkdir(parents=True)
    (code / "run.sh").write_text("x")
    (code / "run.sh").chmod(0o555)
    (code / "data").symlink_to(tmp_path / "elsewhere")
    (code / "sub" / "link").symlink_to("../run.sh")
    (code / "sub").chmod(0o555)
    folder = tmp_path / "context"
    for _ in range(2):
        stage_context(HERE, Stage.RUNTIME, folder, code)
    assert (folder / "code" / "data").readlink() == Path("/project/data")
    assert (folder / "code" / "results").readlink() == Path("/project/results")
    assert (folder / "code" / "sub" / "link").readlink() == Path("../run.sh")
    assert os.access(folder / "code" / "run.sh", os.X_OK)
    stage_context(HERE, Stage.RUNTIME, folder)
    assert not (folder / "code").exists()


def test_a_wheel_that_is_not_here_is_named(tmp_path: Path) -> None:
    recipe = own(tmp_path, "x")
    (tmp_path / "own-1-py3-none-any.whl").unlink()
    with pytest.raises(EnvironmentFailed, match="own-1-py3-none-any") as caught:
        stage_context(recipe, Stage.RUNTIME, tmp_path / "context")
    assert caught.value.hint == "perdure lock --again"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        stage_context(HERE, Stage.RUNTIME, tmp_path / "file" / "context")


def test_a_file_on_another_disk_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "another disk")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    recipe = own(tmp_path, "x")
    stage_context(recipe, Stage.RUNTIME, tmp_path / "context")
    copy = tmp_path / "context" / "wheels" / "light" / "own-1-py3-none-any.whl"
    assert copy.read_text() == "x"
    before = copy.stat().st_ino
    stage_context(recipe, Stage.RUNTIME, tmp_path / "context")
    assert copy.stat().st_ino == before


@pytest.mark.install
def test_uv_for_another_kind_of_machine_is_fetched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = next(each for each in ("linux/arm64", "linux/amd64") if each != this_platform())
    told: list[str] = []
    found = uv_for(other, HERE.uv, lambda message, **_: told.append(message))
    assert found.read_bytes()[:4] == b"\x7fELF"
    assert os.access(found, os.X_OK)
    assert uv_for(other, HERE.uv, silent) == found
    assert f"fetching uv {HERE.uv} for {other}" in told
    with pytest.raises(EnvironmentFailed, match="no uv to build an image for `linux/s390x`"):
        uv_binary.uv_for("linux/s390x", HERE.uv, silent)


def test_a_lock_without_an_image_makes_no_recipe(tmp_path: Path) -> None:
    lock = ImageLock("", "", {})
    project = Project(tmp_path, "cats", "cats", {}, Environment())
    with pytest.raises(EnvironmentFailed, match="names no base image") as caught:
        make_recipe(project, Settings(), lock, None, ImageUser(1, 1))
    assert caught.value.hint == "perdure lock"


def test_packages_go_where_the_lock_says_and_new_ones_last(tmp_path: Path) -> None:
    (tmp_path / "w.whl").write_bytes(b"wheel")
    local = Requirement("b", "1", (), file=tmp_path / "w.whl")
    tiers = tiers_of([SIX, local, INICONFIG], {"six": Tier.HEAVY})
    assert [each.name for each in tiers[Tier.HEAVY]] == ["six"]
    assert [each.name for each in tiers[Tier.LIGHT]] == ["b", "iniconfig"]
    assert tiers[Tier.LIGHT][0].hashes == (f"sha256:{file_digest(tmp_path / 'w.whl')}",)
    assert context.DOCKERFILE == "Dockerfile"
