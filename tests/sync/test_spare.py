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
from perdure.sync.channel import Channel, Pace, boot_words
from perdure.sync.spare import Spare

#: For a minute at most.
LOOKS = 6000


class Silent:
    """What a spare knows of the channel that says nothing."""

    is_reached = True

    def __init__(self, usual_s: float = 0.0) -> None:
        self.asked_at: float | None = time.monotonic()
        self.usual_s = usual_s

    def as_channel(self) -> Channel:
        return cast(Channel, self)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "_DOUBT_S", 0.05)
    monkeypatch.setattr(spare, "_STRANGE_TRY_S", 600.0)


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


def end(found: Channel | None) -> None:
    assert found is not None
    found.kill()
    found.close()


def test_one_that_is_there_at_once_lets_the_next_wait_longer(
    there: Spare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network was there all the time: whoever is silent had something to do."""
    monkeypatch.setattr(spare, "_NEXT_S", 600.0)
    end(looked(there, Silent()))
    again = Silent()
    assert there.due_at(again.as_channel()) - (again.asked_at or 0) == pytest.approx(0.1)


def test_after_a_network_that_was_away_the_next_is_looked_for_as_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is begun without a network is late, too: others are begun beside it."""
    monkeypatch.setattr(spare, "_NEXT_S", 0.02)
    knocks = tmp_path / "knocks"
    knocks.touch()
    away = f'echo >>"{knocks}"; [ $(wc -l <"{knocks}") -lt 3 ] && exec sleep 600; exec "$@"'
    there = Spare(("sh", "-c", away, "sh", *boot_words(sys.executable)))
    end(looked(there, Silent()))
    assert len(knocks.read_text()) == 3
    assert there.filenos() == []
    again = Silent()
    due_at = there.due_at(again.as_channel())
    assert due_at - (again.asked_at or 0) == pytest.approx(0.05)


def test_so_many_are_tried_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "_NEXT_S", 0.0)
    there = Spare(("sleep", "600"))
    silent = Silent()
    while len(there.filenos()) < 3:
        assert looked(there, silent, 1) is None
    assert looked(there, silent, 5) is None
    assert len(there.filenos()) == 3
    # Whoever begins anew leaves them: one of them may be there first.
    assert there.look(None) is None
    assert len(there.filenos()) == 3
    there.drop()


def test_answers_that_a_network_held_back_say_nothing_of_the_next() -> None:
    pace = Pace()
    for took_s in (*[0.02] * 50, 8.0):
        pace.note(took_s)
    assert 0.1 < pace.limit_s < 1.5
    for _ in range(100):
        pace.note(0.9)
    assert pace.limit_s == pytest.approx(0.9, abs=0.01)


def test_one_who_took_long_before_is_given_longer(there: Spare) -> None:
    silent = Silent(usual_s=600.0)
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
    monkeypatch.setattr(spare, "_NEXT_S", 0.02)
    knocks = tmp_path / "knocks"
    knocks.touch()
    there = Spare(("sh", "-c", f'echo >>"{knocks}"; echo "{said}" >&2; exit 255'))
    silent = Silent()
    while there.exists and len(knocks.read_text()) < 2:
        assert looked(there, silent, 1) is None
    assert looked(there, silent, 5) is None
    there.drop()
    assert len(knocks.read_text()) >= tries
    assert there.exists is (tries > 1)
