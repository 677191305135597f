from __future__ import annotations

import os
import signal

import pytest

from perdure.cli.signals import Signals, as_ctrl_c


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_signals_are_counted_and_then_mean_what_they_did() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    signals = Signals()
    with signals.counted():
        send(signal.SIGINT)
        send(signal.SIGTERM)
    assert signals.count == 2
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        signals = Signals()
        with signals.counted():
            send(signal.SIGINT)
        assert signals.count == 0
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_verb_can_end_as_with_ctrl_c(number: int) -> None:
    with pytest.raises(KeyboardInterrupt), as_ctrl_c():
        send(number)
