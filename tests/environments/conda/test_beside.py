"""One environment of conda and pip: solved, locked, installed and imported, offline."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments.lock import check_lock, ensure_lock, lock_packages
from perdure.environments.lockfile import read_pinned
from perdure.environments.sync import EnvironmentHandle, ensure_environment
from perdure.errors import EnvironmentFailed
from perdure.model.project import Environment, Project
from perdure.model.settings import Settings
from tests.environments.conda.channel import Channel
from tests.environments.conftest import wheel

PYPROJECT = """\
[project]
name = "cats"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["uses"]
[tool.perdure]
format = 1
package = "cats"
"""
SHOW = """\
import extra, greet, numb, uses, sys
print(greet.greet(), greet.share(), uses.where, extra.where, numb.__file__, sep="|")
"""


@pytest.fixture
def both(project: Project, channel: Channel, offline: None, wheels: Path) -> Project:
    """Return a project that has `numb` from conda, and from pip what needs it."""
    put(wheels, "uses", "1.0", "where = 'pip'\n", "numb>=1")
    put(wheels, "extra", "1.0", "where = 'pip section'\n")
    for version in ("1.26", "2.0"):
        put(wheels, "numb", version, "raise ImportError('the wheel of numb')\n")
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    file = project.root / "environment.yml"
    declare(file, channel, "greet", "numb=1.26", pip="extra")
    return replace(project, environment=Environment(conda=file, python="3.11"))


def put(folder: Path, name: str, version: str, text: str, requires: str = "") -> None:
    content = wheel(name, version, text, requires)
    (folder / f"{name}-{version}-py3-none-any.whl").write_bytes(content)


def declare(file: Path, channel: Channel, *specs: str, pip: str = "") -> None:
    lines = "".join(f"- {spec!r}\n" for spec in specs) + (f"- pip: [{pip!r}]\n" if pip else "")
    file.write_text(f"channels: ['{channel.folder.as_uri()}']\ndependencies:\n{lines}")


def show(handle: EnvironmentHandle) -> list[str]:
    argv = [str(handle.python), "-c", SHOW]
    return subprocess.check_output(argv, text=True, cwd=handle.prefix).strip().split("|")


def test_pip_installs_into_what_conda_has_made(both: Project) -> None:
    handle = ensure_environment(both, Settings())
    words = ["hello", f"{handle.prefix}/share/greet", "pip", "pip section"]
    assert show(handle)[:4] == words
    # Conda's, not the wheel of the same name, and in the environment's own folder.
    assert show(handle)[4].startswith(str(handle.prefix))
    command = subprocess.check_output([handle.prefix / "bin" / "greet"], text=True)
    assert command == "hello\n"
    assert not (handle.prefix / "pyvenv.cfg").exists()
    # No script of a package was run.
    assert not (handle.prefix / "ran").exists()


def test_the_lock_has_both(both: Project) -> None:
    ensure_lock(both, Settings())
    lock = read_pinned(both)
    assert lock is not None
    assert [each.name for each in lock.conda] == ["greet", "libgreet", "numb", "python"]
    assert [each.python for each in lock.conda] == ["greet", "", "numb", ""]
    assert check_lock(both) == lock.uv
    # pyproject.toml is the user's: nothing of conda was written into it.
    assert (both.root / "pyproject.toml").read_text() == PYPROJECT


def test_another_environment_yml_makes_the_lock_too_old(both: Project, channel: Channel) -> None:
    before = ensure_environment(both, Settings())
    assert both.environment.conda is not None
    declare(both.environment.conda, channel, "numb=1.26", "python", pip="extra")
    with pytest.raises(EnvironmentFailed, match="older than"):
        check_lock(both)
    assert ensure_lock(both, Settings()).digest != before.lock_digest


def test_what_is_locked_stays_until_asked(both: Project, channel: Channel) -> None:
    ensure_lock(both, Settings())
    file = both.environment.conda
    assert file is not None
    declare(file, channel, "greet", "numb", pip="extra")
    versions = {each.name: each.version for each in lock_packages(both, Settings()).conda}
    assert versions["numb"] == "1.26"
    again = lock_packages(both, Settings(), refresh=True)
    assert {each.name: each.version for each in again.conda}["numb"] == "2.0"


def test_pips_section_that_wants_another_version_than_conda_brings(
    both: Project, channel: Channel
) -> None:
    assert both.environment.conda is not None
    declare(both.environment.conda, channel, "numb=1.26", pip="numb>=2")
    with pytest.raises(EnvironmentFailed, match="conda brings `numb`") as caught:
        ensure_lock(both, Settings())
    assert "numb>=2" in caught.value.message
    assert not (both.root / "perdure.lock").exists()


def test_a_dependency_that_wants_another_version_is_named_with_it(
    both: Project, wheels: Path
) -> None:
    put(wheels, "uses", "1.0", "", "numb>=2")
    with pytest.raises(EnvironmentFailed, match="conda brings `numb`") as caught:
        ensure_lock(both, Settings())
    assert "uses" in caught.value.message


def test_a_perdure_lock_of_other_conda_packages_is_refused(both: Project) -> None:
    ensure_lock(both, Settings())
    file = both.root / "perdure.lock"
    file.write_text(file.read_text().replace("libgreet-1.2.0", "libgreet-1.1.0"))
    with pytest.raises(EnvironmentFailed, match="made beside other conda packages"):
        ensure_environment(both, Settings())
