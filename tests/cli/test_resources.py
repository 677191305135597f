from __future__ import annotations

import argparse

import pytest

from perdure.cli.resources import (
    add_resources,
    chosen_resources,
    gpus,
    memory,
    processors,
    size,
)
from perdure.model.job import UNLIMITED, Resources


def chosen(*words: str) -> Resources:
    parser = argparse.ArgumentParser()
    add_resources(parser)
    return chosen_resources(parser.parse_args(words))


def test_what_a_job_may_use() -> None:
    assert chosen() == UNLIMITED
    words = ("--gpus", "2", "--memory", "16g", "--shm-size", "512m", "--cpus", "1.5")
    assert chosen(*words) == Resources(2, 2**34, 2**29, 1.5)
    assert chosen("--gpus", "all").gpus == "all"
    assert chosen("--gpus", "0") == UNLIMITED


@pytest.mark.parametrize(
    ("text", "found"),
    [("1", 1), ("512m", 2**29), ("16g", 2**34), ("16GiB", 2**34), ("1.5k", 1536), ("2TB", 2**41)],
)
def test_sizes(text: str, found: int) -> None:
    assert size(text) == found


@pytest.mark.parametrize("text", ["", "0", "-1", "g", "1e9", "5 g", "5x", "1\n", "9" * 12, "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        size(text)


def test_a_container_needs_some_memory() -> None:
    assert memory("6m") == 6 * 2**20
    with pytest.raises(argparse.ArgumentTypeError, match="too little"):
        memory("1m")


@pytest.mark.parametrize("text", ["", "-1", "1.5", "All", "x", "99999", " 1", "device=0"])
def test_what_is_no_number_of_gpus(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        gpus(text)


@pytest.mark.parametrize("text", ["", "0", "0.001", "-1", "nan", "inf", "1e3", "x", "9" * 12])
def test_what_is_no_number_of_processors(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        processors(text)
