"""Copies from a GPU into the staging buffer, beside the computation.

The buffer is pinned once (cudaHostRegister), the copies run on a stream of their own, and the
computation's stream waits for them on the device: the CPU goes on at once, and the next step cannot
change a weight before it was copied. Without CUDA every function returns at once.
"""

from __future__ import annotations

import mmap
from typing import ContextManager, List, Mapping, Optional, Tuple

from perdure.runtime import libraries, staging
from perdure.runtime.arrays import Array

# The memory pinned last and whether that went well; the copying stream, once it is needed.
_pinned: List[Tuple[mmap.mmap, bool]] = []
_streams: List[object] = []


def used(found: Mapping[str, Array]) -> bool:
    """Say whether any of the arrays lies on a GPU."""
    return any((array.device or "").startswith("cuda") for array in found.values())


def pin(memory: mmap.mmap) -> bool:
    """Pin the buffer, once; say whether it is pinned. Unpinned copies are right, but slower."""
    torch = libraries.torch()
    if torch is None:
        return False
    if not _pinned or _pinned[0][0] is not memory:
        cudart = torch.cuda.cudart()
        while _pinned:
            cudart.cudaHostUnregister(staging.address(_pinned.pop()[0]))
        error = cudart.cudaHostRegister(staging.address(memory), len(memory), 0)
        _pinned.append((memory, int(error) == 0))
    return _pinned[0][1]


def copying() -> ContextManager[object]:
    """Return the context in which copies are made: the copying stream, behind what was computed."""
    torch = libraries.torch()
    assert torch is not None
    if not _streams:
        _streams.append(torch.cuda.Stream())
    stream = _streams[0]
    stream.wait_stream(torch.cuda.current_stream())  # type: ignore[attr-defined]
    context: ContextManager[object] = torch.cuda.stream(stream)
    return context


def copied() -> object:
    """Return an event after the copies, and make the computation wait for it on the device."""
    torch = libraries.torch()
    assert torch is not None
    event: object = torch.cuda.Event()
    event.record(_streams[0])  # type: ignore[attr-defined]
    torch.cuda.current_stream().wait_event(event)
    return event


def wait(event: Optional[object]) -> None:
    """Wait until the copies before `event` are in the buffer."""
    if event is not None:
        event.synchronize()  # type: ignore[attr-defined]
