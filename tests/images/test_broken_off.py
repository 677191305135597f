"""Builds that end before they are done: by Ctrl-C, and by a disk of the engine's that is full."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import StorageError
from perdure.hosts.engine import find_engine
from perdure.images.tag import tag_of
from perdure.model.image import Stage
from perdure.model.project import Step
from perdure.model.settings import Settings
from tests.engines.engines import RealEngine
from tests.engines.own import OwnEngine, own_engine
from tests.engines.user import OrdinaryUser
from tests.images.recipes import BASE, built, recipe_for, removed
from tests.images.test_build import PYPROJECT
from tests.waiting import until

pytestmark = [pytest.mark.install, pytest.mark.timeout(600)]


# What a step takes that is broken off: long enough to be seen, and ended by itself soon after.
STEP_S = 8

# A build by this process's own code, so that nothing needs to be locked first.
BUILD = """\
import sys
from pathlib import Path
from perdure.model.image import Stage
from perdure.model.project import Step
from tests.engines.user import OrdinaryUser
from tests.images.recipes import BASE, built, recipe_for

def report(message, **_):
    print(message, flush=True)

recipe = recipe_for(project=sys.argv[1], tiers={}, steps=(Step(sys.argv[2]),))
built(recipe, Stage.RUNTIME, Path(sys.argv[3]), report=report)
"""


@pytest.fixture(params=["modern", "podman"])
def other_engine(request: pytest.FixtureRequest) -> RealEngine:
    """Return each of the engines but the oldest in turn."""
    found = request.getfixturevalue(f"{request.param}_engine")
    assert isinstance(found, RealEngine)
    return found


def running(command: str) -> bool:
    """Return whether a process of this machine was started with such a command line."""
    wanted = command.encode().replace(b" ", b"\0")
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if file.read_bytes().rstrip(b"\0") == wanted:
                return True
    return False


def broken_off(user: OrdinaryUser, engine: RealEngine, project: Path) -> tuple[int, str]:
    """Return the exit code of a `perdure build` that got Ctrl-C in a step; and what it said."""
    argv = [*user.words(), str(user.python), "-m", "perdure.cli.main", "build"]
    environ = {**engine.environ, **user.variables()}
    process = subprocess.Popen(
        argv, env=environ, cwd=project, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "declared step" in line:
            break
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    said += process.stderr.read()
    process.stderr.close()
    return process.wait(20), said


def test_ctrl_c_leaves_nothing_half_built(old_engine: RealEngine, as_user: OrdinaryUser) -> None:
    project = as_user.home / "p"
    (project / "src" / "cats").mkdir(parents=True)
    (project / "src" / "cats" / "__init__.py").touch()
    sleep = f"sleep {STEP_S}.{os.getpid()}"
    with removed(old_engine) as name:
        step = f'[[tool.perdure.environment.steps]]\nrun = "echo begun; {sleep}"\n'
        (project / "pyproject.toml").write_text(PYPROJECT.format(name=name) + step)
        as_user.give(as_user.home)
        code, said = broken_off(as_user, old_engine, project)
        assert (code, "Traceback" in said) == (130, False), said
        assert old_engine.docker("images", "--quiet", f"perdure/{name}") == ""
        until(lambda: not running(sleep), patience_s=STEP_S / 2)
        again = as_user.perdure("build", cwd=project, env=as_user.leading_to(old_engine))
        assert again.code == 0, again
        assert as_user.of_others(project) == []


@pytest.mark.long
def test_a_build_that_is_broken_off(other_engine: RealEngine, tmp_path: Path) -> None:
    step = f"echo begun; sleep {STEP_S}.{os.getpid()}"
    with removed(other_engine) as name:
        argv = [sys.executable, "-c", BUILD, name, step, str(tmp_path / "c")]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if "declared step" in line:
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0
        process.stdout.close()
        recipe = recipe_for(project=name, tiers={}, steps=(Step(step),))
        assert find_engine(Settings()).inspect_image(tag_of(recipe, Stage.RUNTIME)) is None
        until(lambda: not running(f"sleep {STEP_S}.{os.getpid()}"), patience_s=STEP_S / 2)
        built(recipe, Stage.RUNTIME, tmp_path / "c")


@pytest.fixture
def small_engine() -> Iterator[OwnEngine]:
    """Return an engine whose disk has 700 MB; to load the base image takes 450 of them."""
    with tempfile.TemporaryDirectory(prefix="small-") as name:
        folder = Path(name)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m", "none", name])
        if mounted.returncode:
            pytest.skip("nothing can be mounted here")
        try:
            with own_engine(folder) as engine:
                yield engine
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


@pytest.mark.long
def test_a_full_disk_under_the_engine(
    old_engine: RealEngine,
    small_engine: OwnEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = tmp_path / "base.tar"
    old_engine.docker("save", "--output", str(base), BASE)
    small_engine.real.docker("load", "--input", str(base))
    base.unlink()
    monkeypatch.setenv("DOCKER_HOST", small_engine.real.variables["DOCKER_HOST"])
    step = "head -c 700000000 /dev/zero > /opt/much"
    recipe = recipe_for(project="full", tiers={}, steps=(Step("true"), Step(step)))
    with pytest.raises(StorageError, match="no space left for the image") as caught:
        built(recipe, Stage.RUNTIME, tmp_path / "c")
    assert "docker system df" in str(caught.value.hint)
    assert caught.value.exit_code == StorageError.exit_code
    assert find_engine(Settings()).inspect_image(tag_of(recipe, Stage.RUNTIME)) is None
    smaller = recipe_for(project="full", tiers={}, steps=(Step("true"),))
    built(smaller, Stage.RUNTIME, tmp_path / "c")
