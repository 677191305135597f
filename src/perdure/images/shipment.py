"""What came of shipping an image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moved:
    """What went over, and what the other side had: layers, and bytes as they travel.

    Bytes are None where neither side tells them.
    """

    sent_layers: int = 0
    sent_bytes: int | None = 0
    skipped_layers: int = 0
    skipped_bytes: int | None = 0


@dataclass(frozen=True, slots=True)
class Shipment:
    """An image that arrived: its tag, where it is now and what it is called there.

    `digest` is a registry's name for its contents, None elsewhere.
    """

    image: str
    destination: str
    called: str
    moved: Moved
    digest: str | None = None
