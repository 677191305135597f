"""The zipapp: small, the same bytes each time, and at home in any Python it claims."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from perdure.runtime.supervisor.archive import build_archive
from tests.runtime.supervisor.harness import ended, training

OTHERS = sorted(Path.home().glob(".pyenv/versions/*/bin/python"))
OLDEST = (3, 9)


def version(python: Path) -> tuple[int, int]:
    major, minor = python.parents[1].name.split(".")[:2]
    return int(major), int(minor)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_archive(tmp_path_factory.mktemp("a b'$(x)") / "supervisor é.pyz")


def run(python: str, archive: Path, run_dir: Path, actions: str) -> int:
    command = [python, "-I", "-S", str(archive), "--run-dir", str(run_dir), "--"]
    environ = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}
    return subprocess.run([*command, *training(actions)], env=environ).returncode


def test_it_is_small(archive: Path) -> None:
    assert archive.stat().st_size < 110_000


def test_it_is_the_same_bytes_each_time(archive: Path, tmp_path: Path) -> None:
    assert build_archive(tmp_path / "again").read_bytes() == archive.read_bytes()


def test_it_holds_what_it_needs_and_no_more(archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        held = set(file.namelist())
    outside = {name for name in held if not name.startswith("perdure/runtime/supervisor/")}
    assert outside == {
        "__main__.py",
        "perdure/__init__.py",
        "perdure/runtime/__init__.py",
        "perdure/runtime/array.py",
        "perdure/runtime/names.py",
        "perdure/runtime/generation.py",
        "perdure/runtime/settled.py",
    }
    assert "perdure/runtime/supervisor/clouds.py" in held
    assert "perdure/runtime/supervisor/archive.py" not in held
    assert "perdure/runtime/supervisor/several.py" not in held


def test_it_runs_alone(archive: Path, run_dir: Path) -> None:
    assert run(sys.executable, archive, run_dir, "hello step:1 durable:1 exiting:75 exit:1") == 75
    assert ended(run_dir) == ("INTERRUPTED", "interrupted")


def test_it_can_be_executed(archive: Path, run_dir: Path) -> None:
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [str(archive), "--run-dir", str(run_dir), "--", "sh", "-c", "exit 76"]
    assert subprocess.run(command, env=environ).returncode == 76


@pytest.mark.parametrize("python", OTHERS, ids=lambda path: path.parents[1].name)
def test_it_runs_under_other_pythons(python: Path, archive: Path, run_dir: Path) -> None:
    if version(python) < OLDEST:
        pytest.skip(f"Python {python.parents[1].name} is older than the oldest that is promised")
    actions = "hello step:1 heed touch:PREEMPT wait durable:1 exiting:75 exit:75"
    assert run(str(python), archive, run_dir, actions) == 75
    watching = ["--watch", "aws", "--watch-url", "http://127.0.0.1:9", "--run-dir", str(run_dir)]
    command = [str(python), "-I", "-S", str(archive), *watching, "--", "true"]
    assert subprocess.run(command).returncode == 0


def test_other_pythons_are_here() -> None:
    if not OTHERS:
        pytest.skip("no ~/.pyenv/versions: the archive ran under this Python only")
    assert any(version(python) >= OLDEST for python in OTHERS)
