"""Messages over a pipe of bytes: a JSON header, and a blob for what is no text.

A frame is two numbers of four bytes, most significant first (the lengths of the header and of the
blob), the header, the blob. Bytes inside a value travel in the blob, in order; in their place
stands `{"$bytes": length}`. A large answer is cut into pieces, so that others pass between them:
`number`, `piece` and how many bytes are `left`.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

LENGTHS_BYTES = 8
LARGEST = 1 << 30
PIECE = 1 << 18
# What a frame of pieces can be at most: nothing larger is kept for the sake of another host.
LARGEST_PIECE = PIECE + (1 << 12)
_BYTES = "$bytes"


def pack(value: object) -> bytes:
    """Return a value as one frame."""
    blobs: list[bytes] = []

    def keep(found: object) -> object:
        if isinstance(found, (bytes, bytearray, memoryview)):
            blobs.append(bytes(found))
            return {_BYTES: len(blobs[-1])}
        raise TypeError(f"cannot send a {type(found).__name__}")

    # Names of files may hold anything: what is no UTF-8 travels as lone surrogates, escaped.
    header = json.dumps(value, default=keep, separators=(",", ":")).encode("ascii")
    blob = b"".join(blobs)
    return joined(header, blob)


def joined(header: bytes, blob: bytes) -> bytes:
    """Return a frame of what is packed already."""
    # Not by `struct`, which takes longer to be imported than a host to answer.
    return len(header).to_bytes(4, "big") + len(blob).to_bytes(4, "big") + header + blob


def unpack(header: bytes, blob: bytes) -> Any:  # noqa: ANN401 - any value of JSON
    """Return the value of a frame.

    Raises:
        ValueError: it is none.
    """
    at = 0

    def put_back(found: dict[str, Any]) -> object:
        nonlocal at
        length = found.get(_BYTES)
        if len(found) != 1 or type(length) is not int:
            return found
        if not 0 <= length <= len(blob) - at:
            raise ValueError("a frame names bytes that it does not have")
        at += length
        return blob[at - length : at]

    try:
        return json.loads(header, object_hook=put_back)
    except RecursionError as error:
        raise ValueError("a frame is too deep") from error


def read_frame(stream: BinaryIO, largest: int = LARGEST) -> tuple[bytes, bytes] | None:
    """Return the next frame's header and blob, None at the end of the stream.

    Raises:
        ValueError: what comes is no frame: some program there prints where it should not.
        EOFError: the stream ended inside a frame.
    """
    lengths = stream.read(LENGTHS_BYTES)
    if not lengths:
        return None
    if len(lengths) < LENGTHS_BYTES:
        raise EOFError("the stream ended inside a frame")
    header, blob = int.from_bytes(lengths[:4], "big"), int.from_bytes(lengths[4:], "big")
    if header > largest or blob > largest:
        raise ValueError(f"no frame begins with {lengths!r}")
    found = stream.read(header), stream.read(blob)
    if len(found[0]) < header or len(found[1]) < blob:
        raise EOFError("the stream ended inside a frame")
    return found


def in_pieces(frame: bytes, number: object) -> Iterator[bytes]:
    """Yield the frames that carry one: itself if it is small. Pure."""
    if len(frame) <= PIECE:
        yield frame
        return
    view = memoryview(frame)
    for at in range(0, len(frame), PIECE):
        piece = view[at : at + PIECE]
        left = len(frame) - at - len(piece)
        yield pack({"number": number, "piece": piece, "left": left})


class Assembly:
    """The frame that pieces add up to."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._whole = bytearray()

    def add(self, value: object) -> Any:  # noqa: ANN401 - any value of JSON
        """Return the value once it is whole, None until then; what is no piece is whole.

        Raises:
            ValueError: it is too large, or no frame.
        """
        if not isinstance(value, dict):
            raise ValueError("an answer is none")
        if "piece" not in value:
            return value
        piece, left = value["piece"], value["left"]
        if not isinstance(piece, bytes) or type(left) is not int or left < 0:
            raise ValueError("a piece of a frame is none")
        if len(self._whole) + len(piece) + left > self._largest:
            raise ValueError("an answer is too large")
        self._whole += piece
        if left:
            return None
        whole, self._whole = self._whole, bytearray()
        frame = read_frame(io.BytesIO(whole), self._largest)
        return None if frame is None else unpack(*frame)
