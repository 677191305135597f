from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perdure.errors import UsageError
from perdure.model.project import Project
from perdure.targets.registry import open_target

PROJECT = Project(Path("/p"), "cats", "cats", {})


def test_local_is_there() -> None:
    assert open_target("local", PROJECT).name == "local"
    assert open_target("docker", PROJECT).name == "docker"  # no engine is asked yet


def test_a_mistyped_target_is_guessed() -> None:
    with pytest.raises(UsageError, match="no target `lcoal`") as caught:
        open_target("lcoal", PROJECT)
    assert caught.value.hint == "did you mean `local`?"
    with pytest.raises(UsageError) as caught:
        open_target("$(x)", PROJECT)
    assert caught.value.hint == "targets: docker, local"


def test_a_target_is_imported_on_use(tmp_path: Path) -> None:
    code = (
        "import sys, perdure.targets.registry\n"
        "print('perdure.targets.process' in sys.modules, 'subprocess' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]


def test_a_target_of_ones_own() -> None:
    found = open_target("mine", PROJECT, targets={"mine": "perdure.targets.process:open_process"})
    assert found.name == "local"
