"""Images as squashfs files, made by the real mksquashfs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.cli.main import main
from perdure.errors import MissingProgram, StorageError
from perdure.hosts.engine import find_engine
from perdure.images.ship_image import record_of
from perdure.images.squashfs import ENVIRONMENT, environment_script, write_squashfs
from perdure.model.report import silent
from perdure.model.settings import Settings
from tests.cli.command import perdure
from tests.engines.engines import RealEngine
from tests.engines.small import training_image
from tests.engines.user import OrdinaryUser
from tests.images.recipes import removed
from tests.images.shipping import Builder

APT = Path(__file__).resolve().parents[2] / "scripts" / "apt"


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    if shutil.which("mksquashfs") is None:
        subprocess.run([str(APT), "squashfs-tools"], check=True, timeout=400)


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[Builder]:
    made = Builder(tmp_path / "contexts")
    yield made
    made.remove()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of 64 KiB."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    if os.getuid() != 0:
        pytest.skip("only root mounts a disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def content(file: Path, name: str) -> str:
    done = subprocess.run(["unsquashfs", "-cat", str(file), name], capture_output=True, check=True)
    return done.stdout.decode()


def test_the_files_and_the_environment_are_in_it(
    engine: RealEngine, builder: Builder, tmp_path: Path
) -> None:
    tag = builder.build(engine, "1", "packages", "code")
    file = tmp_path / "an image, 'q\".sqfs"
    ended = perdure("ship", tag, "--to", str(file))
    assert ended.code == 0, ended.err
    assert f"shipped {tag} to {file}: 3 layers" in ended.err
    assert content(file, "layer-1") == "code"
    script = f"{content(file, ENVIRONMENT)}\necho $VIRTUAL_ENV: $SAID"
    said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, env={}, check=True)
    assert said.stdout.decode().strip() == "/opt/venv: it's $(x)"
    assert not engine.docker("ps", "--all", "--quiet", "--filter", "label=perdure.role=ship")


@pytest.mark.long
def test_the_real_apptainer_runs_it_with_the_images_own_variables(
    apptainer: Path, engine: RealEngine, tmp_path: Path
) -> None:
    tag = training_image(engine).tag
    file = tmp_path / "an image, 'q\".sqfs"
    assert perdure("ship", tag, "--to", str(file)).code == 0
    words = [str(apptainer / "apptainer"), "--quiet", "exec", "--cleanenv", "--no-eval"]
    words += ["--no-home", "--env", "GIVEN=it's $(x)", str(file)]
    script = "import os, perdure; print(os.environ['SAID'], os.environ['GIVEN'], os.getuid())"
    done = subprocess.run([*words, "python", "-c", script], capture_output=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == "it's $(x) it's $(x) 1000\n"


def test_without_the_program_its_package_is_named(
    engine: RealEngine, builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = builder.build(engine, "1", "code")
    found = find_engine(Settings())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgram) as caught:
        write_squashfs(found, tag, record_of({}), tmp_path / "x.sqfs", silent)
    assert "squashfs-tools" in (caught.value.hint or "")


@pytest.mark.parametrize("suffix", ["sqfs", "tar"])
def test_a_full_disk(engine: RealEngine, builder: Builder, small_disk: Path, suffix: str) -> None:
    noise = os.urandom(200_000).hex()
    tag = builder.build(engine, "1", noise)
    ended = perdure("ship", tag, "--to", str(small_disk / f"image.{suffix}"))
    assert ended.code == StorageError.exit_code, ended
    assert "no space left" in ended.err
    assert ended.err.count("error: ") == 1
    assert [*small_disk.iterdir()] == []
    assert not engine.docker("ps", "--all", "--quiet", "--filter", "label=perdure.role=ship")


def test_a_name_that_no_shell_takes_is_left_out() -> None:
    image = record_of({"Config": {"Env": ["A=1", "b-c=2", "D", "E=x\ny"]}})
    assert environment_script(image) == "#!/bin/sh\nexport A=1\nexport D=''\nexport E='x\ny'\n"


PYPROJECT = """\
[project]
name = "{name}"
version = "0"
requires-python = "==3.11.*"
dependencies = ["six==1.17.0"]

[dependency-groups]
dev = ["iniconfig"]

[tool.perdure]
format = 1
package = "cats"
"""


@pytest.mark.install
@pytest.mark.timeout(600)
def test_the_runtime_of_a_project_is_built_and_squashed(
    modern_engine: RealEngine,
    as_user: OrdinaryUser,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with removed(modern_engine) as name:
        folder = as_user.folder / "a 'project'"
        (folder / "src" / "cats").mkdir(parents=True)
        (folder / "src" / "cats" / "__init__.py").write_text("")
        (folder / "pyproject.toml").write_text(PYPROJECT.format(name=name))
        monkeypatch.chdir(as_user.give(folder))
        assert main(["ship", "--to", "cats.sqfs"]) == 0
        assert f"shipped perdure/{name}:runtime-" in capsys.readouterr().err
        file = folder / "cats.sqfs"
        assert "export VIRTUAL_ENV=/opt/venv\n" in content(file, ENVIRONMENT)
        assert content(file, "opt/venv/lib/python3.11/site-packages/six.py")
