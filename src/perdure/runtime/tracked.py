"""What a training can track: how its state is read, and put back in place."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, MutableMapping, Tuple

from perdure.runtime import arrays, libraries
from perdure.runtime.faults import MismatchError, StateError


@dataclass(frozen=True)
class Item:
    """One tracked thing: `get` returns its state as a tree, `put` takes such a tree back.

    `copies` says that `put` copies what it is given, so that it may be handed memory which is
    used again; `weights` that the item is what the run's weights digest is about.
    """

    name: str
    get: Callable[[], object]
    put: Callable[[object], None]
    copies: bool = False
    weights: bool = False


def adapt(name: str, value: object) -> Item:
    """Return the item for a tracked value.

    Raises:
        StateError: nothing is known about how its state could be read and put back.
    """
    for recognise in (_module, _generator, _pair, _stateful, _estimator, _tree):
        item = recognise(name, value)
        if item is not None:
            return item
    kind = type(value)
    raise StateError(
        f"`{name}` of type `{kind.__module__}.{kind.__qualname__}` cannot be tracked",
        "track something with state_dict()/load_state_dict(), a (get, set) pair, or a dict, list "
        "or array (a number belongs into a dict, since it cannot change in place)",
    )


def _module(name: str, value: object) -> "Item | None":
    torch = libraries.torch()
    if torch is None or not isinstance(value, torch.nn.Module):
        return None

    def put(saved: object) -> None:
        _check_names(name, value.state_dict(), saved)
        value.load_state_dict(saved)

    return Item(name, value.state_dict, put, copies=True, weights=True)


def _check_names(name: str, mine: Mapping[str, object], saved: object) -> None:
    """Compare a module's names and shapes with a checkpoint's, all at once."""
    theirs: Mapping[str, object] = saved if isinstance(saved, dict) else {}
    problems = [f"`{key}` is not in the model" for key in theirs if key not in mine]
    problems += [f"`{key}` is not in the checkpoint" for key in mine if key not in theirs]
    for key in mine:
        here, there = _shape(mine[key]), _shape(theirs.get(key))
        if key in theirs and here != there:
            problems.append(
                f"`{key}` is {list(here)} in the model, {list(there)} in the checkpoint"
            )
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise MismatchError(
            f"the checkpoint is of another model than `{name}`:\n  {shown}{more}",
            "start a new job for a changed model; a job keeps the code it was submitted with",
        )


def _shape(value: object) -> Tuple[int, ...]:
    return tuple(getattr(value, "shape", ()))


def _stateful(name: str, value: object) -> "Item | None":
    get = getattr(value, "state_dict", None)
    put = getattr(value, "load_state_dict", None)
    if not callable(get) or not callable(put):
        return None

    def load(saved: object) -> None:
        try:
            put(saved)
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise MismatchError(
                f"`{name}` does not take the state in the checkpoint: {error}",
                "start a new job where the training has changed",
            ) from error

    return Item(name, get, load)


def _generator(name: str, value: object) -> "Item | None":
    numpy, torch = libraries.numpy(), libraries.torch()
    if isinstance(value, random.Random):
        return Item(name, value.getstate, value.setstate)  # type: ignore[arg-type]
    if torch is not None and isinstance(value, torch.Generator):
        return Item(name, value.get_state, lambda saved: value.set_state(saved.clone()))  # type: ignore[attr-defined]
    if numpy is not None and isinstance(value, numpy.random.Generator):
        bits = value.bit_generator

        def put(saved: object) -> None:
            bits.state = saved

        return Item(name, lambda: bits.state, put)
    return None


def _pair(name: str, value: object) -> "Item | None":
    if isinstance(value, tuple) and len(value) == 2 and callable(value[0]) and callable(value[1]):
        return Item(name, value[0], value[1])
    return None


def _estimator(name: str, value: object) -> "Item | None":
    """A scikit-learn estimator: its attributes, which its partial_fit replaces."""
    if not (hasattr(value, "get_params") and hasattr(value, "set_params")):
        return None
    attributes: MutableMapping[str, object] = vars(value)

    def get() -> object:
        return {key: item for key, item in attributes.items() if not _is_compiled(item)}

    def put(saved: object) -> None:
        attributes.clear()
        attributes.update(saved)  # type: ignore[call-overload]

    return Item(name, get, put)


def _is_compiled(value: object) -> bool:
    """Say whether this is one of scikit-learn's compiled loss functions.

    They follow from the parameters, and every partial_fit makes them again.
    """
    return type(value).__module__.startswith("sklearn.") and not hasattr(value, "__dict__")


def _tree(name: str, value: object) -> "Item | None":
    if not (isinstance(value, (dict, list)) or _is_array(value)):
        return None

    def put(saved: object) -> None:
        if not _assign(value, saved):
            raise MismatchError(
                f"`{name}` is not of the shape or type that the checkpoint holds",
                "start a new job where the training has changed",
            )

    return Item(name, lambda: value, put)


def _is_array(value: object) -> bool:
    described = arrays.describe(value)
    return described is not None and not described.scalar and described.library != "jax"


def _assign(current: object, saved: object) -> bool:
    """Give `current` the value of `saved` in place, where its kind allows; say whether it did."""
    if isinstance(current, dict) and isinstance(saved, dict):
        _assign_dict(current, saved)
        return True
    if isinstance(current, list) and isinstance(saved, list):
        _assign_list(current, saved)
        return True
    return _assign_array(current, saved)


def _assign_dict(current: Dict[object, object], saved: Dict[object, object]) -> None:
    merged = {
        key: current[key] if key in current and _assign(current[key], value) else value
        for key, value in saved.items()
    }
    current.clear()
    current.update(merged)


def _assign_list(current: List[object], saved: List[object]) -> None:
    current[:] = [
        current[i] if i < len(current) and _assign(current[i], value) else value
        for i, value in enumerate(saved)
    ]


def _assign_array(current: object, saved: object) -> bool:
    here, there = arrays.describe(current), arrays.describe(saved)
    if here is None or there is None or here.scalar:
        return False
    if (here.library, here.kind, here.shape) != (there.library, there.kind, there.shape):
        return False
    if here.library == "torch":
        here.value.copy_(there.value)  # type: ignore[attr-defined]
        return True
    if here.library == "numpy" and current.flags.writeable:  # type: ignore[attr-defined]
        current[...] = saved  # type: ignore[index]
        return True
    return False
