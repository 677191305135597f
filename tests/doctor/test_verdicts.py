"""What the doctor makes of engines, programs and disks that this machine need not have."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.cli.commands import doctor as verb
from perdure.doctor import container, disk, gpu, owner, programs, surroundings
from perdure.doctor.finding import Finding, Verdict, fine, problem, warning
from perdure.doctor.surroundings import EngineSeen, Surroundings
from perdure.environments import uv as environment_uv
from perdure.errors import EngineUnreachable
from perdure.hosts.engine import Engine, EngineVersion
from perdure.model.project import Project
from perdure.model.settings import Docker, Settings
from tests.engines.engines import RealEngine

VERSION = EngineVersion("26.1.5", "1.45", "linux/amd64", "classic", True, False, False)


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    project = Project(tmp_path, "cats", "cats", {})
    seen = EngineSeen(Engine("docker", environ, "docker", "unix:///nowhere"), VERSION)
    return Surroundings(tmp_path, environ, project, seen=seen)


def seeing(around: Surroundings, version: EngineVersion, kind: str = "docker") -> Surroundings:
    engine = Engine(kind, around.environ, kind, "")
    return replace(around, seen=EngineSeen(engine, version))


@pytest.mark.parametrize(
    ("kind", "server", "verdict"),
    [
        ("docker", "20.10.24+dfsg1", Verdict.OK),
        ("docker", "19.03.15", Verdict.PROBLEM),
        ("podman", "4.3.1", Verdict.OK),
        ("podman", "3.0.1", Verdict.PROBLEM),
        ("docker", "dev", Verdict.OK),
    ],
)
def test_versions(kind: str, server: str, verdict: Verdict, around: Surroundings) -> None:
    there = seeing(around, replace(VERSION, server=server), kind)
    (found,) = container.engine(there)
    assert found.verdict is verdict


def test_an_engine_that_does_not_say_what_it_is(around: Surroundings) -> None:
    silent = replace(around, seen=EngineSeen(around.seen.engine))
    (found,) = container.engine(silent)
    assert found.verdict is Verdict.WARNING
    refused = replace(around, seen=EngineSeen(error=EngineUnreachable("no", hint="ask")))
    (found,) = container.engine(refused)
    assert found.remedy == "ask; `--on local` needs none"
    named = replace(refused, settings=Settings(docker=Docker(program="podman")))
    (found,) = container.engine(named)
    assert found.verdict is Verdict.PROBLEM


def test_what_cannot_build(around: Surroundings) -> None:
    (found,) = container.building(seeing(around, replace(VERSION, buildkit=False)))
    assert found.verdict is Verdict.PROBLEM
    (found,) = container.building(around)
    assert found.verdict is Verdict.PROBLEM
    assert "was found" in found.seen
    assert list(container.building(replace(around, seen=EngineSeen()))) == []


def test_gpus_in_containers(around: Surroundings, tmp_path: Path) -> None:
    assert list(gpu.container_gpus(around)) == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    (found,) = gpu.container_gpus(around)
    assert found.verdict is Verdict.WARNING
    assert "nvidia-ctk" in found.remedy
    (found,) = gpu.container_gpus(seeing(around, replace(VERSION, gpus=True)))
    assert found.verdict is Verdict.OK


@pytest.mark.parametrize(
    ("program", "verdict", "word"),
    [
        ("#!/bin/sh\necho uv 0.8.3\n", Verdict.PROBLEM, "older"),
        ("#!/bin/sh\necho broken >&2; exit 3\n", Verdict.PROBLEM, "broken"),
        ("#!/bin/sh\necho 'uv 1.2.3 (abc 2030-01-01)'\n", Verdict.OK, "1.2.3"),
    ],
)
def test_uv(
    program: str,
    verdict: Verdict,
    word: str,
    around: Surroundings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "uv").write_text(program)
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setattr(environment_uv, "find_uv", lambda _: str(tmp_path / "uv"))
    (found,) = programs.uv(around)
    assert found.verdict is verdict
    assert word in found.seen


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on another file system."""
    place = Path("/dev/shm")
    if not place.is_dir() or disk.device(place) == disk.device(tmp_path):
        pytest.skip("there is one file system only")
    folder = Path(tempfile.mkdtemp(dir=place))
    yield folder
    shutil.rmtree(folder)


def test_folders_on_other_disks_are_looked_at_too(around: Surroundings, other_disk: Path) -> None:
    for name in ("results", ".perdure"):
        (other_disk / name).mkdir()
        (around.folder / name).symlink_to(other_disk / name)
    names = [finding.name for finding in disk.room(around)]
    assert names == ["disk: project", "disk: .perdure", "disk: results"]


def test_files_without_locks(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    found = next(iter(disk.locks(around)))
    assert found.verdict is Verdict.PROBLEM
    assert "nolock" in found.remedy
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert not disk.lock_holds(tmp_path / "lock")


def test_a_folder_of_others_without_a_project_is_not_written_to(around: Surroundings) -> None:
    assert list(disk.locks(replace(around, project=None, start=Path("/proc/1")))) == []


def test_where_no_image_is_at_hand(
    modern_engine: RealEngine, around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(modern_engine.client, modern_engine.environ, "docker", "unix:///x")
    monkeypatch.setattr(owner, "choose_image", lambda *_: None)
    there = replace(around, seen=EngineSeen(engine, VERSION))
    (found,) = owner.ownership(there, (1000, 1000))
    assert found.verdict is Verdict.OK
    assert "not tried" in found.seen
    mapping = replace(there, seen=EngineSeen(engine, replace(VERSION, rootless=True)))
    (found,) = owner.ownership(mapping, (1000, 1000))
    assert found.verdict is Verdict.WARNING


def test_an_engine_elsewhere_is_not_tried(around: Surroundings) -> None:
    away = Engine("docker", {}, "docker", "ssh://gpu1")
    there = replace(around, seen=EngineSeen(away, VERSION))
    assert list(owner.ownership(there, (1000, 1000))) == []


def test_an_engine_that_goes_away_is_told(around: Surroundings, tmp_path: Path) -> None:
    gone = Engine(str(tmp_path / "no-client"), {}, "podman", "")
    made = owner.make_file(gone, "debian", tmp_path, (1000, 1000))
    assert isinstance(made, str)
    assert "no-client" in made


def test_root_without_a_project(around: Surroundings) -> None:
    if os.getuid() != 0:
        pytest.skip("this is about root")
    (found,) = owner.user(replace(around, project=None))
    assert found.verdict is Verdict.OK


def test_an_engine_that_accepts_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "LOOK_S", 0.3)
    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        environ = {**os.environ, "DOCKER_HOST": f"unix://{place}"}
        around = surroundings.look_around(tmp_path, environ)
    assert around.seen.error is not None
    assert "did not answer within 0.3 s" in around.seen.error.message
    (found,) = container.engine(around)
    assert found.verdict is Verdict.PROBLEM


def test_the_last_line() -> None:
    findings = [fine("uv", "1"), fine("engine", "docker")]
    assert verb.summary(findings) == "nothing is wrong"
    bad: list[Finding] = [*findings, problem("a", "b", "c"), warning("d", "e", "f")]
    assert verb.summary(bad) == "1 problem and 1 warning"
    assert "--on local" in verb.summary([fine("uv", "1"), warning("engine", "none", "x")])
