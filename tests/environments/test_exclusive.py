import fcntl
from pathlib import Path

import pytest

from perdure.environments.exclusive import alone
from perdure.errors import StorageError, TimeoutExpired
from tests.environments.told import Told


class Clock:
    """A clock on which only sleeping takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds * 1000


def test_a_second_holder_waits_and_says_so_once(tmp_path: Path) -> None:
    file, told, clock = tmp_path / "lock", Told(), Clock()
    with file.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            if clock.now > 500:
                fcntl.flock(other, fcntl.LOCK_UN)

        with alone(file, "busy", told, clock=clock, sleep=sleep):
            assert told.messages == ["another perdure is busy; waiting for it"]
    with alone(file, "busy", told):
        assert len(told.messages) == 1


def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    file, clock = tmp_path / "lock", Clock()
    with file.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with (
            pytest.raises(TimeoutExpired, match="busy for an hour"),
            alone(file, "busy", Told(), clock=clock, sleep=clock.sleep),
        ):
            raise AssertionError("held by another")


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError), alone(tmp_path / "missing" / "lock", "busy", Told()):
        raise AssertionError("there is no lock")
