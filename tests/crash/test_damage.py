"""A byte flipped or cut anywhere in a checkpoint is never loaded; resume falls back, loudly."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perdure.runtime import generation, staging, state, writer
from perdure.runtime.faults import CorruptError, NewerFormatError
from perdure.runtime.ranks import Solo
from perdure.runtime.store import FORMAT, Loaded, Store
from perdure.runtime.writer import Snapshot, Writer

FILES = ("meta.json", "state.safetensors")


def save(folder: Path, store: Store, step: int) -> None:
    """Make a checkpoint of one array, all of whose values are the step."""
    encoded = state.encode({"x": np.full(700, step, dtype=np.int16)}, "x")
    pen = Writer(store, Solo(), None)
    layout = pen.staging.fill(encoded.arrays)
    meta = {
        "format": FORMAT,
        "step": step,
        "tree": {"items": encoded.tree},
        "versions": {"world": 1},
    }
    pen.start(Snapshot(step, "test", layout, encoded.arrays, meta, [], None))
    outcome = pen.wait()
    assert outcome is not None
    assert outcome.error is None


def values(loaded: Loaded | None) -> int:
    """Return the step that the loaded array holds throughout."""
    assert loaded is not None
    tree = state.decode(loaded.meta["tree"]["items"], loaded.fetch)  # type: ignore[index]
    assert isinstance(tree, dict)
    found = {int(value) for value in tree["x"]}
    assert len(found) == 1
    return found.pop()


@pytest.fixture(scope="module")
def pristine() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        folder.mkdir()
        store = Store(str(folder), generation.claim(folder))
        for step in (10, 20):
            save(folder, store, step)
        yield folder


def resumed(pristine: Path, name: str, damaged: bytes) -> tuple[int, list[str], list[str]]:
    """Return the step gone on from with this file, what was said, and the names left."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        shutil.copytree(pristine, folder)
        (folder / "checkpoints" / "g000001-s0000000020" / name).write_bytes(damaged)
        said: list[str] = []
        store = Store(str(folder), generation.claim(folder))
        step = values(store.latest(said.append))
        return step, said, sorted(path.name for path in Path(store.root).iterdir())


def contents(pristine: Path, name: str) -> bytes:
    return (pristine / "checkpoints" / "g000001-s0000000020" / name).read_bytes()


def check(pristine: Path, name: str, damaged: bytes) -> None:
    step, said, left = resumed(pristine, name, damaged)
    assert step == 10
    assert len(said) == 1
    assert "g000001-s0000000020" in said[0]
    assert "falling back" in said[0]
    assert left[0].startswith("bad-g000001-s0000000020")


def test_an_undamaged_one_is_loaded(pristine: Path) -> None:
    for name in FILES:
        assert resumed(pristine, name, contents(pristine, name))[:2] == (20, [])


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, deadline=None)
@example(where=0.0, mask=1)
@example(where=1.0, mask=128)
@given(where=st.floats(0, 1), mask=st.integers(1, 255))
def test_a_flipped_byte_is_never_loaded(pristine: Path, name: str, where: float, mask: int) -> None:
    data = bytearray(contents(pristine, name))
    data[round(where * (len(data) - 1))] ^= mask
    check(pristine, name, bytes(data))


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40, deadline=None)
@example(where=0.0, tail=b"")
@example(where=1.0, tail=b"\0")
@given(where=st.floats(0, 1), tail=st.sampled_from([b"", b"\0", b"\n", b"{}\n", b"\0" * 4096]))
def test_a_cut_or_grown_file_is_never_loaded(
    pristine: Path, name: str, where: float, tail: bytes
) -> None:
    data = contents(pristine, name)
    damaged = data[: round(where * len(data))] + tail
    if damaged == data:
        damaged += b"\0"
    check(pristine, name, damaged)


@settings(max_examples=40, deadline=None)
@given(start=st.floats(0, 1), blocks=st.integers(1, 3), value=st.sampled_from([0, 255]))
def test_blocks_of_zeros_are_never_loaded(
    pristine: Path, start: float, blocks: int, value: int
) -> None:
    data = bytearray(contents(pristine, "state.safetensors"))
    at = round(start * (len(data) - 1)) // 512 * 512
    hole = data[at : at + 512 * blocks]
    data[at : at + len(hole)] = bytes([value]) * len(hole)
    if bytes(data) != contents(pristine, "state.safetensors"):
        check(pristine, "state.safetensors", bytes(data))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_fallen_back_from(pristine: Path, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a run's folder\n$(x)"
    shutil.copytree(pristine, folder)
    (folder / "checkpoints" / "g000001-s0000000020" / name).unlink()
    said: list[str] = []
    assert values(Store(str(folder), 2).latest(said.append)) == 10
    assert len(said) == 1


def test_one_that_swapped_its_files_with_another_is_fallen_back_from(
    pristine: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(pristine, folder)
    older, newer = (folder / "checkpoints" / f"g000001-s00000000{step}" for step in (10, 20))
    shutil.copy(older / "state.safetensors", newer / "state.safetensors")
    assert values(Store(str(folder), 2).latest(lambda text: None)) == 10


def test_one_that_cannot_be_read_now_is_not_set_aside(pristine: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(pristine, folder)
    meta = folder / "checkpoints" / "g000001-s0000000020" / "meta.json"
    meta.unlink()
    meta.symlink_to(meta)  # reading it says ELOOP, for root too
    store = Store(str(folder), 2)
    assert values(store.latest(lambda text: None)) == 10
    assert store.candidates()[0] == "g000001-s0000000020"


def test_one_of_a_newer_version_is_refused(pristine: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    store = Store(str(folder), generation.claim(folder))
    path = store.begin(5)
    store.write_meta(path, {"format": FORMAT + 1})
    store.publish(path, 5)
    with pytest.raises(NewerFormatError, match="newer perdure"):
        store.latest(lambda text: None)


def test_a_header_that_does_not_fit_is_an_error_of_its_own() -> None:
    for header in (b"", b"\xff" * 8, b"\2\0\0\0\0\0\0\0[]", b'\5\0\0\0\0\0\0\0{"a":'):
        with pytest.raises(CorruptError, match="header"):
            staging.read_places(bytearray(header), len(header))


def test_a_place_outside_the_file_is_refused() -> None:
    text = b'{"a":{"data_offsets":[0,99]}}'
    header = len(text).to_bytes(8, "little") + text
    with pytest.raises(CorruptError, match="header"):
        staging.read_places(bytearray(header), len(header) + 10)


def test_the_digest_of_the_weights_depends_on_every_array() -> None:
    tensors = {f"items/model/{i}": {"hash": "0", "dtype": "f", "shape": [1]} for i in range(3)}
    before = writer.weights_digest(tensors, ["model"], {})
    assert writer.weights_digest(tensors, [], {}) == before
    others = {**tensors, "rng/x": tensors["items/model/0"]}
    assert writer.weights_digest(others, ["model"], {}) == before
    assert writer.weights_digest(others, [], {}) == before
    for name, tensor in tensors.items():
        changed = {**tensors, name: {**tensor, "hash": "1"}}
        assert writer.weights_digest(changed, ["model"], {}) != before


def test_without_a_model_plain_values_count_as_well() -> None:
    one, two = ({"tree": {"items": {"state": {"n": number}}}} for number in (1, 2))
    assert writer.weights_digest({}, [], one) != writer.weights_digest({}, [], two)
    assert writer.weights_digest({}, ["model"], one) == writer.weights_digest({}, ["model"], two)
