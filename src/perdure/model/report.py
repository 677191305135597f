"""How long work tells whoever waits for it what it is doing."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Told what is being done; `done` of `total` where that can be counted."""

    def __call__(self, message: str, *, done: int | None = None, total: int | None = None) -> None:
        """Tell it."""


def silent(message: str, *, done: int | None = None, total: int | None = None) -> None:
    """Tell nobody."""
