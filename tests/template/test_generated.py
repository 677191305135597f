"""A project as `perdure new` makes it: its own tests and its own linter pass."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.project.template import answers_for, create_project

pytest.importorskip("torch")
pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "zebra-9.x"
    create_project(folder, answers_for(folder.name, description="What 'it' is", author="A. Nother"))
    return folder


def python(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # The checkout's packages stand in for the project's environment, which needs an index.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}
    return subprocess.run(
        [sys.executable, *words],
        cwd=project,
        env={**environ, "PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )


def test_its_linter_passes(project: Path) -> None:
    for words in (("check", "."), ("format", "--check", ".")):
        completed = python(project, "-m", "ruff", *words, "--no-cache")
        assert completed.returncode == 0, completed.stdout


def test_its_linter_looks(project: Path, tmp_path: Path) -> None:
    config = str(project / "pyproject.toml")
    (tmp_path / "bad.py").write_text("import os\n")
    completed = python(tmp_path, "-m", "ruff", "check", "--no-cache", "--config", config, "bad.py")
    assert completed.returncode == 1


def test_its_tests_pass(project: Path) -> None:
    completed = python(project, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert completed.returncode == 0, completed.stdout
    assert "passed" in completed.stdout


def test_its_training_tells_its_options(project: Path) -> None:
    completed = python(project, "-m", "zebra_9_x.train", "--help")
    assert completed.returncode == 0, completed.stderr
    for option in ("--epochs", "--learning-rate", "--batch-size", "--workers", "--seed"):
        assert option in completed.stdout
