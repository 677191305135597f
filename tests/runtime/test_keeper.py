"""What keeps a state, where a whole training does not reach it: GPUs, and nothing restored."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from perdure.runtime import arrays, device, generation, keeper
from perdure.runtime.control import Control
from perdure.runtime.interval import Interval
from perdure.runtime.keeper import Keeper
from perdure.runtime.ranks import Solo
from perdure.runtime.store import Store
from perdure.runtime.tracked import adapt


@pytest.fixture
def kept(tmp_path: Path) -> Keeper:
    """Return a keeper of one tensor."""
    store = Store(str(tmp_path), generation.claim(tmp_path))
    kept = Keeper(store, Solo(), Interval(), Control({}, str(tmp_path), 1))
    kept.items["weights"] = adapt("weights", torch.ones(3))
    return kept


def meta(step: int) -> dict[str, object]:
    return {"step": step, "reason": "final", "complete": True, "versions": {"world": 1}}


def test_from_a_gpu_the_copies_are_made_on_a_stream_of_their_own(
    kept: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    @contextlib.contextmanager
    def copying() -> Iterator[None]:
        told.append("copying")
        yield
        told.append("end")

    monkeypatch.setattr(device, "used", lambda found: True)
    monkeypatch.setattr(device, "pin", lambda memory: told.append("pin"))
    monkeypatch.setattr(device, "copying", copying)
    monkeypatch.setattr(device, "copied", lambda: told.append("copied"))
    kept.save(meta(1), {})
    kept.finish()
    assert told == ["pin", "copying", "end", "copied"]
    assert kept.durable_step == 1


def test_without_a_restored_checkpoint_there_is_nothing_to_settle(kept: Keeper) -> None:
    kept.settle()
    assert kept.generators("rng") is None


def test_settling_waits_for_the_gpu(kept: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.save(meta(1), {})
    kept.finish()
    waited: list[bool] = []
    cuda = types.SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        synchronize=lambda: waited.append(True),
        get_device_name=lambda: "a GPU",
    )
    monkeypatch.setattr(torch, "cuda", cuda)
    assert kept.restore() is not None
    kept.settle()
    assert waited == [True]
    assert keeper.versions(1)["gpu"] == "a GPU"


def test_an_array_of_a_gpu_remembers_which() -> None:
    array = arrays.Array("torch", None, "float32", "F32", (2,), 4, 8, device="cuda:1")
    assert array.traits()["device"] == "cuda:1"
