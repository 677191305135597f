"""A notice is a flag; signals, the touched file and the supervisor set it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.runtime import notice
from perdure.runtime.notice import Notice, Notices


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in notice.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", notice.SIGNALS)
def test_a_signal_sets_the_flag_and_nothing_else(number: signal.Signals) -> None:
    notices = Notices(None, grace_s=5)
    notices.install()
    assert notices.pending() is None
    os.kill(os.getpid(), number)
    found = notices.pending()
    assert found is not None
    assert found.reason == number.name
    assert found.deadline is not None


def test_the_first_word_counts() -> None:
    notices = Notices(None, grace_s=5)
    notices.install()
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        os.kill(os.getpid(), number)
    found = notices.pending()
    assert found is not None
    assert found.reason == "SIGTERM"


def test_a_second_ctrl_c_stops_at_once() -> None:
    Notices(None, grace_s=5).install()
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_process_about_to_end_hears_nothing_more() -> None:
    notices = Notices(None, grace_s=5)
    notices.install()
    thread = threading.Thread(target=notices.mute)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == notices._on_signal
    notices.mute()
    for number in notice.SIGNALS:
        os.kill(os.getpid(), number)
    assert notices.pending() is None


def test_a_touched_file_is_a_notice_once(tmp_path: Path) -> None:
    file = tmp_path / "PRE EMPT"
    notices = Notices(str(file), grace_s=5)
    assert notices.pending() is None
    file.touch()
    found = notices.pending()
    assert found is not None
    assert found.reason == "file"
    notices.acknowledge(7)
    notices.acknowledge(7)
    assert [path.name for path in tmp_path.iterdir()] == ["PRE EMPT.ack-g000007"]


def test_another_may_set_the_flag_and_the_first_stays() -> None:
    notices = Notices(None, grace_s=5)
    notices.give(Notice("aws", 12.0))
    notices.give(Notice("later"))
    assert notices.pending() == Notice("aws", 12.0)
    notices.acknowledge(1)


def test_in_another_thread_the_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=Notices(None, 5).install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_worker_ignores_what_is_meant_for_its_parent() -> None:
    called: list[int] = []
    notice.ignore_in_worker(called.append, 3)
    notice.ignore_in_worker(None, 4)
    assert called == [3]
    os.kill(os.getpid(), signal.SIGTERM)
