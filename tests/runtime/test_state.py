"""Any tree goes to JSON and arrays and back, bit for bit; nothing else goes at all."""

from __future__ import annotations

import json
import math
import struct
import sys
import types
from collections import Counter, OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perdure.runtime import arrays, state
from perdure.runtime.arrays import Region
from perdure.runtime.faults import CorruptError, MisuseError, StateError
from perdure.runtime.staging import Staging

Pair = namedtuple("Pair", ["left", "right"])


def through_disk(tree: object, like: object = None) -> object:
    """Return the tree after encoding, copying to the staging buffer, JSON text and decoding."""
    encoded = state.encode(tree, "root")
    staging = Staging()
    staging.fill(encoded.arrays)

    def fetch(name: str) -> Region:
        region = staging.region(name)
        memory = bytearray(region.memory[region.offset : region.offset + region.nbytes])
        return Region(memory, 0, region.nbytes)

    return state.decode(json.loads(json.dumps(encoded.tree)), fetch, like)


def bits(value: object) -> object:
    """Return something that compares equal exactly when two trees are the same bits."""
    if isinstance(value, float) and type(value) is float:
        return ("float", struct.pack(">d", value))
    if isinstance(value, torch.Tensor):
        flat = value.detach().contiguous().reshape(-1).view(torch.uint8).tolist()
        return ("torch", type(value), value.dtype, tuple(value.shape), flat)
    if isinstance(value, (np.ndarray, np.generic)):
        return ("numpy", type(value), value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, dict):
        return (type(value), [(bits(k), bits(v)) for k, v in value.items()])
    if isinstance(value, (list, tuple)):
        return (type(value), [bits(item) for item in value])
    return (type(value), value)


dtypes = st.one_of(
    hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(sizes=(16, 32, 64)),
    hnp.boolean_dtypes(), hnp.complex_number_dtypes(), hnp.datetime64_dtypes(),
    hnp.unicode_string_dtypes(max_len=5), hnp.byte_string_dtypes(max_len=5),
)  # fmt: skip
numpy_arrays = dtypes.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
)
torch_tensors = st.tuples(
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8]),
    st.lists(st.integers(0, 4), max_size=3),
    st.integers(0, 2**31),
).map(
    lambda made: torch.randint(
        0, 255, made[1], generator=torch.Generator().manual_seed(made[2])
    ).to(made[0])
)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    numpy_arrays, torch_tensors, hnp.arrays(np.float64, ()).map(lambda array: array[()]),
)  # fmt: skip
keys = st.one_of(st.text(), st.integers(), st.none(), st.tuples(st.integers(), st.text()))
trees = st.recursive(
    leaves,
    lambda below: st.one_of(
        st.lists(below, max_size=4),
        st.lists(below, max_size=3).map(tuple),
        st.dictionaries(keys, below, max_size=4),
        st.dictionaries(st.text(), below, max_size=3).map(OrderedDict),
        st.tuples(below, below).map(lambda two: Pair(*two)),
    ),
    max_leaves=12,
)


@given(trees)
@settings(max_examples=300, deadline=None)
def test_any_tree_comes_back_bit_for_bit(tree: object) -> None:
    assert bits(through_disk(tree, tree)) == bits(tree)


@pytest.mark.parametrize(
    "value",
    [
        math.nan, -math.nan, -0.0, math.inf, 5e-324,
        struct.unpack(">d", b"\x7f\xf8" + b"\1" * 6)[0],
        10**40, "a/b~c\n\0é", b"\0\xff", np.float32("nan"), np.str_(""), np.bool_(True),
        np.array(3.5), np.zeros((0, 3)), np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(4, dtype=">i4"), torch.tensor(1.5), torch.empty(0, 2),
        torch.tensor([math.nan, -0.0], dtype=torch.bfloat16),
        torch.tensor([1 + 2j], dtype=torch.complex64), Counter({3: 1, 9: 2}),
    ],
)  # fmt: skip
def test_the_awkward_values_come_back(value: object) -> None:
    assert bits(through_disk({"value": value})) == bits({"value": value})


def test_memory_order_comes_back() -> None:
    """Some sums depend on it in their last bit."""
    picture = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    matrix = np.asfortranarray(np.random.default_rng(0).random((3, 4)))
    back = through_disk([picture, matrix])
    assert isinstance(back, list)
    assert back[0].stride() == picture.stride()
    assert back[1].flags.f_contiguous


def test_a_row_that_stands_alone_is_dense() -> None:
    """Lengths of one have any stride."""
    odd = torch.empty_strided((1, 3, 2), (100, 1, 3)).fill_(2.0)
    back = through_disk([odd])
    assert isinstance(back, list)
    assert back[0].stride()[1:] == (1, 3)


def test_a_view_with_holes_comes_back_without_them() -> None:
    back = through_disk({"view": torch.arange(10.0)[::2]})
    assert bits(back) == bits({"view": torch.tensor([0.0, 2, 4, 6, 8])})


def test_an_expanded_row_keeps_its_values() -> None:
    row = torch.arange(3.0).expand(2, 3)
    assert bits(through_disk([row])) == bits([row.contiguous()])


def test_tied_arrays_stay_tied_and_are_stored_once() -> None:
    weight, table = torch.rand(3, 3), np.arange(3)
    tree = {"encoder": weight, "decoder": weight, "a": table, "b": table}
    assert len(state.encode(tree, "root").arrays) == 2
    back = through_disk(tree)
    assert isinstance(back, dict)
    assert back["encoder"] is back["decoder"]
    assert back["a"] is back["b"]


def test_keys_that_print_alike_do_not_share_an_array() -> None:
    tree = {
        1: torch.zeros(1),
        "1": torch.ones(1),
        "a/b": torch.full((1,), 2.0),
        "a": {"b": torch.full((1,), 3.0)},
    }
    assert bits(through_disk(tree)) == bits(tree)


def test_parameters_and_gradients_are_remembered() -> None:
    frozen = torch.nn.Parameter(torch.zeros(2), requires_grad=False)
    leaf = torch.zeros(2, requires_grad=True)
    back = through_disk({"frozen": frozen, "leaf": leaf})
    assert isinstance(back, dict)
    assert type(back["frozen"]) is torch.nn.Parameter
    assert not back["frozen"].requires_grad
    assert back["leaf"].requires_grad
    assert type(back["leaf"]) is torch.Tensor


def test_the_versions_in_a_state_dict_are_kept() -> None:
    original = torch.nn.BatchNorm1d(2).state_dict()
    back = through_disk(original)
    assert back._metadata == original._metadata  # type: ignore[attr-defined]


def loop() -> list[object]:
    inner: list[object] = []
    inner.append({"again": inner})
    return inner


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"model": {"hook": print}}, "root/model/hook"),
        ([1, {2, 3}], "root/1"),
        ({"a": np.array([object()])}, "root/a"),
        ({"a": np.zeros(2, dtype=[("x", "f4")])}, "root/a"),
        ({"a": np.zeros(1, dtype=[("x", "f4")])[0]}, "root/a"),
        ({"s": torch.eye(2).to_sparse()}, "root/s"),
        ({"m": torch.empty(1, device="meta")}, "root/m"),
        ({"x~/y": lambda: 0}, "root/x~0~1y"),
        ({object(): 1}, "root"),
        ({"d": defaultdict(int)}, "root/d"),
        (loop(), "root/0/again"),
    ],
)
def test_anything_else_is_refused_by_its_path(tree: object, path: str) -> None:
    with pytest.raises(StateError, match="`" + path.replace("~", "~") + "`"):
        state.encode(tree, "root")


def test_a_named_tuple_needs_its_class() -> None:
    with pytest.raises(StateError, match="`Pair`"):
        through_disk({"pair": Pair(1, 2)}, like={"pair": (1, 2)})


@pytest.mark.parametrize("node", [{"zz": 1}, {"d": 3}])
def test_json_that_no_encoder_wrote_is_refused(node: state.Json) -> None:
    with pytest.raises(CorruptError):
        state.decode(node, lambda name: Region(bytearray(), 0, 0))


def test_jax_arrays_go_through_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """jax itself is 600 MB; its arrays are numpy's to the eye, and are made by jax.numpy."""

    class JaxArray:
        def __init__(self, values: object) -> None:
            self.values = np.asarray(values)

        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return self.values

    jax = types.ModuleType("jax")
    jax.Array = JaxArray  # type: ignore[attr-defined]
    jax.numpy = types.SimpleNamespace(asarray=JaxArray)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jax", jax)
    back = through_disk({"w": JaxArray([1.0, 2.0])})
    assert isinstance(back, dict)
    assert type(back["w"]) is JaxArray
    assert back["w"].values.tolist() == [1.0, 2.0]


def test_arrays_need_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = state.encode({"w": np.zeros(2)}, "root").tree
    monkeypatch.delitem(sys.modules, "numpy")
    with pytest.raises(MisuseError, match="numpy"):
        state.decode(tree, lambda name: Region(bytearray(16), 0, 16))


def test_a_tensor_goes_back_to_its_device() -> None:
    traits = {"lib": "torch", "dtype": "float32", "shape": [2], "device": "meta"}
    tensor = arrays.rebuild(Region(bytearray(8), 0, 8), traits)
    assert tensor.device.type == "meta"  # type: ignore[attr-defined]
