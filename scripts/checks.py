"""Run every check of this repository, each with a time limit, and say what came of them.

All run even when one fails. The last line is pytest's own, or `N passed, N failed` where pytest did
not come to its end. Called by scripts/test, which has installed what is needed.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perdure.hosts.side.modules import MODULES

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PYTEST = "tests"
COVERAGE = "coverage"
#: What streams modules to other hosts sees to it: a Python that is too old leaves the slots out.
NO_SLOTS = ("--exclude", "dataclasses.dataclass(slots)")
#: pytest's closing line, such as `812 passed, 3 deselected in 301.22s (0:05:01)`.
CLOSING = re.compile(
    r"^=* ?((\d+ \w+, )*\d+ (passed|failed|errors?|deselected).* in [\d.]+s.*?) ?=*$"
)
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Check:
    """One command: its name in the summary, what it runs, and how long it may take."""

    name: str
    argv: tuple[str, ...]
    limit_s: float = 180.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a check: its exit code (124 where the time limit ended it) and last lines."""

    check: Check
    code: int
    elapsed_s: float
    closing: str | None


def tool(name: str, *arguments: str) -> tuple[str, ...]:
    """Return the argv of a program installed beside this Python."""
    return (str(BIN / name), *arguments)


def static_checks() -> list[Check]:
    """Return the checks that read the code without running it."""
    oldest = ("src/perdure/runtime", *(f"src/perdure/{module}.py" for module in MODULES))
    return [
        Check("format", tool("ruff", "format", "--check", ".")),
        Check("lint", tool("ruff", "check", ".")),
        Check("types", tool("mypy"), limit_s=300),
        Check("imports", tool("lint-imports")),
        Check("run on python 3.9", (str(ROOT / "scripts" / "oldest"),)),
        Check(
            "syntax of python 3.9",
            tool("vermin", "-q", "--violations", "--no-tips", "-t=3.9-", *NO_SLOTS, *oldest),
        ),
    ]


def test_checks(options: argparse.Namespace) -> list[Check]:
    """Return the checks that run the code: pytest, and with `--coverage` how much it covered."""
    # The tests of one file share what is costly to start; see tests/conftest.py for the groups.
    # One process more than there are processors: those that hold engines wait for them mostly.
    workers = min(3, (os.cpu_count() or 1) + 1)
    arguments = list(options.pytest) or ["-n", str(workers), "--dist=loadscope"]
    if options.long:
        arguments += ["-m", ""]
    elif options.quick:
        arguments += ["-m", "not long and not install"]
    # What makes the run long is to be seen in each run.
    arguments.append("--durations=40")
    if sys.stdout.isatty():
        arguments.append("--color=yes")
    limit_s = 7200.0 if options.long else 3900.0
    # To measure what is covered doubles the work: tests start programs by the thousand.
    if not options.coverage:
        return [Check(PYTEST, tool("pytest", *arguments), limit_s)]
    return [
        Check(f"{COVERAGE}, old data", tool("coverage", "erase")),
        Check(PYTEST, tool("coverage", "run", "-m", "pytest", *arguments), limit_s),
        Check(f"{COVERAGE}, combined", tool("coverage", "combine", "--quiet")),
        Check(f"{COVERAGE} of 90 %", tool("coverage", "report", "--fail-under=90")),
        covered("runtime", 100),
        covered("model", 100),
    ]


def covered(package: str, percent: int) -> Check:
    """Return the check that so many lines and branches of a package are run by the tests."""
    include = f"--include=*/perdure/{package}/*"
    return Check(
        f"{COVERAGE} of {package}", tool("coverage", "report", include, f"--fail-under={percent}")
    )


def kill_group(process: subprocess.Popen[str]) -> None:
    """End a check and what it started, as far as that stayed in its process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=5)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass


def perform(check: Check) -> Outcome:
    """Return what came of a check; its output is shown as it comes."""
    words = " ".join((Path(check.argv[0]).name, *check.argv[1:]))
    print(f"\n== {check.name}: {words}", flush=True)
    started = time.monotonic()
    process = subprocess.Popen(
        check.argv,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    closing: list[str] = []
    reader = threading.Thread(target=show, args=(process, closing), daemon=True)
    reader.start()
    try:
        code = process.wait(timeout=check.limit_s)
    except subprocess.TimeoutExpired:
        print(f"== {check.name}: stopped after its limit of {check.limit_s:.0f} s", flush=True)
        code = 124
    except KeyboardInterrupt:
        kill_group(process)
        raise
    kill_group(process)
    # A process that outlived its group may hold the pipe: its output is not waited for.
    reader.join(timeout=5)
    return Outcome(check, code, time.monotonic() - started, closing[-1] if closing else None)


def show(process: subprocess.Popen[str], closing: list[str]) -> None:
    """Copy a check's output to ours, and keep the lines that look like pytest's last."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            sys.stdout.write(line)
            sys.stdout.flush()
            match = CLOSING.match(ESCAPE.sub("", line.rstrip()))
            if match:
                closing.append(match.group(1))


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the table of what came of each check, and the line that everything ends with."""
    lines = [""]
    for outcome in outcomes:
        word = {0: "passed", 124: "TIME OUT"}.get(outcome.code, f"FAILED ({outcome.code})")
        lines.append(f"{outcome.check.name:<24} {outcome.elapsed_s:7.1f} s  {word}")
    failed = sum(outcome.code != 0 for outcome in outcomes)
    elapsed_s = sum(outcome.elapsed_s for outcome in outcomes)
    lines.append(f"{len(outcomes) - failed} of {len(outcomes)} checks passed in {elapsed_s:.0f} s")
    lines.append(last_line(outcomes))
    return "\n".join(lines)


def last_line(outcomes: Sequence[Outcome]) -> str:
    """Return pytest's closing line if all else passed, else the tests and failed checks counted.

    Where pytest did not come to its end, its check counts as one that failed.
    """
    closing = "".join(o.closing or "" for o in outcomes if o.check.name == PYTEST)
    failed = sum(o.code != 0 for o in outcomes if o.check.name != PYTEST or not closing)
    if closing and not failed:
        return closing
    counts = {
        word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", closing)
    }
    failed += counts.get("failed", 0) + counts.get("error", 0)
    passed = counts.get("passed", 0) + (0 if closing else sum(o.code == 0 for o in outcomes))
    return f"{passed} passed, {failed} failed"


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options; what follows `--` is pytest's."""
    parser = argparse.ArgumentParser(
        prog="scripts/test", description="Run every check of this repository."
    )
    parser.add_argument("--quick", action="store_true", help="the fast ones")
    parser.add_argument("--long", action="store_true", help="the tests that take minutes as well")
    parser.add_argument(
        "--coverage", action="store_true", help="measure what they cover, which takes twice as long"
    )
    parser.add_argument("pytest", nargs="*", metavar="-- ARGUMENTS", help="for pytest")
    return parser.parse_args(argv)


def main() -> int:
    """Return 0 if every check passed, else 1."""
    options = parse(sys.argv[1:])
    outcomes = [perform(check) for check in [*static_checks(), *test_checks(options)]]
    print(summary(outcomes), flush=True)
    return int(any(outcome.code for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
