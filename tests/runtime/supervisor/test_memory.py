"""Where Linux counts what it has killed for want of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.runtime.supervisor.memory import kills

EVENTS = "low 0\nhigh 0\nmax 7\noom 2\noom_kill {}\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cgroup"
    folder.mkdir()
    return folder


def own(tmp_path: Path, text: str) -> str:
    file = tmp_path / "own"
    file.write_text(text)
    return str(file)


def test_in_ones_own_group(root: Path, tmp_path: Path) -> None:
    (root / "jobs" / "one").mkdir(parents=True)
    (root / "jobs" / "one" / "memory.events").write_text(EVENTS.format(3))
    assert kills(str(root), own(tmp_path, "0::/jobs/one\n")) == 3


def test_in_a_container_that_sees_its_own_as_the_root(root: Path, tmp_path: Path) -> None:
    (root / "memory.events").write_text(EVENTS.format(2))
    assert kills(str(root), own(tmp_path, "0::/kubepods/pod1\n")) == 2


def test_of_the_first_version(root: Path, tmp_path: Path) -> None:
    (root / "memory").mkdir()
    (root / "memory" / "memory.oom_control").write_text(CONTROL.format(1))
    said = "5:cpu,cpuacct:/a\n4:memory:/k8s.io/abc\n0::/\n"
    assert kills(str(root), own(tmp_path, said)) == 1


def test_it_is_found_again_where_it_was_and_where_it_went(root: Path, tmp_path: Path) -> None:
    group = root / "one"
    group.mkdir()
    (group / "memory.events").write_text(EVENTS.format(1))
    said = own(tmp_path, "0::/one\n")
    assert kills(str(root), said) == 1
    (group / "memory.events").write_text(EVENTS.format(4))
    assert kills(str(root), said) == 4
    group.rename(root / "two")
    assert kills(str(root), own(tmp_path, "0::/two\n")) == 4


def test_what_cannot_be_read_is_passed_over(root: Path, tmp_path: Path) -> None:
    (root / "one" / "memory.events").mkdir(parents=True)
    assert kills(str(root), own(tmp_path, "0::/one\n")) == 0


def test_where_nobody_counts(root: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert kills(str(root), str(tmp_path / "nothing")) == 0
    (root / "memory.events").write_text("oom_kill many\n")
    assert kills(str(root), str(tmp_path / "nothing either")) == 0
