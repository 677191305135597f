from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from perdure.services.browser import show, show_folder
from tests.waiting import until

ADDRESS = "http://127.0.0.1:20123/lab?token=s3cret&a='\"<b>"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder for programs on a machine that has no display and no browser."""
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    programs = tmp_path / "bin"
    programs.mkdir()
    return programs


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def said(file: Path) -> str:
    until(lambda: file.exists() and file.read_text())
    return file.read_text()


def test_the_browser_gets_a_file_that_only_this_user_reads(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "note"
    browser = program(bare / "browser", f'printf "%s" "$*" >{note}.part; mv {note}.part {note}')
    monkeypatch.setenv("BROWSER", str(browser))
    assert show("jupyter", ADDRESS, tmp_path / "a state")
    opened = said(note)
    assert "s3cret" not in opened
    assert opened.startswith("file:///")
    page = tmp_path / "a state" / "services" / "open-jupyter.html"
    assert opened == page.as_uri()
    assert page.stat().st_mode & 0o077 == 0
    (target,) = re.findall(r'content="0; url=([^"]*)"', page.read_text())
    assert target == "http://127.0.0.1:20123/lab?token=s3cret&amp;a=&#x27;&quot;&lt;b&gt;"


def test_without_a_browser_nothing_is_opened(bare: Path, tmp_path: Path) -> None:
    assert not show("jupyter", ADDRESS, tmp_path)


def test_a_browser_that_is_not_there_is_none(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER", str(tmp_path / "no such browser"))
    monkeypatch.setenv("PATH", str(bare))
    assert not show("jupyter", ADDRESS, tmp_path)


def test_a_folder_is_opened_by_the_system(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not show_folder(tmp_path)
    note = tmp_path / "note"
    program(bare / "xdg-open", f'printf "%s" "$1" >{note}.part; mv {note}.part {note}')
    monkeypatch.setenv("PATH", f"{bare}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":9")
    assert show_folder(tmp_path)
    assert said(note) == str(tmp_path)
