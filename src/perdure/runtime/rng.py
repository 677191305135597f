"""The random number generators of the process: python, numpy, torch and CUDA."""

from __future__ import annotations

import array
import random
from typing import Callable, Dict, Mapping, Set

from perdure.runtime import libraries


def seed_new(seed: int, seeded: Set[str]) -> None:
    """Seed each library's global generator once, as soon as the training has imported it."""
    if "python" not in seeded:
        random.seed(seed)
        seeded.add("python")
    numpy, torch = libraries.numpy(), libraries.torch()
    if numpy is not None and "numpy" not in seeded:
        numpy.random.seed(seed % 2**32)
        seeded.add("numpy")
    if torch is not None and "torch" not in seeded:
        torch.manual_seed(seed % 2**63)
        seeded.add("torch")


def reseed(key: int) -> None:
    """Put every host generator into the state that belongs to `key`."""
    random.seed(key)
    numpy, torch = libraries.numpy(), libraries.torch()
    if numpy is not None:
        numpy.random.seed(key & 0xFFFFFFFF)
    if torch is not None:
        torch.default_generator.manual_seed(key & (2**63 - 1))


def capture() -> Dict[str, object]:
    """Return the state of all generators as a tree that `state.encode` takes."""
    version, words, gauss = random.getstate()
    states: Dict[str, object] = {
        "python": [version, array.array("I", words).tobytes(), gauss],
    }
    numpy, torch = libraries.numpy(), libraries.torch()
    if numpy is not None:
        states["numpy"] = list(numpy.random.get_state())
    if torch is not None:
        states["torch"] = torch.get_rng_state()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore(states: Mapping[str, object], wanted: Callable[[str], bool]) -> None:
    """Put the generators back; `wanted` is asked about each by its name."""
    for name, put in _RESTORERS.items():
        if name in states and wanted(name):
            put(states[name])


def _put_python(state: object) -> None:
    assert isinstance(state, list)
    random.setstate((state[0], tuple(array.array("I", state[1])), state[2]))


def _put_numpy(state: object) -> None:
    numpy = libraries.numpy()
    if numpy is not None:
        assert isinstance(state, list)
        numpy.random.set_state(tuple(state))


def _put_torch(state: object) -> None:
    torch = libraries.torch()
    if torch is not None:
        torch.set_rng_state(state.clone())  # type: ignore[attr-defined]


def _put_cuda(states: object) -> None:
    torch = libraries.torch()
    if torch is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states])  # type: ignore[attr-defined]


_RESTORERS: Mapping[str, Callable[[object], None]] = {
    "python": _put_python,
    "numpy": _put_numpy,
    "torch": _put_torch,
    "cuda": _put_cuda,
}
