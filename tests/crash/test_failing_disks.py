"""A disk that is full or dying: the training lives on, older checkpoints stay, the end is told."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdure.runtime import metrics
from tests.crash import programs
from tests.waiting import until

STEPS = 8
SHIM = Path(__file__).with_name("failing_disk.c")
FOREVER = 10**6


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library that fails calls of the programs it is loaded into."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    library = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"], check=True)
    return library


@dataclass(frozen=True, slots=True)
class Fault:
    """Which calls on files whose path holds `path` fail: those from `first` to `last`."""

    call: str
    path: str
    first: int
    last: int
    number: int = errno.EIO

    def variables(self, shim: Path) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(shim),
            "DISK_CALL": self.call,
            "DISK_PATH": self.path,
            "DISK_FIRST": str(self.first),
            "DISK_LAST": str(self.last),
            "DISK_ERRNO": str(self.number),
        }


def check_rows(folder: Path) -> None:
    assert [row["value"] for row in metrics.read_rows(str(folder))] == [*range(STEPS)]


def check_failure(ended: programs.Ended, text: str) -> None:
    """Exit code 1, and one clear message; the saves before it were only warned about."""
    assert ended.code == 1, ended.err
    errors = [line for line in ended.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert f"the last checkpoint, of step {STEPS}, could not be written" in errors[0]
    assert text in errors[0]
    assert "hint: older checkpoints are untouched" in ended.err
    assert "Traceback" not in ended.err


def check_resume(folder: Path, least: int) -> None:
    """What was durable before is still there, and the run ends as if nothing had happened."""
    assert int(str(programs.latest(folder).meta["step"])) >= least
    resumed = programs.train(folder, STEPS)
    assert resumed.code == 0, resumed.err
    assert programs.arrays(programs.latest(folder)) == [{float(STEPS)}, {float(STEPS)}]
    assert programs.latest(folder).meta["complete"] is True
    check_rows(folder)


PASSING = [
    Fault("fsync", "state.safetensors", 2, 2),
    Fault("fsync", "meta.json", 2, 3),
    Fault("fsync", "checkpoints/tmp-", 4, 6),
    Fault("fsync", "metrics", 3, 4),
    Fault("write", "state.safetensors", 5, 6),
    Fault("write", "meta.json", 2, 2, errno.ENOSPC),
    Fault("write", "metrics", 3, 5, errno.ENOSPC),
    Fault("write", "state.safetensors", 1, 3, errno.EDQUOT),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda f: f"{f.call}-{f.path[-9:]}-{f.first}")
def test_a_fault_that_passes_costs_a_warning(fault: Fault, shim: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ended = programs.train(folder, STEPS, extra=fault.variables(shim))
    assert ended.code == 0, ended.err
    assert "warning:" in ended.err
    assert os.strerror(fault.number) in ended.err
    check_resume(folder, STEPS)


LASTING = [
    Fault("fsync", "state.safetensors", 3, FOREVER),
    Fault("fsync", "meta.json", 3, FOREVER),
    Fault("write", "checkpoints", 12, FOREVER, errno.ENOSPC),
    Fault("fsync", "metrics", 4, FOREVER),
]


@pytest.mark.parametrize("fault", LASTING, ids=lambda f: f"{f.call}-{f.path[-9:]}")
def test_a_fault_that_lasts_fails_the_end_and_no_more(
    fault: Fault, shim: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    ended = programs.train(folder, STEPS, extra=fault.variables(shim))
    check_failure(ended, os.strerror(fault.number))
    check_resume(folder, 2)


def test_the_fault_is_real(shim: Path, tmp_path: Path) -> None:
    """Without a first checkpoint there is none to go on from: the shim reaches the library."""
    fault = Fault("fsync", "checkpoints/", 1, FOREVER)
    folder = tmp_path / "run"
    check_failure(programs.train(folder, STEPS, extra=fault.variables(shim)), "Input/output")
    assert not [*(folder / "checkpoints").glob("g*")]
    assert programs.train(folder, STEPS).code == 0
    check_rows(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 300 KiB, of its own."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(mounted)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs root, to mount a small file system")
    yield mounted
    subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def fill(folder: Path) -> Path:
    """Return a file that takes all the room that is left."""
    ballast = folder / "ballast"
    found = os.statvfs(folder)
    with contextlib.suppress(OSError):  # the training may be writing as well
        ballast.write_bytes(bytes(found.f_bavail * found.f_bsize))
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(folder).f_bavail == 0
    return ballast


@pytest.mark.parametrize("emptied", [True, False])
def test_a_full_disk(small_disk: Path, emptied: bool) -> None:
    folder = small_disk / "run"
    process = programs.begin(folder, STEPS, wait_at=3)
    programs.await_line(process, "waiting")
    # Not while the save is under way: what it then deletes is room for the next one.
    kept = [f"g000001-s{step:010d}" for step in (2, 3)]
    until(lambda: sorted(each.name for each in (folder / "checkpoints").iterdir()) == kept)
    ballast = fill(small_disk)
    if emptied:
        # Room again before the end, after a few saves have failed.
        os.truncate(ballast, 0)
        ended = programs.end(process, "\n")
        assert ended.code == 0, ended.err
    else:
        ended = programs.end(process, "\n")
        check_failure(ended, os.strerror(errno.ENOSPC))
        ballast.unlink()
    check_resume(folder, STEPS if emptied else 2)


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs limits on files")
def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """A limit on the size of files, as a quota would have it: for users who are not root too."""
    folder = tmp_path / "run"
    assert programs.train(folder, 3).code == 0
    meta = programs.latest(folder).meta
    script = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    # Not measured: coverage's own file could not grow either, and it says so with a traceback.
    around = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE")}
    environment = {**around, "PYTHONPATH": f"{programs.ROOT}:{programs.ROOT / 'src'}"}
    options = (str(tmp_path / "other"), str(STEPS), "1e-9", "-1")
    argv = [sys.executable, "-c", script, "-c", programs.SCRIPT, *options]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    check_failure(programs.Ended(done.returncode, done.stdout, done.stderr), "File too large")
    assert programs.latest(folder).meta == meta
