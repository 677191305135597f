"""Another way to the other side: when it is looked for, and when no more."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from perdure.hosts.ssh import Ssh, apart
from perdure.sync import spare
from perdure.sync.channel import Channel, boot_words
from perdure.sync.spare import Spare

LOOKS = 500


class Silent:
    """What a spare knows of the channel that says nothing."""

    def __init__(self, longest_s: float = 0.0) -> None:
        self.asked_at: float | None = time.monotonic()
        self.longest_s = longest_s

    def as_channel(self) -> Channel:
        return cast(Channel, self)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "_DOUBT_S", 0.05)
    monkeypatch.setattr(spare, "_PAUSE_S", 0.0)


@pytest.fixture
def there() -> Iterator[Spare]:
    made = Spare(boot_words(sys.executable))
    yield made
    made.drop()


def looked(there: Spare, silent: Silent, looks: int = LOOKS) -> Channel | None:
    """Return what came of looking so often, 10 ms apart."""
    for _ in range(looks):
        found = there.look(silent.as_channel())
        if found is not None:
            return found
        time.sleep(0.01)
    return None


def test_only_ssh_has_a_connection_of_its_own() -> None:
    words = Ssh("gpu1", "gpu1").command(["python3"])
    found = apart(words)
    assert found is not None
    # ssh takes the first of what is said twice.
    assert found[:5] == ("ssh", "-o", "ControlPath=none", "-o", "BatchMode=yes")
    assert found[5:] == words[1:]
    assert apart(("docker", "exec", "-i", "x")) is None
    assert apart(()) is None


def test_one_who_answers_is_not_doubted(there: Spare) -> None:
    silent = Silent()
    silent.asked_at = None
    assert looked(there, silent, 20) is None
    assert there.filenos() == []
    assert there.due_at(silent.as_channel()) == float("inf")


def test_another_way_is_found_and_the_next_one_is_looked_for_later(there: Spare) -> None:
    silent = Silent()
    first = looked(there, silent)
    assert first is not None
    first.kill()
    first.close()
    again = Silent()
    assert there.due_at(again.as_channel()) - (again.asked_at or 0) == pytest.approx(0.1)


def test_one_who_took_long_before_is_given_longer(there: Spare) -> None:
    silent = Silent(longest_s=60.0)
    assert looked(there, silent, 20) is None
    assert there.filenos() == []


def test_it_is_left_as_soon_as_something_is_heard() -> None:
    there = Spare(("sleep", "60"))
    silent = Silent()
    assert looked(there, silent, 20) is None
    assert there.filenos() != []
    silent.asked_at = None
    assert there.look(silent.as_channel()) is None
    assert there.filenos() == []


@pytest.mark.parametrize(
    ("said", "tries"), [("x@y: Permission denied (publickey,password).", 1), ("no route", 2)]
)
def test_who_is_not_let_in_does_not_knock_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, tries: int
) -> None:
    monkeypatch.setattr(spare, "_TRY_S", 0.1)
    knocks = tmp_path / "knocks"
    knocks.touch()
    there = Spare(("sh", "-c", f'echo >>"{knocks}"; echo "{said}" >&2; exit 255'))
    silent = Silent()
    for _ in range(LOOKS // 5):
        assert looked(there, silent, 1) is None
        if len(knocks.read_text()) >= 2:
            break
    there.drop()
    assert len(knocks.read_text()) == tries
