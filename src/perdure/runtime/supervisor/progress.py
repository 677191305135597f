"""How far an attempt has come, by what the training tells. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure.runtime.supervisor.channel import Message


class Progress:
    """The sum of one attempt's messages; `best` is the highest durable step of those before it.

    Only a durable step beyond every earlier one counts as progress: a training that falls back to
    an older checkpoint again and again would otherwise never run out of tries.
    """

    def __init__(self, best: int = 0) -> None:
        self.best = best
        self.greeted = False
        self.stepped = False
        self.advanced = False
        self.durable_step: int | None = None
        self.said: int | None = None
        self._start = 0

    def hear(self, message: Message) -> None:
        """Take one message in."""
        self.greeted = True
        if message.event == "hello":
            self.said = None  # a second program in the same attempt: the last word was not the last
        elif message.event == "exiting":
            self.said = message.number
        elif message.event == "restored":
            self._restored(message)
        elif message.event == "durable":
            self._durable(message.number)
        elif message.event == "step":
            self.stepped = self.stepped or message.number > self._start

    def _restored(self, message: Message) -> None:
        self._start = message.number
        self.best = max(self.best, message.number)
        if message.fields.get("generation") is not None:
            self.durable_step = message.number

    def _durable(self, step: int) -> None:
        self.durable_step = step
        self.stepped = self.stepped or step > self._start
        self.advanced = self.advanced or step > self.best
        self.best = max(self.best, step)
