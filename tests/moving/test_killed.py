"""Killed in the middle, and said again: what had arrived is not moved again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure.errors import EnvironmentFailed
from perdure.moving.address import Address
from perdure.moving.bucket_pull import pull_from_bucket
from perdure.moving.bucket_push import push_to_bucket
from perdure.moving.far import Far
from perdure.moving.journal import Journal
from perdure.moving.parts import PART_BYTES
from tests.engines.hosts import Hosts
from tests.moving.trees import Project, content, other, pull, push
from tests.waiting import until

LIMIT_S = 120.0
LARGE = 96 << 20

#: `moving.py push|pull ROOT PLACE`: to a bucket, or to a folder of gpu1.
PROGRAM = """
import sys
from pathlib import Path
from perdure.hosts.ssh import Ssh
from perdure.moving.address import is_address, parse_address
from perdure.moving.bucket_pull import pull_from_bucket
from perdure.moving.bucket_push import push_to_bucket
from perdure.moving.far import Far
from tests.moving.trees import Project, pull, push
verb, project, place = sys.argv[1], Project(Path(sys.argv[2])), sys.argv[3]
if is_address(place):
    errand = project.errand(place, pushing=verb == "push")
    (push_to_bucket if verb == "push" else pull_from_bucket)(errand, parse_address(place))
else:
    (push if verb == "push" else pull)(project, Far(Ssh("gpu1", "gpu1"), place))
"""


@pytest.fixture
def slow(hosts_here: Hosts) -> Iterator[Hosts]:
    """Have what goes to gpu1 take its time."""
    hosts_here.limit("gpu1", "160mbit")
    yield hosts_here
    hosts_here.limit("gpu1", "none")


@pytest.fixture
def large(project: Project) -> Path:
    """Return a large file among the project's data."""
    file = project.data / "large file"
    file.write_bytes(os.urandom(LARGE))
    return file


def start(verb: str, project: Project, place: str) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, verb, str(project.root), place],
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], bool], moving: subprocess.Popen[bytes] | None = None) -> None:
    def there() -> bool:
        if moving is not None and moving.poll() is not None:
            pytest.fail(f"it ended by itself: {moving.communicate()[1].decode()}")
        return condition()

    until(there, every_s=0.01)


def processes(*words: str) -> list[int]:
    """Return the processes that have all the words in their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if all(word in line for word in words):
                found.append(int(entry.name))
    return found


def is_half(file: Path) -> Callable[[], bool]:
    return lambda: file.exists() and LARGE // 4 < file.stat().st_size < LARGE * 3 // 4


def kill(victim: str, moving: subprocess.Popen[bytes], project: Project) -> None:
    """Kill -9 what moves the files, or what it runs, or press Ctrl-C."""
    if victim == "us":
        moving.kill()
    elif victim == "ctrl-c":
        moving.send_signal(signal.SIGINT)
    else:
        # rsync is started with its list of files, ssh with the place as it is called there.
        words = (
            ("rsync", str(project.root)) if victim == "rsync" else ("ssh", "exec sh -c", "rsync")
        )
        for pid in processes(*words):
            if pid != moving.pid:
                os.kill(pid, signal.SIGKILL)
    moving.wait(LIMIT_S)
    assert moving.returncode != 0
    assert moving.stderr is not None
    moving.stderr.close()
    wait_for(lambda: not processes("rsync", str(project.root)))


@pytest.mark.parametrize("victim", ["rsync", "ssh", "us", "ctrl-c"])
def test_a_push_goes_on_where_it_was_killed(
    project: Project, far: Far, folder: Path, slow: Hosts, large: Path, victim: str
) -> None:
    staged = folder / ".perdure" / "moving" / "data" / large.name
    moving = start("push", project, far.root)
    wait_for(is_half(staged), moving)
    kill(victim, moving, project)
    assert not (folder / "data" / large.name).exists(), "nothing half is visible"
    slow.limit("gpu1", "none")
    had = staged.stat().st_size
    pushed = push(project, far)
    assert had > LARGE // 4
    assert pushed.sent_bytes <= pushed.bytes - had + (1 << 20)
    assert content(folder / "data") == content(project.data)
    assert (folder / "data" / large.name).read_bytes() == large.read_bytes()


@pytest.mark.parametrize("victim", ["rsync", "us"])
def test_a_pull_goes_on_where_it_was_killed(
    project: Project, far: Far, slow: Hosts, large: Path, tmp_path: Path, victim: str
) -> None:
    slow.limit("gpu1", "none")
    push(project, far)
    slow.limit("gpu1", "160mbit")
    there = other(tmp_path)
    staging = there.errand("gpu1", pushing=False).staging
    moving = start("pull", there, far.root)
    wait_for(is_half(staging / large.name), moving)
    kill(victim, moving, there)
    assert not (there.data / large.name).exists()
    slow.limit("gpu1", "none")
    had = (staging / large.name).stat().st_size
    pulled = pull(there, far)
    assert had > LARGE // 4
    assert pulled.sent_bytes <= pulled.bytes - had + (1 << 20)
    assert content(there.data) == content(project.data)


def is_reached(far: Far) -> bool:
    """Return whether the host answers: a kernel that just asked in vain for it says no for it."""
    try:
        far.host.run(["true"], timeout_s=60)
    except EnvironmentFailed:
        return False
    return True


@pytest.mark.long
def test_a_network_that_is_cut_is_one_clear_error_and_it_goes_on_later(
    project: Project,
    far: Far,
    folder: Path,
    slow: Hosts,
    large: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    staged = folder / ".perdure" / "moving" / "data" / large.name
    moving = start("push", project, far.root)
    wait_for(is_half(staged), moving)
    slow.cut("gpu1")
    assert moving.wait(LIMIT_S) != 0
    assert moving.stderr is not None
    assert b"HostUnreachable" in moving.stderr.read()
    moving.stderr.close()
    with monkeypatch.context() as patched:
        patched.setattr("perdure.hosts.ssh.PATIENCE_S", 3)
        with pytest.raises(EnvironmentFailed, match="gpu1"):
            push(project, far)
    slow.mend("gpu1")
    slow.limit("gpu1", "none")
    until(lambda: is_reached(far))
    pushed = push(project, far)
    assert pushed.sent_bytes < pushed.bytes
    assert content(folder / "data") == content(project.data)


def test_a_pull_from_a_bucket_goes_on_with_the_parts_that_are_missing(
    project: Project, s3: Address, large: Path, tmp_path: Path
) -> None:
    push_to_bucket(project.errand(str(s3), pushing=True), s3)
    there = other(tmp_path)
    errand = there.errand(str(s3), pushing=False)
    journal = Journal(errand.known.with_suffix(".parts"))

    def parts() -> int:
        return sum(line[0] == large.name for line in journal.lines())

    moving = start("pull", there, str(s3))
    wait_for(lambda: parts() >= 3, moving)
    moving.kill()
    moving.wait(LIMIT_S)
    assert moving.stderr is not None
    moving.stderr.close()
    had = parts()
    assert 3 <= had < LARGE // PART_BYTES
    assert not (there.data / large.name).exists()
    pulled = pull_from_bucket(errand, s3)
    assert pulled.sent_bytes <= pulled.bytes - had * PART_BYTES
    assert content(there.data) == content(project.data)


def test_a_push_to_a_bucket_goes_on_with_the_files_that_are_missing(
    project: Project, s3: Address, tmp_path: Path
) -> None:
    for number in range(12):
        (project.data / f"shard {number}").write_bytes(os.urandom(PART_BYTES))
    errand = project.errand(str(s3), pushing=True)
    journal = Journal(errand.known.with_suffix(".sent"))

    def shards() -> int:
        return sum(str(line[0]).startswith("shard") for line in journal.lines())

    moving = start("push", project, str(s3))
    wait_for(lambda: shards() >= 2, moving)
    moving.kill()
    moving.wait(LIMIT_S)
    assert moving.stderr is not None
    moving.stderr.close()
    had = shards()
    pushed = push_to_bucket(errand, s3)
    assert pushed.sent_bytes <= pushed.bytes - had * PART_BYTES
    there = other(tmp_path)
    pull_from_bucket(there.errand(str(s3), pushing=False), s3)
    assert content(there.data) == content(project.data)
