"""Work done beside the thread that asked for it, such as a digest beside a write."""

from __future__ import annotations

import threading
from typing import Callable, Generic, List, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """A function that has begun to run in a thread of its own."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._results: List[T] = []
        self._errors: List[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="perdure-background")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            self._errors.append(error)

    def join(self) -> None:
        """Wait until it is over, however it went."""
        self._thread.join()

    def result(self) -> T:
        """Wait for the result and return it, or raise what the function raised."""
        self._thread.join()
        if self._errors:
            raise self._errors[0]
        return self._results[0]
