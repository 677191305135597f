"""The staging buffer: where a snapshot is copied at a step boundary, laid out as a file.

One page-aligned memory is reused for every save: the first touch of fresh memory costs eight times
the copy itself, so it is paid once, before the training starts. The layout is that of safetensors
(https://github.com/huggingface/safetensors, "Format"): length of the header, header, bytes; the
header is padded so that the data begins on a page, as O_DIRECT wants it.
"""

from __future__ import annotations

import json
import mmap
import struct
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Tuple

from perdure.runtime import arrays
from perdure.runtime.arrays import Array, Region
from perdure.runtime.faults import CorruptError

PAGE = 4096
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14; the mmap module does not name it
_TOUCH_BYTES = 1 << 20


@dataclass(frozen=True)
class Layout:
    """Where each array lies in the file: `(offset from the file's start, bytes)` by name."""

    header: bytes
    places: Mapping[str, Tuple[int, int]]
    nbytes: int


def lay_out(found: Mapping[str, Array]) -> Layout:
    """Return the file's layout: larger items first, so that every array is aligned. Pure."""
    entries: Dict[str, object] = {}
    spans: Dict[str, Tuple[int, int]] = {}
    offset = 0
    for name, array in sorted(found.items(), key=lambda item: -_alignment(item[1])):
        plain = array.disk is None
        entries[name] = {
            "dtype": "U8" if plain else array.disk,
            "shape": [array.nbytes] if plain else list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        spans[name] = (offset, array.nbytes)
        offset += array.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % PAGE)
    header = struct.pack("<Q", len(text)) + text
    places = {name: (len(header) + start, size) for name, (start, size) in spans.items()}
    return Layout(header, places, len(header) + offset)


def _alignment(array: Array) -> int:
    """Return the largest power of two, 16 at most, that divides the size of an item."""
    return min(array.itemsize & -array.itemsize, 16) if array.itemsize else 1


def read_places(memory: arrays.Memory, nbytes: int) -> Dict[str, Tuple[int, int]]:
    """Return where each array lies in a file read into `memory`.

    Raises:
        CorruptError: the header does not fit the file.
    """
    try:
        (length,) = struct.unpack("<Q", memory[:8])
        entries = json.loads(memory[8 : 8 + length])
        base = 8 + length
        places = {}
        for name, entry in entries.items():
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= nbytes - base:
                raise ValueError(name)
            places[str(name)] = (base + start, end - start)
        return places
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise CorruptError(f"the header of the state file cannot be read: {error}") from error


def allocate(nbytes: int) -> mmap.mmap:
    """Return anonymous memory of whole pages, aligned to a page, in huge pages where there are."""
    size = max(PAGE, -(-nbytes // PAGE) * PAGE)
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            pass  # a kernel without huge pages: only slower
    return memory


def prefault(memory: mmap.mmap) -> None:
    """Touch every page of `memory`, which must hold nothing yet."""
    try:
        memory.madvise(_POPULATE_WRITE)
    except (OSError, AttributeError):
        _touch(memory)


def _touch(memory: mmap.mmap) -> None:
    zeros = bytes(_TOUCH_BYTES)
    for start in range(0, len(memory), _TOUCH_BYTES):
        end = min(start + _TOUCH_BYTES, len(memory))
        memory[start:end] = zeros[: end - start]


class Staging:
    """A reused memory holding at most one snapshot."""

    def __init__(self) -> None:
        self.memory: Optional[mmap.mmap] = None
        self._signature: Optional[List[Tuple[str, str, Tuple[int, ...]]]] = None
        self._layout: Optional[Layout] = None
        self._views: Dict[str, object] = {}

    def prepare(self, found: Mapping[str, Array]) -> Layout:
        """Return the layout for these arrays, with memory allocated and touched for it."""
        signature = [(name, array.kind, array.shape) for name, array in found.items()]
        if self._layout is not None and signature == self._signature:
            return self._layout
        layout = lay_out(found)
        self._views = {}
        if self.memory is None or len(self.memory) < layout.nbytes:
            self.memory = allocate(layout.nbytes)
            prefault(self.memory)
        self.memory[: len(layout.header)] = layout.header
        for name, array in found.items():
            self._views[name] = arrays.view(self.memory, layout.places[name][0], array)
        self._layout, self._signature = layout, signature
        return layout

    def fill(self, found: Mapping[str, Array]) -> Layout:
        """Copy the arrays into the memory: the only time for which the training waits."""
        layout = self.prepare(found)
        for name, array in found.items():
            arrays.copy_into(self._views[name], array)
        return layout

    def region(self, name: str) -> Region:
        """Return the bytes of one array of the snapshot."""
        if self.memory is None or self._layout is None:
            raise KeyError(name)
        offset, nbytes = self._layout.places[name]
        return Region(self.memory, offset, nbytes)
