from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.errors import UsageError
from perdure.images.user import choose_user
from perdure.model.image import ImageUser
from perdure.model.project import Project
from perdure.model.settings import Docker, Settings


def project(folder: Path, owner: tuple[int, int] | None = None) -> Project:
    if owner is not None:
        os.chown(folder, *owner)
    return Project(folder, "cats", "cats", {})


def be(monkeypatch: pytest.MonkeyPatch, user_id: int, group_id: int) -> None:
    monkeypatch.setattr(os, "getuid", lambda: user_id)
    monkeypatch.setattr(os, "getgid", lambda: group_id)


def test_it_is_who_runs_this(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, 501, 20)
    assert choose_user(project(tmp_path), Settings()) == ImageUser(501, 20)


def test_the_settings_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, 0, 0)
    chosen = Settings(docker=Docker(user_id=7, group_id=8))
    assert choose_user(project(tmp_path), chosen) == ImageUser(7, 8)


@pytest.mark.skipif(os.getuid() != 0, reason="a folder is given away by root only")
def test_in_the_place_of_root_stands_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(monkeypatch, 0, 0)
    assert choose_user(project(tmp_path, (1234, 5678)), Settings()) == ImageUser(1234, 5678)


@pytest.mark.parametrize(
    "docker", [Docker(), Docker(user_id=0, group_id=0), Docker(user_id=5, group_id=0)]
)
def test_nobody_is_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker: Docker) -> None:
    be(monkeypatch, 0, 0)
    if os.getuid() == 0:
        os.chown(tmp_path, 0, 0)
    monkeypatch.setattr(Path, "stat", lambda self, **_: os.stat("/"))  # noqa: PTH116 - the patched one
    with pytest.raises(UsageError, match="containers do not run as root") as caught:
        choose_user(project(tmp_path), Settings(docker=docker))
    assert "user_id" in str(caught.value.hint)
