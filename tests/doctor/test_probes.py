"""What the probes say of this machine, of programs that are not well, and of mistakes in files."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from perdure.doctor import disk, gpu, programs
from perdure.doctor.disk import GIB
from perdure.doctor.examine import PROBES, Probe, run_probes
from perdure.doctor.finding import Finding, Verdict, fine, problems_in
from perdure.doctor.surroundings import EngineSeen, Surroundings, look_around
from perdure.errors import MissingProgram, PerdureError, UsageError
from perdure.model.project import Environment, Project

NO_ENGINE = "unix:///nowhere/at all"

SMI = """\
#!/bin/sh
case "$*" in
  *query-gpu*) echo "NVIDIA A100-SXM4-40GB, {driver}, 40960 MiB" ;;
  *) echo "| NVIDIA-SMI {driver}   Driver Version: {driver}   CUDA Version: {cuda}  |" ;;
esac
"""
LOCK = """\
version = 1
[[package]]
name = "nvidia-cuda-runtime{suffix}"
version = "{version}"
[[package]]
name = "local"
source = {{ virtual = "." }}
"""


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    root = tmp_path / "a project $(x) é"
    (root / "results").mkdir(parents=True)
    environment = Environment(variants=("cpu", "cuda"), default_variant="cuda")
    project = Project(root, "cats", "cats", {}, environment)
    return Surroundings(root, dict(os.environ), project, seen=EngineSeen())


def with_program(around: Surroundings, name: str, text: str) -> Surroundings:
    """Return the surroundings with a program that is found first."""
    folder = around.folder.parent / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    environ = {**around.environ, "PATH": f"{folder}:{around.environ['PATH']}"}
    return Surroundings(around.start, environ, around.project, seen=around.seen)


def test_every_probe_looks_and_changes_nothing(around: Surroundings) -> None:
    before = sorted(around.folder.rglob("*"))
    findings = run_probes(PROBES, around)
    assert {"perdure", "project", "uv", "git", "engine", "disk: project"} <= set(by_name(findings))
    for finding in findings:
        assert finding.seen
        assert bool(finding.remedy) == (finding.verdict is not Verdict.OK), finding
    assert sorted(around.folder.rglob("*")) == before


def test_a_folder_without_a_project_and_an_engine(tmp_path: Path) -> None:
    environ = {**os.environ, "DOCKER_HOST": NO_ENGINE}
    found = by_name(run_probes(PROBES, look_around(tmp_path, environ)))
    assert found["project"].seen.startswith("none here")
    assert found["uv"].verdict is Verdict.OK
    # Somebody named this engine, so it is a problem that it is not there.
    assert found["engine"].verdict is Verdict.PROBLEM
    assert "--on local" in found["engine"].remedy
    assert "buildkit" not in found


def test_no_client_is_no_problem(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    found = by_name(run_probes(PROBES, look_around(tmp_path, environ)))
    assert found["engine"].verdict is Verdict.WARNING
    assert "--on local" in found["engine"].remedy
    assert found["git"].verdict is Verdict.WARNING
    assert "install git" in found["git"].remedy


def test_mistakes_in_files_are_findings(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.perdure]\nformat = 1\n")
    settings = tmp_path / "settings" / "perdure"
    settings.mkdir(parents=True)
    (settings / "config.toml").write_text("indexs = 1\n")
    environ = {**os.environ, "XDG_CONFIG_HOME": str(settings.parent)}
    around = look_around(tmp_path, environ | {"DOCKER_HOST": NO_ENGINE})
    findings = list(programs.files(around))
    assert [finding.verdict for finding in findings] == [Verdict.PROBLEM] * 2
    assert "tool.perdure.package: is missing" in findings[0].seen
    assert "did you mean `indexes`" in findings[1].seen


def test_a_probe_that_hangs_or_fails_is_a_finding(around: Surroundings) -> None:
    def hang(_: Surroundings) -> list[Finding]:
        subprocess.run(["sleep", "3"], check=True)
        return []

    def fail(_: Surroundings) -> list[Finding]:
        raise PerdureError("it is not well", hint="make it well")

    def lack(_: Surroundings) -> list[Finding]:
        raise MissingProgram("no `uv`", program="uv")

    probes = (Probe("a", fail), Probe("b", hang, 0.2), Probe("c", lack), Probe("d", named))
    found = by_name(run_probes(probes, around))
    assert found["a"] == Finding("a", Verdict.WARNING, "it is not well", "make it well")
    assert found["b"].verdict is Verdict.PROBLEM
    assert "no answer within 0.2 s" in found["b"].seen
    assert found["c"].verdict is Verdict.PROBLEM
    assert found["d"].verdict is Verdict.OK
    assert problems_in(list(found.values())) == 2


def named(around: Surroundings) -> list[Finding]:
    return [fine("d", str(around.start))]


def test_a_bug_in_a_probe_is_not_swallowed(around: Surroundings) -> None:
    def bug(_: Surroundings) -> list[Finding]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_probes((Probe("bug", bug),), around)


def test_an_old_git_and_a_project_without_history(around: Surroundings) -> None:
    found = list(programs.git(around))
    assert [finding.verdict for finding in found] == [Verdict.OK, Verdict.WARNING]
    assert "git init" in found[1].remedy
    old = with_program(around, "git", "#!/bin/sh\necho git version 2.17.1\n")
    assert "older than 2.30" in next(iter(programs.git(old))).seen


def test_a_folder_of_somebody_else(around: Surroundings) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    subprocess.run(["git", "init", "-q", str(around.folder)], check=True)
    os.chown(around.folder, 1234, 1234)
    found = list(programs.git(around))[1]
    assert "not yours" in found.seen
    assert shlex.split(found.remedy)[-1] == str(around.folder)


@pytest.mark.parametrize(
    ("driver", "cuda", "lock", "verdict"),
    [
        ("535.183.01", "12.2", ("-cu12", "12.8.90"), Verdict.OK),  # any 12.x runs on 525
        ("515.65.01", "11.7", ("-cu12", "12.8.90"), Verdict.PROBLEM),
        ("580.65.06", "13.0", ("", "13.0.96"), Verdict.OK),
        ("570.86.15", "12.8", ("", "13.0.96"), Verdict.PROBLEM),
        ("580.65.06", "13.0", ("-cu12", "12.8.90"), Verdict.OK),  # newer runs older
        ("580.65.06", "13.0", ("-none", "1.0"), Verdict.OK),
        ("700.1", "14.0", ("", "15.1.0"), Verdict.PROBLEM),  # a CUDA of the future
    ],
)
def test_a_driver_against_the_lock(
    driver: str, cuda: str, lock: tuple[str, str], verdict: Verdict, around: Surroundings
) -> None:
    (around.folder / "uv.lock").write_text(LOCK.format(suffix=lock[0], version=lock[1]))
    there = with_program(around, "nvidia-smi", SMI.format(driver=driver, cuda=cuda))
    card, found = gpu.driver(there)
    assert card == Finding("gpu", Verdict.OK, "NVIDIA A100-SXM4-40GB (40960 MiB)")
    assert found.verdict is verdict, found
    assert f"driver {driver} (CUDA {cuda})" in found.seen


def test_a_cpu_variant_is_only_warned(around: Surroundings) -> None:
    assert gpu.judge_cuda("515.1", None, (12, 8), "cpu").verdict is Verdict.WARNING
    assert gpu.judge_cuda("515.1", None, (12, 8), None).verdict is Verdict.PROBLEM
    assert gpu.judge_cuda("[N/A]", None, (12, 8), None).verdict is Verdict.OK


def test_cuda_is_read_from_torchs_version_too() -> None:
    lock = {"package": [{"name": "torch", "version": "2.9.0+cu128"}, {"name": 3}, {}]}
    assert gpu.needed_cuda(lock) == (12, 8)
    assert gpu.needed_cuda({"package": "none"}) is None
    assert gpu.needed_cuda({}) is None


def test_a_driver_that_fails_and_a_broken_lock(around: Surroundings) -> None:
    text = "#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'\nexit 18\n"
    (found,) = gpu.driver(with_program(around, "nvidia-smi", text))
    assert found.verdict is Verdict.PROBLEM
    assert "version mismatch" in found.seen
    (around.folder / "uv.lock").write_text("<<<<<<<")
    there = with_program(around, "nvidia-smi", SMI.format(driver="580.1", cuda="13.0"))
    assert "no wheels for CUDA are locked" in list(gpu.driver(there))[1].seen


def test_a_device_without_a_driver(tmp_path: Path, around: Surroundings) -> None:
    assert not gpu.has_device(tmp_path / "devices")
    device = tmp_path / "devices" / "0000:01:00.0"
    device.mkdir(parents=True)
    assert not gpu.has_device(tmp_path / "devices")
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x030200\n")
    assert gpu.has_device(tmp_path / "devices")
    assert gpu._without_driver(around, device=True).verdict is Verdict.WARNING
    assert "default variant is `cuda`" in gpu._without_driver(around, device=False).seen


@pytest.mark.parametrize(
    ("free_gib", "inodes", "verdict"),
    [
        (100.0, None, Verdict.OK),
        (100.0, 10**6, Verdict.OK),
        (5.0, None, Verdict.WARNING),
        (0.5, None, Verdict.PROBLEM),
        (100.0, 12, Verdict.PROBLEM),
    ],
)
def test_room(free_gib: float, inodes: int | None, verdict: Verdict) -> None:
    found = disk.judge_room("disk: x", "`x`", int(free_gib * GIB), inodes, disk.PROJECT_GIB)
    assert found.verdict is verdict


def test_locks_hold_here_and_nothing_is_left(around: Surroundings) -> None:
    found = by_name(disk.locks(around))
    assert found["file locks"].verdict is Verdict.OK
    assert found["clock"].verdict is Verdict.OK
    assert list((around.folder / "results").iterdir()) == []


def test_a_results_folder_that_cannot_be_written(around: Surroundings) -> None:
    folder = around.folder / "results"
    folder.rmdir()
    folder.symlink_to("/proc")
    (found,) = disk.locks(around)
    assert found.verdict is Verdict.PROBLEM
    assert "writable" in found.remedy


def test_a_clock_that_is_wrong(tmp_path: Path) -> None:
    real = tmp_path.stat().st_mtime
    assert disk.clock_skew(tmp_path / "file", lambda: real + 3600) == pytest.approx(-3600, abs=60)
    found = disk.judge_clock(-3600, tmp_path)
    assert found.verdict is Verdict.WARNING
    assert "3600 s behind" in found.seen
    assert "5 s ahead" in disk.judge_clock(5, tmp_path).seen


def test_the_file_system_is_the_innermost_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    inner = tmp_path / "a b"
    inner.mkdir()
    named_point = str(inner).replace(" ", "\\040")
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {named_point} nfs4 rw 0 0\nodd\n")
    assert disk.file_system(inner, mounts) == "nfs4"
    assert disk.file_system(tmp_path, mounts) == "ext4"
    assert disk.file_system(tmp_path, tmp_path / "none") == "unknown file system"


def test_watches() -> None:
    assert disk.judge_watches(None, None).verdict is Verdict.OK
    assert disk.judge_watches(192_536, 128).verdict is Verdict.OK
    found = disk.judge_watches(8192, 64)
    assert found.verdict is Verdict.WARNING
    assert found.remedy.count("fs.inotify.") == 2


def test_a_newer_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.perdure]\nformat = 99\n")
    around = look_around(tmp_path, {**os.environ, "DOCKER_HOST": NO_ENGINE})
    (found,) = programs.files(around)
    assert "has format 99" in found.seen
    assert not isinstance(around.mistakes[0], UsageError)
    assert sys.version_info[:2] >= (3, 11)
