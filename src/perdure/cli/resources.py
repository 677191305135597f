"""Options that say where a job runs and what it may use, and the types of their values."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from perdure.model.job import Resources

UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
MOST_GPUS = 1024
MOST_CPUS = 65536.0
# The engine refuses less, in words that name no option.
LEAST_MEMORY = 6 * 2**20
# What `--on` is given for this machine.
HERE = ("local", "docker")


def add_target(parser: argparse.ArgumentParser, *options: str) -> None:
    """Add where the job runs."""
    parser.add_argument(
        *(options or ("--on",)),
        dest="target",
        default="local",
        metavar="TARGET",
        help="where to run: local, docker, or one of `perdure targets` (local)",
    )


def add_resources(parser: argparse.ArgumentParser) -> None:
    """Add what a job may use, in a container or on a cluster."""
    parser.add_argument("--gpus", type=gpus, metavar="N|all", help="GPUs for the job (none)")
    parser.add_argument(
        "--memory", type=memory, metavar="SIZE", help="the most memory, such as 16g (all)"
    )
    parser.add_argument(
        "--shm-size",
        type=size,
        metavar="SIZE",
        help="of /dev/shm, which data loaders use (half of the memory)",
    )
    parser.add_argument(
        "--cpus", type=processors, metavar="N", help="processors, such as 2 or 1.5 (all)"
    )
    parser.add_argument(
        "--nodes",
        type=nodes,
        default=1,
        metavar="N",
        help="on a cluster: machines that train together, with torchrun on each (1); what else is "
        "said holds for each of them",
    )
    parser.add_argument(
        "--time",
        type=run_time,
        metavar="TIME",
        help="on a cluster: how long it may run at a stretch, such as 8h; then it saves, and goes "
        "on in another turn",
    )


def chosen_resources(arguments: argparse.Namespace) -> Resources:
    """Return what the options of `add_resources` ask for."""
    from perdure.model.job import Resources

    return Resources(
        gpus=arguments.gpus or 0,
        memory_bytes=arguments.memory,
        shm_bytes=arguments.shm_size,
        cpus=arguments.cpus,
        time_s=arguments.time,
        nodes=arguments.nodes,
    )


def changed_resources(arguments: argparse.Namespace) -> Resources | None:
    """Return what the options of `add_resources` ask for, None where none of them was given."""
    from perdure.model.job import UNLIMITED

    chosen = chosen_resources(arguments)
    return None if chosen == UNLIMITED and arguments.gpus is None else chosen


def size(text: str) -> int:
    """Return the bytes in a size such as `512m`, `16g` or `16GiB`: powers of 1024."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([bkmgt]?)(?:i?b)?", text.lower(), re.ASCII)
    bytes_ = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if not 0 < bytes_ < 2**62:
        raise argparse.ArgumentTypeError(f"`{text}` is no size: write `512m`, `16g`")
    return bytes_


def memory(text: str) -> int:
    """Return the bytes in a size that a container can live with."""
    found = size(text)
    if found < LEAST_MEMORY:
        raise argparse.ArgumentTypeError(f"`{text}` is too little for any job: write `512m`, `16g`")
    return found


def gpus(text: str) -> int | Literal["all"]:
    """Return a number of GPUs, or `all`."""
    if text == "all":
        return "all"
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > MOST_GPUS:
        raise argparse.ArgumentTypeError(f"`{text}` is no number of GPUs: write `1`, `2`, `all`")
    return int(text)


def nodes(text: str) -> int:
    """Return a number of nodes."""
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not int(text):
        raise argparse.ArgumentTypeError(f"`{text}` is no number of nodes: write `1`, `4`")
    return int(text)


def run_time(text: str) -> float:
    """Return the seconds of a time limit: a minute or more, in which schedulers count."""
    from perdure.cli.arguments import seconds

    found = seconds(text)
    if not 60 <= found < 2**31:
        raise argparse.ArgumentTypeError(f"`{text}` is no time limit: write `30m`, `8h`, `2d`")
    return found


def processors(text: str) -> float:
    """Return a number of processors, more than 0; a part of one is a share of its time."""
    if not re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"`{text}` is no number of processors: write `2`, `1.5`")
    # The engine counts in hundredths.
    if not 0.01 <= float(text) <= MOST_CPUS:
        raise argparse.ArgumentTypeError(f"`{text}` is no number of processors from 0.01 on")
    return float(text)
