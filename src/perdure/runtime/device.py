"""Copies from a GPU into the staging buffer, beside the computation.

The buffer is pinned once (cudaHostRegister), the copies run on a stream of their own, and the
computation's stream waits for them on the device: the CPU goes on at once, and the next step cannot
change a weight before it was copied. Without CUDA every function returns at once.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import ContextManager, Dict, Mapping, Optional

from perdure.runtime import libraries
from perdure.runtime.arrays import Array

_pinned: Dict[int, int] = {}
_stream: Optional[object] = None


def used(found: Mapping[str, Array]) -> bool:
    """Say whether any of the arrays lies on a GPU."""
    return any((array.device or "").startswith("cuda") for array in found.values())


def pin(memory: mmap.mmap) -> bool:
    """Pin the buffer, once; say whether it is pinned. Unpinned copies are right, but slower."""
    torch = libraries.torch()
    if torch is None:
        return False
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if address not in _pinned:
        error = torch.cuda.cudart().cudaHostRegister(address, len(memory), 0)
        _pinned[address] = int(error)
    return _pinned[address] == 0


def copying() -> ContextManager[object]:
    """Return the context in which copies are made: the copying stream, behind what was computed."""
    global _stream
    torch = libraries.torch()
    assert torch is not None
    if _stream is None:
        _stream = torch.cuda.Stream()
    _stream.wait_stream(torch.cuda.current_stream())  # type: ignore[attr-defined]
    context: ContextManager[object] = torch.cuda.stream(_stream)
    return context


def copied() -> object:
    """Return an event after the copies, and make the computation wait for it on the device."""
    torch = libraries.torch()
    assert torch is not None and _stream is not None
    event = torch.cuda.Event()
    event.record(_stream)
    torch.cuda.current_stream().wait_event(event)
    return event


def wait(event: Optional[object]) -> None:
    """Wait until the copies before `event` are in the buffer."""
    if event is not None:
        event.synchronize()  # type: ignore[attr-defined]
