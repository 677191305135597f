from __future__ import annotations

import os
import signal

from perdure.runtime.supervisor.signals import Signals


def test_a_signal_is_noted_once_in_the_order_of_arrival(signals: Signals) -> None:
    for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP, signal.SIGCHLD):
        os.kill(os.getpid(), number)
    assert [signals.take(), signals.take(), signals.take()] == ["SIGUSR2", "SIGTERM", None]


def test_a_signal_ends_a_wait(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    signals.wait((), 99)  # would be noticed
    assert signals.take() == "SIGTERM"


def test_a_thread_ends_a_wait_and_so_does_a_descriptor(signals: Signals) -> None:
    signals.wake()
    signals.wait((), 99)
    reader, writer = os.pipe()
    os.write(writer, b"x")
    signals.wait((reader,), 99)
    os.close(reader)
    os.close(writer)


def test_a_wait_ends_by_itself(signals: Signals) -> None:
    signals.wait((), 0.0)
    signals.wait((), -1.0)


def test_a_pipe_that_is_full_still_wakes(signals: Signals) -> None:
    for _ in range(70_000):
        signals.wake()
    signals.wait((), 99)
