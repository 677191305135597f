"""What the supervisor was asked to do, read from its command line.

Read by hand: argparse costs as much as everything else the supervisor imports.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USAGE = (
    "usage: supervisor --run-dir DIR [--job NAME] [--seed N] [--cwd DIR] [--grace-s 30] "
    "[--retries 2] [--backoff-s 1] [--watch aws|gcp|azure]... [--watch-url BASE] [--approve] "
    "[--scheduled-after N] -- COMMAND..."
)
CLOUDS = ("aws", "gcp", "azure")
_VALUED = (
    "--run-dir",
    "--job",
    "--seed",
    "--cwd",
    "--grace-s",
    "--retries",
    "--backoff-s",
    "--watch",
    "--watch-url",
    "--scheduled-after",
)


class BadOptions(ValueError):
    """The command line cannot be understood; the message says which part."""


class Options(NamedTuple):
    """One request: where, what, and within which limits. Times are in seconds.

    `around` is the training's environment where it is not this process's own.
    `scheduled_after`: a scheduler runs it, who sees to it that there is one; it began after that
    generation. None: whoever holds the lock of the run folder is the one.
    """

    run_dir: str
    command: tuple[str, ...]
    job: str
    cwd: str
    seed: int | None = None
    grace_s: float = 30.0
    retries: int = 2
    backoff_s: float = 1.0
    watch: tuple[str, ...] = ()
    watch_url: str | None = None
    approve: bool = False
    around: Mapping[str, str] | None = None
    scheduled_after: int | None = None


def parse(argv: Sequence[str]) -> Options:
    """Return the options that `argv` holds; relative folders are taken from the present one.

    Raises:
        BadOptions: naming the argument that is missing, unknown or not a number.
    """
    if "--" not in argv:
        raise BadOptions("no command: write it after `--`")
    end = list(argv).index("--")
    given, approve = _pairs(argv[:end])
    command = tuple(argv[end + 1 :])
    if not command:
        raise BadOptions("no command after `--`")
    run_dir = _last(given, "--run-dir")
    if not run_dir:
        raise BadOptions("`--run-dir` is missing")
    run_dir = os.path.abspath(run_dir)
    seed, after = _last(given, "--seed"), _last(given, "--scheduled-after")
    return Options(
        run_dir=run_dir,
        command=command,
        job=_last(given, "--job") or os.path.basename(run_dir),
        cwd=os.path.abspath(_last(given, "--cwd") or "."),
        seed=None if seed is None else _whole("--seed", seed),
        grace_s=_seconds("--grace-s", _last(given, "--grace-s") or "30"),
        retries=_count("--retries", _last(given, "--retries") or "2"),
        backoff_s=_seconds("--backoff-s", _last(given, "--backoff-s") or "1"),
        watch=_clouds(given.get("--watch", [])),
        watch_url=_last(given, "--watch-url"),
        approve=approve,
        scheduled_after=None if after is None else _count("--scheduled-after", after),
    )


def _pairs(arguments: Sequence[str]) -> tuple[dict[str, list[str]], bool]:
    given: dict[str, list[str]] = {}
    approve = False
    rest = list(arguments)
    while rest:
        name = rest.pop(0)
        if name == "--approve":
            approve = True
        elif name not in _VALUED:
            raise BadOptions(f"unknown option `{name}`")
        elif not rest:
            raise BadOptions(f"`{name}` wants a value")
        else:
            given.setdefault(name, []).append(rest.pop(0))
    return given, approve


def _last(given: dict[str, list[str]], name: str) -> str | None:
    values = given.get(name)
    return values[-1] if values else None


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadOptions(f"`{name}` wants a whole number, not `{text}`") from None


def _count(name: str, text: str) -> int:
    value = _whole(name, text)
    if value < 0:
        raise BadOptions(f"`{name}` wants 0 or more, not `{text}`")
    return value


def _seconds(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise BadOptions(f"`{name}` wants seconds, not `{text}`")
    return value


def _clouds(asked: Sequence[str]) -> tuple[str, ...]:
    for name in asked:
        if name not in CLOUDS:
            raise BadOptions(f"`--watch` knows {', '.join(CLOUDS)}, not `{name}`")
    return tuple(dict.fromkeys(asked))
