"""Messages over a pipe of bytes: a JSON header each, and a blob of contents.

A frame is two numbers of four bytes, most significant first (the lengths of the header and of the
blob), the header, the blob. Before the first frame comes `MAGIC`: what a login script printed by
then is passed over.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, List, Tuple

MAGIC = b"\0perdure-sync 1\n"
LENGTHS = struct.Struct(">II")
LARGEST_BYTES = 1 << 28
# How much a login script may print before the other end is taken for something else.
NOISE_BYTES = 1 << 16

Header = Dict[str, Any]
Frame = Tuple[Header, bytes]


class Garbled(ValueError):
    """What came is no frame."""


def pack(header: Header, blob: bytes = b"") -> bytes:
    """Return one frame. A name that is no UTF-8 travels as escaped lone surrogates."""
    return head(header, len(blob)) + blob


def head(header: Header, size: int) -> bytes:
    """Return what comes before a blob of that size."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    return LENGTHS.pack(len(text), size) + text


class Assembler:
    """Bytes as they come, made into frames."""

    def __init__(self, *, awaits_magic: bool) -> None:
        self._bytes = bytearray()
        self._awaits_magic = awaits_magic

    def feed(self, data: bytes) -> List[Frame]:
        """Return the frames that are complete with these bytes.

        Raises:
            Garbled: there cannot be any: the other end says something else.
        """
        self._bytes += data
        if self._awaits_magic and not self._pass_noise():
            return []
        frames: List[Frame] = []
        while True:
            frame = self._next()
            if frame is None:
                return frames
            frames.append(frame)

    @property
    def is_greeted(self) -> bool:
        """Return whether the other end has begun to speak."""
        return not self._awaits_magic

    @property
    def noise(self) -> bytes:
        """Return what came that is no frame, as long as there is no magic."""
        return bytes(self._bytes) if self._awaits_magic else b""

    def _pass_noise(self) -> bool:
        at = self._bytes.find(MAGIC)
        if at < 0:
            if len(self._bytes) > NOISE_BYTES:
                raise Garbled("the other end does not speak as it should")
            return False
        del self._bytes[: at + len(MAGIC)]
        self._awaits_magic = False
        return True

    def _next(self) -> Frame | None:
        if len(self._bytes) < LENGTHS.size:
            return None
        header, blob = LENGTHS.unpack_from(self._bytes)
        if header > LARGEST_BYTES or blob > LARGEST_BYTES:
            raise Garbled("a frame is longer than any can be")
        start = LENGTHS.size + header
        if len(self._bytes) < start + blob:
            return None
        try:
            value = json.loads(self._bytes[LENGTHS.size : start])
        except ValueError as error:
            raise Garbled(str(error)) from error
        if not isinstance(value, dict):
            raise Garbled("a header is no object")
        with memoryview(self._bytes) as view:
            content = bytes(view[start : start + blob])
        del self._bytes[: start + blob]
        return value, content
