"""The staging buffer: laid out as a safetensors file, filled at a step boundary."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import numpy as np
import pytest
import torch

from perdure.runtime import staging, state


def stage(**items: object) -> tuple[staging.Staging, state.Encoded]:
    encoded = state.encode(items, "x")
    buffer = staging.Staging()
    buffer.fill(encoded.arrays)
    return buffer, encoded


def restored(buffer: staging.Staging, encoded: state.Encoded) -> dict[str, object]:
    tree = state.decode(encoded.tree, buffer.region)
    assert isinstance(tree, dict)
    return tree


def test_every_kind_of_array_is_copied() -> None:
    turned = torch.arange(6.0).reshape(2, 3).t()
    items: dict[str, object] = {
        "plain": torch.arange(5, dtype=torch.int64),
        "turned": turned,
        "conjugated": torch.tensor([1 + 2j, 3 - 1j]).conj(),
        "negated": torch.tensor([1 + 2j]).conj().imag,
        "empty": torch.empty(0, 3),
        "numpy": np.arange(7, dtype=np.int16),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "sliced": np.arange(10)[::2],
    }
    found = restored(*stage(**items))
    for name, value in items.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value.resolve_conj().resolve_neg()), name  # type: ignore[arg-type]
        else:
            assert np.array_equal(found[name], value), name  # type: ignore[arg-type]


def test_the_buffer_is_a_safetensors_file(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    buffer, encoded = stage(a=np.arange(9.0), b=np.arange(3, dtype=np.uint8))
    layout = buffer.prepare(encoded.arrays)
    assert buffer.memory is not None
    (tmp_path / "file").write_bytes(buffer.memory[: layout.nbytes])
    assert {name: value.tolist() for name, value in load_file(tmp_path / "file").items()} == {
        "x/a": [*map(float, range(9))],
        "x/b": [0, 1, 2],
    }


def test_memory_is_reused_while_it_is_large_enough_and_never_held_twice() -> None:
    buffer, encoded = stage(a=np.zeros(1 << 20))
    memory = buffer.memory
    assert memory is not None
    assert len(memory) < 1.02 * encoded.arrays["x/a"].nbytes + 2 * staging.PAGE
    buffer.fill(encoded.arrays)
    assert buffer.memory is memory
    buffer.fill(state.encode({"a": np.zeros(1 << 20), "rng": np.zeros(100)}, "x").arrays)
    assert buffer.memory is memory  # a random generator more fits into the slack
    buffer.fill(state.encode({"a": np.zeros(1 << 21)}, "x").arrays)
    assert buffer.memory is not memory


def test_nothing_is_known_before_the_first_fill() -> None:
    with pytest.raises(KeyError):
        staging.Staging().region("x")


@pytest.mark.parametrize("library", ["has none", "refuses", "is missing"])
def test_memory_is_touched_without_the_kernels_help_too(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: None) -> object:
        if library == "is missing":
            raise OSError(library)
        return object()

    if library == "refuses":
        monkeypatch.setattr(staging, "_POPULATE_WRITE", 9999)
    else:
        monkeypatch.setattr(ctypes, "CDLL", load)
    memory = staging.allocate(10_000)
    assert staging.populate(memory) is False
    staging.prefault(memory)
    assert memory[:] == bytes(len(memory))


def test_populating_leaves_what_was_read() -> None:
    memory = staging.allocate(100_000)
    memory[:5] = b"bytes"
    staging.populate(memory)
    assert memory[:5] == b"bytes"


def test_a_kernel_without_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 9999, raising=False)
    assert len(staging.allocate(1)) == staging.PAGE
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    assert len(staging.allocate(staging.PAGE + 1)) == 2 * staging.PAGE
