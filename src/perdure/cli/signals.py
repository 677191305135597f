"""What SIGINT, SIGTERM and SIGHUP mean to a verb that has something running."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)
ENDING = (signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], None]


class Signals:
    """How often the user, or whoever runs perdure, asked it to stop."""

    def __init__(self) -> None:
        self.count = 0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count SIGINT and SIGTERM instead of ending; SIGHUP still ends perdure, not the job."""
        with handled(STOPPING, self._note):
            yield

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


@contextlib.contextmanager
def as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a verb as Ctrl-C does: what it started does not outlive it.

    Once: a terminal that is closed is told of by the kernel and by the shell, and the second word
    is not to end what the first has begun to clear away.
    """
    told = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = True
            raise KeyboardInterrupt

    with handled(ENDING, interrupt):
        yield


@contextlib.contextmanager
def handled(numbers: Sequence[signal.Signals], handler: Handler) -> Iterator[None]:
    """Handle these signals; one that is ignored (`nohup`, a script's background) stays ignored."""
    before = {
        number: signal.signal(number, handler)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
