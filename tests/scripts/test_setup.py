"""What scripts/setup does for a newcomer; Python and pip only note what they are told."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

#: Stands for Python: `-m venv` copies it, `-m pip` notes its arguments and ends with $PIP_ENDS.
PYTHON = """\
#!/bin/sh
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo "venv $*" >>calls ;;
  *"-m pip"*) echo "pip $*" >>calls; exit "${PIP_ENDS:-0}" ;;
  *ensurepip*) exit "${ENSUREPIP_ENDS:-0}" ;;
  -VV) echo "Python 3.11.99 fake" ;;
  *print*) echo 3.11 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with what setup reads, named as badly as people name folders."""
    folder = tmp_path / "a clone; $(x)"
    (folder / "bin").mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    shutil.copy(ROOT / "pyproject.toml", folder)
    python = folder / "bin" / "python3"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return folder


def setup(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHON": str(checkout / "bin" / "python3"), **variables}
    script = str(checkout / "scripts" / "setup")
    return subprocess.run(
        [script, *arguments], env=environ, capture_output=True, text=True, timeout=60
    )


def calls(checkout: Path) -> list[str]:
    """Return what was asked of Python since the last look."""
    noted = checkout / "calls"
    lines = noted.read_text().splitlines() if noted.exists() else []
    noted.unlink(missing_ok=True)
    return lines


def test_it_makes_the_environment_once_and_is_silent_then(checkout: Path) -> None:
    first = setup(checkout)
    assert (first.returncode, first.stdout) == (0, "")
    assert "requirements/run.lock" in first.stderr
    done = calls(checkout)
    assert len(done) == 3
    assert "--require-hashes" in done[1]
    assert "--editable ." in done[2]
    second = setup(checkout)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert calls(checkout) == []


def test_a_changed_lock_is_installed(checkout: Path) -> None:
    setup(checkout)
    calls(checkout)
    (checkout / "requirements" / "run.lock").write_text("")
    assert setup(checkout).returncode == 0
    assert any("run.lock" in call for call in calls(checkout))


def test_a_folder_that_was_moved_is_installed_again(checkout: Path) -> None:
    setup(checkout)
    calls(checkout)
    moved = checkout.rename(checkout.with_name("elsewhere"))
    assert setup(moved).returncode == 0
    assert any("--editable" in call for call in calls(moved))


def test_the_tests_need_more_and_that_holds_the_rest(checkout: Path) -> None:
    assert setup(checkout, "test").returncode == 0
    assert any("torch.txt" in call for call in calls(checkout))
    assert setup(checkout).returncode == 0
    assert calls(checkout) == []


def test_a_pip_that_fails_leaves_no_mark_of_success(checkout: Path) -> None:
    failed = setup(checkout, PIP_ENDS="1")
    assert failed.returncode == 1
    assert "nothing is lost" in failed.stderr
    calls(checkout)
    assert setup(checkout).returncode == 0
    assert not any("venv" in call.split()[0] for call in calls(checkout))


def test_a_pip_that_was_killed_has_the_environment_made_anew(checkout: Path) -> None:
    assert setup(checkout, PIP_ENDS="137").returncode == 1
    calls(checkout)
    assert setup(checkout).returncode == 0
    assert calls(checkout)[0].startswith("venv")


def test_a_python_without_ensurepip_is_named_with_the_package(checkout: Path) -> None:
    refused = setup(checkout, ENSUREPIP_ENDS="1")
    assert refused.returncode == 1
    assert "apt-get install python3.11-venv" in refused.stderr
    assert not (checkout / ".venv" / "bin").exists()


def test_another_word_is_refused(checkout: Path) -> None:
    refused = setup(checkout, "everything")
    assert refused.returncode == 2
    assert "`everything`" in refused.stderr
    assert calls(checkout) == []
