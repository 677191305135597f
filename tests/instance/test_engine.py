"""The container engine of a machine that is lent: found, started, or installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.errors import EnvironmentFailed
from perdure.instance.engine import ensure_engine
from tests.engines.engines import RealEngine


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that holds the programs of a machine: none."""
    folder = tmp_path / "a bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def write_program(file: Path, *lines: str) -> None:
    file.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    file.chmod(0o755)


def test_docker_is_installed_where_there_is_none(
    modern_engine: RealEngine, programs: Path, tmp_path: Path
) -> None:
    asked, said = tmp_path / "asked", list[str]()
    install = f"/bin/ln -s '{modern_engine.client}' '{programs}/docker'"
    write_program(
        programs / "apt-get",
        f'echo "$DEBIAN_FRONTEND $*" >>"{asked}"',
        f'case "$*" in *"docker.io apparmor") {install} ;; esac',
    )
    assert ensure_engine(said.append).version().server
    update, words = asked.read_text().splitlines()
    assert update.startswith("noninteractive ")
    assert update.endswith(" update")
    assert words.endswith(" install --yes --no-install-recommends docker.io apparmor")
    assert said == ["installing docker.io"]
    # From now on it is there.
    ensure_engine(said.append)
    assert len(said) == 1


def test_docker_is_started_where_it_does_not_answer(
    modern_engine: RealEngine, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket, said = tmp_path / "docker.sock", list[str]()
    (programs / "docker").symlink_to(modern_engine.client)
    real = modern_engine.variables["DOCKER_HOST"].removeprefix("unix://")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket}")
    write_program(programs / "systemctl", f"/bin/ln -s '{real}' '{socket}'")
    assert ensure_engine(said.append).version().server
    assert said == ["starting Docker"]


def test_why_there_can_be_none_is_one_clear_error(programs: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="no apt to install it with") as caught:
        ensure_engine(print)
    assert "`image` of the target" in str(caught.value.hint)
    write_program(programs / "apt-get", "echo 'E: Unable to locate package' >&2", "exit 100")
    with pytest.raises(EnvironmentFailed, match="Unable to locate package"):
        ensure_engine(print)
