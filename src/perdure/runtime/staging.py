"""The staging buffer: where a snapshot is copied at a step boundary, laid out as a file.

One page-aligned memory is reused for every save: the first touch of fresh memory costs eight times
the copy itself, so it is paid once, before the training starts. The layout is that of safetensors
(https://github.com/huggingface/safetensors, "Format"): length of the header, header, bytes; the
header is padded so that the data begins on a page, as O_DIRECT wants it.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import struct
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional, Tuple

from perdure.runtime import arrays
from perdure.runtime.arrays import Array, Region
from perdure.runtime.faults import CorruptError

PAGE = 4096
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14; the mmap module does not name it
_TOUCH_BYTES = 32 << 20
# A little more than is asked for: the state grows by a random generator, and nothing is copied.
_SLACK = 64


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
        entries = json.loads(bytes(memory[8 : 8 + length]))
        base = 8 + length
        places = {}
        for name, entry in entries.items():
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= nbytes - base:
                raise ValueError(name)
            places[str(name)] = (base + start, end - start)
        return places
    except (AttributeError, ValueError, KeyError, TypeError, struct.error) as error:
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


def address(memory: mmap.mmap) -> int:
    """Return where the memory begins; it must not be closed as long as that is used."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def prefault(memory: mmap.mmap) -> None:
    """Touch every page of `memory`, which must hold nothing yet; other threads run meanwhile."""
    if not populate(memory):
        ctypes.memset(address(memory), 0, len(memory))


def populate(memory: mmap.mmap) -> bool:
    """Have the kernel back every page and leave what is in them; say whether it can.

    In parts: while the kernel fills memory, no other thread of the process can map any. And not
    through `mmap.madvise`, which keeps the interpreter's lock: seconds, for a large memory.
    """
    advise = _advise()
    if advise is None:
        return False
    start = address(memory)
    for offset in range(0, len(memory), _TOUCH_BYTES):
        size = min(_TOUCH_BYTES, len(memory) - offset)
        if advise(start + offset, size, _POPULATE_WRITE) != 0:
            return False
    return True


def _advise() -> Optional[Callable[[int, int, int], int]]:
    """Return the C library's madvise, None where it has none."""
    try:
        function = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    function.restype = ctypes.c_int
    found: Callable[[int, int, int], int] = function
    return found


class Staging:
    """A reused memory holding at most one snapshot."""

    def __init__(self) -> None:
        self.memory: Optional[mmap.mmap] = None
        self._signature: Optional[List[Tuple[str, str, Tuple[int, ...]]]] = None
        self._layout: Optional[Layout] = None
        self._views: Dict[str, object] = {}
        self._base = 0

    def prepare(self, found: Mapping[str, Array]) -> Layout:
        """Return the layout for these arrays, with memory allocated and touched for it."""
        signature = [(name, array.kind, array.shape) for name, array in found.items()]
        if self._layout is not None and signature == self._signature:
            return self._layout
        layout = lay_out(found)
        self._views = {}
        memory = self._room(layout.nbytes)
        memory[: len(layout.header)] = layout.header
        for name, array in found.items():
            self._views[name] = arrays.view(memory, layout.places[name][0], array)
        self._layout, self._signature = layout, signature
        return layout

    def _room(self, nbytes: int) -> mmap.mmap:
        """Return the memory, a larger one where it is too small; never two at a time."""
        if self.memory is None or len(self.memory) < nbytes:
            self.memory = None
            memory = allocate(nbytes + nbytes // _SLACK)
            prefault(memory)
            self.memory, self._base = memory, address(memory)
        return self.memory

    def fill(self, found: Mapping[str, Array]) -> Layout:
        """Copy the arrays into the memory: the only time for which the training waits."""
        layout = self.prepare(found)
        for name, array in found.items():
            start = pointer(array)
            if start is None:
                arrays.copy_into(self._views[name], array)
            else:
                # Twice as fast as a library's own copy, whose threads wait for each other.
                ctypes.memmove(self._base + layout.places[name][0], start, array.nbytes)
        return layout

    def region(self, name: str) -> Region:
        """Return the bytes of one array of the snapshot."""
        if self.memory is None or self._layout is None:
            raise KeyError(name)
        offset, nbytes = self._layout.places[name]
        return Region(self.memory, offset, nbytes)


def pointer(array: Array) -> Optional[int]:
    """Return where the bytes of an array lie, None where its value is not plain bytes in a row."""
    if array.device is not None or array.stride is not None or array.nbytes == 0:
        return None
    value = array.value
    if array.library == "torch":
        # A conjugated or negated view lies in memory as what it is a view of.
        lazy = value.is_conj() or value.is_neg()  # type: ignore[attr-defined]
        return None if lazy else int(value.data_ptr())  # type: ignore[attr-defined]
    if not value.flags.c_contiguous:  # type: ignore[attr-defined]
        return None
    return int(value.__array_interface__["data"][0])  # type: ignore[attr-defined]
