"""The training state that is saved and restored here, and the runtime's parts that do it."""

from __future__ import annotations

from pathlib import Path

import torch

from perdure.runtime import control, generation, rng
from perdure.runtime.interval import Interval
from perdure.runtime.keeper import Keeper
from perdure.runtime.ranks import Solo
from perdure.runtime.store import Store
from perdure.runtime.tracked import adapt

WIDTH = 1024


class Training:
    """A model and its AdamW after a step: weights and two moments, 12 MiB a layer."""

    def __init__(self, mib: int, *, stepped: bool = True) -> None:
        torch.manual_seed(1)
        layers = max(1, round(mib / (3 * WIDTH * WIDTH * 4 / 2**20)))
        self.model = torch.nn.Sequential(
            *(torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(layers))
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), foreach=False)
        if not stepped:
            return  # as a training is before it is restored: its optimizer holds nothing yet
        for parameter in self.model.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> list[torch.Tensor]:
        """Return what is saved, in order."""
        found = [parameter.detach() for parameter in self.model.parameters()]
        for entry in self.optimizer.state.values():
            found += [entry["exp_avg"], entry["exp_avg_sq"]]
        return found

    def tree(self) -> dict[str, object]:
        """Return the state as the peers save it."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def nbytes(self) -> int:
        """Return the size of the state in bytes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())


def keeper(folder: Path, training: Training, *, keep: int = 1) -> Keeper:
    """Return what saves and restores this training in a run folder, as a run does it."""
    folder.mkdir(parents=True, exist_ok=True)
    mine = generation.claim(folder)
    store = Store(str(folder), mine, keep=keep)
    line = control.Control({}, str(folder), mine)
    found = Keeper(store, Solo(), Interval(1e9), line)
    for name, value in (("model", training.model), ("optimizer", training.optimizer)):
        found.items[name] = adapt(name, value)
    return found


def meta(step: int) -> dict[str, object]:
    """Return the manifest's part that a run writes."""
    return {
        "step": step,
        "generation": 1,
        "complete": False,
        "reason": "interval",
        "position": {},
        "metrics": [],
        "rows": 0,
        "versions": {"world": 1},
    }


def generators() -> dict[str, object]:
    """Return the random number states that a run saves."""
    return {"rng": rng.capture()}
