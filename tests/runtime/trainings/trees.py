"""Trainings without torch: scikit-learn by partial_fit, or a tree of arrays, as KIND says.

A training of this sort has no loader: it draws its batches with generators that the run owns.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import IncrementalPCA
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

import perdure

STEPS = 40
DIGITS = load_digits()
IMAGES, LABELS = DIGITS.data / 16, DIGITS.target


def batch() -> np.ndarray:
    """Return the numbers of a batch: all generators of the process are the run's."""
    return np.random.randint(0, 1000, size=64)


def estimator(run: perdure.Run, model: BaseEstimator) -> None:
    run.track(model=model)
    for _ in run.steps(STEPS):
        chosen = batch()
        if isinstance(model, (IncrementalPCA, MiniBatchKMeans)):
            model.partial_fit(IMAGES[chosen])
            run.log(score=float(np.abs(model.transform(IMAGES[1000:])).mean()))
        else:
            model.partial_fit(IMAGES[chosen], LABELS[chosen], classes=np.arange(10))
            run.log(accuracy=model.score(IMAGES[1000:], LABELS[1000:]))


def tree(run: perdure.Run) -> None:
    """Softmax regression with momentum; the state is a tree as JAX has it, replaced each step."""
    state = {
        "weights": {"kernel": np.zeros((64, 10), np.float32), "bias": np.zeros(10, np.float32)},
        "velocity": (np.zeros((64, 10), np.float32), np.zeros(10, np.float32)),
        "count": np.int32(0),
        "best": float("inf"),
    }
    generator = np.random.default_rng(7)
    run.track(state=state, generator=generator)
    for _ in run.steps(STEPS):
        chosen = generator.integers(0, 1000, size=64)
        state.update(update(state, IMAGES[chosen].astype(np.float32), LABELS[chosen]))
        run.log(best=state["best"], count=state["count"])


def update(state: dict, images: np.ndarray, labels: np.ndarray) -> dict:  # type: ignore[type-arg]
    """Return the state after a step; nothing of the old one is changed."""
    kernel, bias = state["weights"]["kernel"], state["weights"]["bias"]
    scores = np.exp(images @ kernel + bias)
    chances = scores / scores.sum(axis=1, keepdims=True)
    loss = -np.log(chances[np.arange(len(labels)), labels]).mean()
    errors = (chances - np.eye(10, dtype=np.float32)[labels]) / len(labels)
    moved = (
        0.9 * state["velocity"][0] - images.T @ errors,
        0.9 * state["velocity"][1] - errors.sum(axis=0),
    )
    return {
        "weights": {"kernel": kernel + moved[0], "bias": bias + moved[1]},
        "velocity": moved,
        "count": np.int32(state["count"] + 1),
        "best": min(state["best"], float(loss)),
    }


KINDS: dict[str, Callable[[perdure.Run], None]] = {
    "SGDClassifier": lambda run: estimator(run, SGDClassifier(loss="log_loss")),
    "IncrementalPCA": lambda run: estimator(run, IncrementalPCA(8)),
    "MLPClassifier": lambda run: estimator(run, MLPClassifier()),
    "MiniBatchKMeans": lambda run: estimator(run, MiniBatchKMeans(10)),
    "tree": tree,
}
KINDS[os.environ["KIND"]](perdure.start(seed=3, save_every=1000))
