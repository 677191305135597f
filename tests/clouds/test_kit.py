"""Perdure's own modules for machines: what of another platform goes with them, and where from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from perdure.clouds import kit
from perdure.errors import EnvironmentFailed

_UV = """\
#!/bin/sh
# What `uv pip install --target FOLDER` does of it.
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/obstore"
[ -e '{broken}' ] && exit 1
touch "$2/obstore/__init__.py" "$2/obstore/_obstore.abi3.so"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a user's cache; a file `broken` beside it has the install break off."""
    uv = tmp_path / "uv"
    uv.write_text(_UV.format(broken=tmp_path / "broken"))
    uv.chmod(0o755)
    monkeypatch.setattr(kit, "find_uv", lambda environ: str(uv))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_somebody_else_put_there_is_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = folder.parent / "shared by all users"
    (shared / "perdure-obstore-9.9" / "obstore").mkdir(parents=True)
    (shared / "perdure-obstore-9.9" / "obstore" / "theirs.py").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    found = kit._fetched("9.9")
    assert found.is_relative_to(folder)
    assert {each.name for each in (found / "obstore").iterdir()} == {
        "__init__.py",
        "_obstore.abi3.so",
    }


def test_what_breaks_off_leaves_nothing_behind(folder: Path) -> None:
    broken = folder.parent / "broken"
    broken.touch()
    with pytest.raises(EnvironmentFailed, match=r"no obstore 9\.9"):
        kit._fetched("9.9")
    assert [each for each in folder.rglob("*") if each.is_file()] == []
    broken.unlink()
    found = kit._fetched("9.9")
    assert (found / "obstore" / "_obstore.abi3.so").is_file()
    broken.touch()
    assert kit._fetched("9.9") == found
    assert list(found.parent.iterdir()) == [found]
