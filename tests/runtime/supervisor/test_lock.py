from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from perdure.runtime.supervisor import lock


def test_a_lock_is_taken_once_and_is_free_after_its_release(run_dir: Path) -> None:
    held = lock.take(str(run_dir))
    assert held.problem is None
    with pytest.raises(lock.AlreadyRunning, match="already running"):
        lock.take(str(run_dir))
    held.release()
    lock.take(str(run_dir)).release()


def test_a_child_does_not_inherit_it(run_dir: Path) -> None:
    held = lock.take(str(run_dir))
    assert not os.get_inheritable(held.fd)
    held.release()


def refuse(code: int) -> object:
    def flock(fd: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    return flock


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_a_problem_not_an_end(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse(code))
    held = lock.take(str(run_dir))
    assert held.problem is not None
    assert os.strerror(code) in held.problem
    held.release()


def test_any_other_failure_is_one(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        lock.take(str(run_dir))
