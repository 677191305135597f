"""Work with a time limit that holds even where the work hangs in the kernel, as on a dead mount."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Limited(Generic[T]):
    """Work that has been started in a thread of its own.

    The thread is a daemon: one that never ends does not keep perdure from ending.
    """

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._answers: queue.SimpleQueue[tuple[T] | BaseException] = queue.SimpleQueue()
        self._work = work
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def answer(self, timeout_s: float) -> T | None:
        """Return what the work returned, None if it has not ended in time.

        Raises:
            BaseException: what the work raised.
        """
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(answer, BaseException):
            raise answer
        return answer[0]

    def _run(self) -> None:
        try:
            self._answers.put((self._work(),))
        except BaseException as error:  # noqa: BLE001 - handed on to whoever waits
            self._answers.put(error)
