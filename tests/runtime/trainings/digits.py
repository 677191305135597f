"""The data of the small trainings: scans of handwritten digits, and noise in each item."""

from __future__ import annotations

import random

import numpy as np
import torch
from sklearn.datasets import load_digits


class Digits(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Items `begin` to `end`, augmented by all three of the process's generators."""

    def __init__(self, begin: int, end: int) -> None:
        found = load_digits()
        self.images = torch.tensor(found.data[begin:end] / 16, dtype=torch.float32)
        self.labels = torch.tensor(found.target[begin:end])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        noise = 0.05 * torch.randn(64) * random.random() * np.random.rand()
        return {"images": self.images[index] + noise, "labels": self.labels[index]}


def network() -> torch.nn.Module:
    """Return a small network with dropout and running statistics: (batch, 64) -> (batch, 10)."""
    return torch.nn.Sequential(
        torch.nn.Linear(64, 32),
        torch.nn.BatchNorm1d(32),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(32, 10),
    )
