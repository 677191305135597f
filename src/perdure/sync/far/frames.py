"""Messages over a pipe of bytes: a JSON header each, and a blob of contents.

A frame is two numbers of four bytes, most significant first (the lengths of the header and of the
blob), the header, the blob. Before the first frame comes `MAGIC`: what a login script printed by
then is passed over.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, List, Optional, Tuple, Union

MAGIC = b"\0perdure-sync 1\n"
LENGTHS = struct.Struct(">II")
LARGEST_BYTES = 1 << 28
# How much a login script may print before the other end is taken for something else.
NOISE_BYTES = 1 << 16

Header = Dict[str, Any]
Blob = Union[bytes, bytearray]
Frame = Tuple[Header, Blob]


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
        # The frame whose blob has begun to come: its header, its blob, and what of that is to come.
        self._header: Optional[Header] = None
        self._blob = bytearray()
        self._room = memoryview(bytearray())

    @property
    def room(self) -> memoryview:
        """Return where the rest of a blob that has begun to come is to be put, if one has."""
        return self._room

    def filled(self, count: int) -> List[Frame]:
        """Return the frame that is complete now that so many bytes were put into its room."""
        self._room = self._room[count:]
        if self._header is None or self._room:
            return []
        frame = (self._header, self._blob)
        self._header = None
        return [frame]

    def feed(self, data: Union[bytes, memoryview]) -> List[Frame]:
        """Return the frames that are complete with these bytes.

        Raises:
            Garbled: there cannot be any: the other end says something else.
        """
        frames: List[Frame] = []
        if self._room:
            count = min(len(self._room), len(data))
            self._room[:count] = data[:count]
            data = data[count:]
            frames += self.filled(count)
        self._bytes += data
        if self._awaits_magic and not self._pass_noise():
            return []
        while len(self._bytes) >= LENGTHS.size and self._begin():
            frames += self.filled(0)
        return frames

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

    def _begin(self) -> bool:
        """Return whether another frame has begun, its header complete."""
        header, blob = LENGTHS.unpack_from(self._bytes)
        if header > LARGEST_BYTES or blob > LARGEST_BYTES:
            raise Garbled("a frame is longer than any can be")
        start = LENGTHS.size + header
        if len(self._bytes) < start:
            return False
        try:
            value = json.loads(self._bytes[LENGTHS.size : start])
        except ValueError as error:
            raise Garbled(str(error)) from error
        if not isinstance(value, dict):
            raise Garbled("a header is no object")
        self._header = value
        came = min(blob, len(self._bytes) - start)
        self._blob = bytearray(blob)
        self._blob[:came] = self._bytes[start : start + came]
        self._room = memoryview(self._blob)[came:]
        del self._bytes[: start + came]
        return True
