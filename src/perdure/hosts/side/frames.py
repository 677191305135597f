"""Messages over a pipe of bytes: a JSON header, and a blob for what is no text.

A frame is two numbers of four bytes, most significant first (the lengths of the header and of the
blob), the header, the blob. Bytes inside a value travel in the blob, in order; in their place
stands `{"$bytes": length}`.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

LENGTHS = struct.Struct(">II")
LARGEST = 1 << 30
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
    return LENGTHS.pack(len(header), len(blob)) + header + blob


def unpack(header: bytes, blob: bytes) -> Any:  # noqa: ANN401 - any value of JSON
    """Return the value of a frame."""
    at = 0

    def put_back(found: dict[str, Any]) -> object:
        nonlocal at
        if len(found) != 1 or _BYTES not in found:
            return found
        at += found[_BYTES]
        return blob[at - found[_BYTES] : at]

    return json.loads(header, object_hook=put_back)


def read_frame(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """Return the next frame's header and blob, None at the end of the stream.

    Raises:
        ValueError: what comes is no frame: some program there prints where it should not.
        EOFError: the stream ended inside a frame.
    """
    lengths = stream.read(LENGTHS.size)
    if not lengths:
        return None
    if len(lengths) < LENGTHS.size:
        raise EOFError("the stream ended inside a frame")
    header, blob = LENGTHS.unpack(lengths)
    if header > LARGEST or blob > LARGEST:
        raise ValueError(f"no frame begins with {lengths!r}")
    data = stream.read(header + blob)
    if len(data) < header + blob:
        raise EOFError("the stream ended inside a frame")
    return data[:header], data[header:]
