"""Any tree of state <-> JSON and tensors. No pickle: reading a checkpoint never runs code.

A tree is made of dict, list, tuple, None, bool, int, float, str, bytes, numpy values and torch
tensors. `encode` gives a JSON value in which every array is replaced by a name, and the arrays by
name; `decode` is its inverse, bit for bit (NaN payloads, signed zeros, 0-d and empty arrays,
bfloat16). An array that stands in the tree twice is stored once and comes back as one object.

numpy and torch are used only if the training has imported them.
"""

from __future__ import annotations

import binascii
import struct
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Tuple, Union

from perdure.runtime import arrays
from perdure.runtime.arrays import Array, Region
from perdure.runtime.faults import CorruptError, StateError

Json = Union[None, bool, int, float, str, List["Json"], Dict[str, "Json"]]
Node = Dict[str, Json]


@dataclass(frozen=True)
class Encoded:
    """A tree as JSON, and its arrays by name in the order they were met."""

    tree: Json
    arrays: Mapping[str, Array]


def encode(tree: object, root: str) -> Encoded:
    """Return the tree as JSON and arrays; nothing is copied. `root` begins every name.

    Raises:
        StateError: a value is of another kind, or the tree contains itself; names the path.
    """
    encoder = _Encoder()
    return Encoded(encoder.value(tree, _escape(root)), encoder.arrays)


def decode(tree: Json, fetch: Callable[[str], Region], like: object = None) -> object:
    """Return the tree that was encoded.

    Args:
        tree: what `encode` returned.
        fetch: gives the bytes of a name; the decoded tree holds that very memory.
        like: a tree of the same kind; named tuples in it lend their classes.

    Raises:
        StateError: a named tuple's class cannot be found in `like`.
        CorruptError: the JSON is not one that `encode` wrote.
    """
    return _Decoder(fetch, _named_tuples(like)).value(tree)


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _is_named_tuple(value: object) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _named_tuples(tree: object) -> Dict[str, type]:
    """Return the classes of all named tuples in the tree, by name."""
    found: Dict[str, type] = {}
    pending = [tree]
    while pending:
        value = pending.pop()
        if isinstance(value, tuple) and _is_named_tuple(value):
            found[type(value).__name__] = type(value)
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, (list, tuple)):
            pending.extend(value)
    return found


class _Encoder:
    def __init__(self) -> None:
        self.arrays: Dict[str, Array] = {}
        self._names: Dict[Tuple[object, ...], str] = {}
        self._above: List[int] = []

    def value(self, value: object, path: str) -> Json:
        kind = type(value)
        if value is None or kind is bool or kind is int or kind is str:
            return value  # type: ignore[return-value]
        if kind is float:
            return {"f": struct.pack(">d", value).hex()}
        if kind is bytes:
            return {"b": binascii.b2a_base64(value, newline=False).decode()}  # type: ignore[arg-type]
        if isinstance(value, (dict, list, tuple)):
            return self._container(value, path)
        return self._array(value, path)

    def _container(self, value: object, path: str) -> Json:
        if id(value) in self._above:
            raise StateError(f"state at `{path}` contains itself")
        self._above.append(id(value))
        try:
            return self._children(value, path)
        finally:
            self._above.pop()

    def _children(self, value: object, path: str) -> Json:
        kind = type(value)
        if kind is list or kind is tuple or _is_named_tuple(value):
            items = [self.value(item, f"{path}/{i}") for i, item in enumerate(value)]  # type: ignore[var-annotated, arg-type]
            if kind is list:
                return items
            return {"u": items} if kind is tuple else {"n": items, "name": kind.__name__}
        if kind is dict:
            return {"d": self._pairs(value, path)}  # type: ignore[arg-type]
        if kind is OrderedDict:
            metadata = getattr(value, "_metadata", None)
            node: Node = {"o": self._pairs(value, path)}  # type: ignore[arg-type]
            if metadata is not None:
                node["m"] = self.value(metadata, f"{path}/_metadata")
            return node
        if kind is Counter:  # the milestones of torch's MultiStepLR
            return {"c": self._pairs(value, path)}  # type: ignore[arg-type]
        raise _refusal(value, path)

    def _pairs(self, value: Mapping[object, object], path: str) -> List[Json]:
        pairs: List[Json] = []
        for key, item in value.items():
            if not isinstance(key, (str, int, float, bytes, tuple, type(None))):
                raise StateError(f"state at `{path}` has a key of type `{type(key).__name__}`")
            below = f"{path}/{_escape(key if type(key) is str else repr(key))}"
            pairs.append([self.value(key, f"{path}/key"), self.value(item, below)])
        return pairs

    def _array(self, value: object, path: str) -> Json:
        array = arrays.describe(value)
        if array is None:
            raise _refusal(value, path)
        if array.scalar:
            return {"s": arrays.to_bytes(array).hex(), "dtype": array.kind}
        identity = arrays.identity(array)
        name = self._names.get(identity)
        if name is None:
            name = path
            while name in self.arrays:  # keys 1 and "1" print alike
                name += "~"
            self._names[identity] = name
            self.arrays[name] = array
        node: Node = {"a": name}
        node.update(array.traits())  # type: ignore[arg-type]
        return node


def _refusal(value: object, path: str) -> StateError:
    kind = type(value)
    return StateError(
        f"state at `{path}` has the unsupported type `{kind.__module__}.{kind.__qualname__}`",
        "track something with state_dict()/load_state_dict(), a (get, set) pair, or a tree of "
        "numbers, strings, numpy arrays and torch tensors",
    )


class _Decoder:
    def __init__(self, fetch: Callable[[str], Region], classes: Mapping[str, type]) -> None:
        self._fetch = fetch
        self._classes = classes
        self._seen: Dict[str, object] = {}

    def value(self, node: Json) -> object:
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        for tag, read in _READERS.items():
            if tag in node:
                return read(self, node)
        raise CorruptError(f"state holds an unknown node with the keys {sorted(node)}")

    def items(self, node: Json) -> List[object]:
        if not isinstance(node, list):
            raise CorruptError("state holds a container without items")
        return [self.value(item) for item in node]

    def pairs(self, node: Json) -> List[Tuple[object, object]]:
        return [(pair[0], pair[1]) for pair in self.items(node)]  # type: ignore[index]

    def ordered(self, node: Node) -> object:
        ordered = OrderedDict(self.pairs(node["o"]))
        if "m" in node:
            # Versions of the modules: torch.nn.Module.load_state_dict reads them.
            ordered._metadata = self.value(node["m"])  # type: ignore[attr-defined] # noqa: SLF001
        return ordered

    def named_tuple(self, node: Node) -> object:
        name = str(node["name"])
        if name not in self._classes:
            raise StateError(
                f"state holds a named tuple `{name}` that the tracked value does not",
                "track a value of the same structure as when it was saved",
            )
        return self._classes[name](*self.items(node["n"]))

    def array(self, node: Node) -> object:
        name = str(node["a"])
        if name not in self._seen:
            self._seen[name] = arrays.rebuild(self._fetch(name), node)
        return self._seen[name]


_READERS: Mapping[str, Callable[[_Decoder, Node], object]] = {
    "f": lambda decoder, node: struct.unpack(">d", bytes.fromhex(str(node["f"])))[0],
    "b": lambda decoder, node: binascii.a2b_base64(str(node["b"])),
    "d": lambda decoder, node: dict(decoder.pairs(node["d"])),
    "o": _Decoder.ordered,
    "c": lambda decoder, node: Counter(dict(decoder.pairs(node["c"]))),
    "u": lambda decoder, node: tuple(decoder.items(node["u"])),
    "n": _Decoder.named_tuple,
    "s": lambda decoder, node: arrays.scalar(bytes.fromhex(str(node["s"])), str(node["dtype"])),
    "a": _Decoder.array,
}
