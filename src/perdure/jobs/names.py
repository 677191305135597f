"""Names for jobs that people can say: `brave-otter`.

A name is claimed by making its run folder: the file system sees to it that only one succeeds.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path

from perdure.errors import ConflictError, UsageError
from perdure.model.sweep import trial_number

LONGEST = 48
# What every engine takes as a name too: Slurm, Kubernetes (RFC 1123 labels), the clouds.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_TRIES = 4

_ADJECTIVES = """
    able amber bold brave bright brisk calm candid clever cosy crisp daring eager early fair fancy
    fleet fond free fresh gentle glad golden grand happy hardy honest humble jolly keen kind lively
    loyal lucky merry mild modest neat nimble noble patient placid plucky polite proud quick quiet
    rapid ready rosy sage serene sharp silent silver smart snug steady sunny swift tidy vivid warm
    wise
"""
_NOUNS = """
    alder badger beaver birch bison cedar condor coral crane curlew dingo dolphin eagle egret elm
    falcon fern finch fox gecko gibbon hare hazel heron ibex jackal jay kestrel koala lark lemur
    linden lotus lynx magpie maple marten mole moose newt oak osprey otter owl panda pelican pine
    plover puffin quail raven robin salmon seal sparrow stork swan tapir teal thrush tiger walnut
    willow wren
"""
ADJECTIVES = tuple(_ADJECTIVES.split())
NOUNS = tuple(_NOUNS.split())


def claim(results: Path, *, wanted: str | None = None) -> str:
    """Return a name whose run folder was made by this call, in `results`. Touches the disk.

    Raises:
        UsageError: the wanted name is none.
        ConflictError: the wanted name is taken.
    """
    results.mkdir(parents=True, exist_ok=True)
    if wanted is not None:
        check(wanted)
        if not _make(results / wanted):
            raise ConflictError(f"there is a job `{wanted}` already", hint=f"perdure show {wanted}")
        return wanted
    return next(name for name in _proposals() if _make(results / name))


def check(name: str) -> None:
    """Return if `name` can name a job.

    Raises:
        UsageError: it cannot.
    """
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` cannot name a job",
            hint=f"up to {LONGEST} of a-z, 0-9 and `-`, with no `-` at either end",
        )


def require_free(results: Path, state: Path, wanted: str) -> None:
    """Return if no job has the wanted name, and no trial of a sweep is to have it.

    Raises:
        ConflictError: it is taken.
    """
    if (results / wanted).exists():
        raise ConflictError(f"there is a job `{wanted}` already", hint=f"perdure show {wanted}")
    sweep = wanted.rpartition("-")[0]
    if sweep and trial_number(sweep, wanted) and (state / "sweeps" / sweep).is_dir():
        raise ConflictError(
            f"`{wanted}` is a name of the sweep `{sweep}`'s jobs", hint="take another --name"
        )


def _proposals() -> Iterator[str]:
    """Yield names without end: some fresh pairs, then the last of them with numbers."""
    # The system's randomness: a training that seeds Python's must not choose the next job's name.
    chance = random.SystemRandom()
    pair = ""
    for _ in range(_TRIES):
        pair = f"{chance.choice(ADJECTIVES)}-{chance.choice(NOUNS)}"
        yield pair
    for number in itertools.count(2):
        yield f"{pair}-{number}"


def _make(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True
