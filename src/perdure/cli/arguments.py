"""Arguments that several verbs share, and the types of their values."""

from __future__ import annotations

import argparse
import re

from perdure.model.duration import seconds_in

JOB_HELP = "a job's name, the beginning of it, or @last"


def add_job(parser: argparse.ArgumentParser) -> None:
    """Add the one job that a verb is about."""
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)


def add_jobs(parser: argparse.ArgumentParser, *, at_least_one: bool) -> None:
    """Add the jobs that a verb is about."""
    parser.add_argument("jobs", metavar="JOB", nargs="+" if at_least_one else "*", help=JOB_HELP)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="write JSON to standard output")


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add `--yes`."""
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def add_detach(parser: argparse.ArgumentParser) -> None:
    """Add `--detach`."""
    parser.add_argument(
        "-d",
        "--detach",
        action="store_true",
        help="leave the job running, and print its name; it outlives the terminal either way",
    )


def seconds(text: str) -> float:
    """Return the seconds in a duration such as `30`, `90s`, `5m`, `2h`, `30d` or `2-12:00:00`."""
    found = seconds_in(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"`{text}` is no duration: write `30s`, `5m`, `2h`, `7d`")
    return found


def tolerance(text: str) -> float:
    """Return a number of 0 or more, neither infinite nor none."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"`{text}` is no number of 0 or more, such as 1e-5")
    return number


def whole_number(text: str) -> int:
    """Return a number of 0 or more that fits 63 bits, as a seed or a count must."""
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"`{text}` is no whole number from 0 to 2^63 - 1")
    return int(text)
