"""The generators of the process, kept and put back; CUDA's by a stand-in, since there is none."""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from perdure.runtime import rng


@pytest.fixture(autouse=True)
def generators() -> Iterator[None]:
    before = rng.capture()
    yield
    rng.restore(before, lambda name: True)


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def test_what_was_captured_comes_again() -> None:
    random.gauss(0, 1)  # python and numpy keep a second normal number back
    np.random.randn()
    states = rng.capture()
    first = draw(), random.gauss(0, 1), np.random.randn()
    rng.restore(states, lambda name: True)
    assert (draw(), random.gauss(0, 1), np.random.randn()) == first


def test_one_may_be_left_out() -> None:
    states = rng.capture()
    first = draw()
    rng.restore(states, lambda name: name != "numpy")
    again = draw()
    assert (again[0], again[2]) == (first[0], first[2])
    assert again[1] != first[1]


def test_each_library_is_seeded_once() -> None:
    seeded: set[str] = set()
    rng.seed_new(3, seeded)
    assert seeded == {"python", "numpy", "torch"}
    first = draw()
    rng.seed_new(3, seeded)
    assert draw() != first
    rng.seed_new(3, set())
    assert draw() == first


def test_a_key_sets_all_of_them() -> None:
    rng.reseed(2**63 + 5)
    first = draw()
    rng.reseed(2**63 + 5)
    assert draw() == first


def test_without_libraries_only_pythons_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    states = rng.capture()
    monkeypatch.delitem(sys.modules, "numpy")
    monkeypatch.delitem(sys.modules, "torch")
    assert list(rng.capture()) == ["python"]
    seeded: set[str] = set()
    rng.seed_new(1, seeded)
    rng.reseed(1)
    assert seeded == {"python"}
    rng.restore({**states, "cuda": []}, lambda name: True)


def test_cudas_are_kept_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    put: list[list[torch.Tensor]] = []
    cuda = types.SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        get_rng_state_all=lambda: [torch.ByteTensor([1, 2])],
        set_rng_state_all=put.append,
    )
    monkeypatch.setattr(torch, "cuda", cuda)
    states = rng.capture()
    rng.restore(states, lambda name: name == "cuda")
    assert [state.tolist() for state in put[0]] == [[1, 2]]
