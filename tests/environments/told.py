"""What a report was told."""

from __future__ import annotations


class Told:
    """A report that remembers."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def __call__(self, message: str, *, done: int | None = None, total: int | None = None) -> None:
        self.messages.append(message)

    @property
    def text(self) -> str:
        return "\n".join(self.messages)
