"""The copies from a GPU, played by a torch that is strict about their order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from perdure.runtime import device, libraries, staging
from perdure.runtime.arrays import Array


class Torch:
    """As much of torch.cuda as is used, and the order in which it was."""

    def __init__(self, error: int = 0) -> None:
        self.cuda = self
        self.done: list[str] = []
        self._error = error
        self._pinned: set[int] = set()

    def cudart(self) -> Torch:
        return self

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802 - CUDA's
        assert address % staging.PAGE == size % staging.PAGE == flags == 0
        assert address not in self._pinned
        self._pinned.add(address)
        return self._error

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802 - CUDA's
        self._pinned.remove(address)
        return 0

    def Stream(self) -> FakeStream:  # noqa: N802 - torch's
        return FakeStream(self, "copying")

    def current_stream(self) -> FakeStream:
        return FakeStream(self, "computing")

    @contextlib.contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        self.done.append(f"in {stream.name}")
        yield
        self.done.append(f"out of {stream.name}")

    def Event(self) -> FakeEvent:  # noqa: N802 - torch's
        return FakeEvent(self)


class FakeStream:
    def __init__(self, torch: Torch, name: str) -> None:
        self.torch, self.name = torch, name

    def wait_stream(self, other: FakeStream) -> None:
        self.torch.done.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: FakeEvent) -> None:
        assert event.recorded
        self.torch.done.append(f"{self.name} waits for the copies")


class FakeEvent:
    def __init__(self, torch: Torch) -> None:
        self.torch, self.recorded = torch, False

    def record(self, stream: FakeStream) -> None:
        assert stream.name == "copying"
        self.recorded = True

    def synchronize(self) -> None:
        assert self.recorded
        self.torch.done.append("waited")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_pinned", [])
    monkeypatch.setattr(device, "_streams", [])


def array(where: str | None) -> Array:
    return Array("torch", None, "float32", "F32", (1,), 4, 4, device=where)


def test_only_cuda_arrays_are_copied_beside_the_computation() -> None:
    assert device.used({"a": array(None), "b": array("cuda:1")})
    assert not device.used({"a": array(None), "b": array("mps:0")})
    assert not device.used({})


def test_copies_follow_what_was_computed_and_precede_what_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = Torch()
    monkeypatch.setattr(libraries, "torch", lambda: torch)
    for _ in range(2):
        torch.done.clear()
        with device.copying():
            torch.done.append("copy")
        event = device.copied()
        device.wait(event)
        assert torch.done == [
            "copying waits for computing",
            "in copying",
            "copy",
            "out of copying",
            "computing waits for the copies",
            "waited",
        ]
    device.wait(None)


def test_a_buffer_is_pinned_once_and_let_go_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = Torch()
    monkeypatch.setattr(libraries, "torch", lambda: torch)
    first, second = staging.allocate(1), staging.allocate(1)
    assert [device.pin(one) for one in (first, first, second, first)] == [True] * 4
    assert torch._pinned == {staging.address(first)}


def test_a_buffer_that_cannot_be_pinned_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "torch", lambda: Torch(error=2))
    assert not device.pin(staging.allocate(1))
    monkeypatch.setattr(libraries, "torch", lambda: None)
    assert not device.pin(staging.allocate(1))
