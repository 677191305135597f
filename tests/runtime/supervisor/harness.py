"""Real supervisors for the tests, and what they wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import perdure
from perdure.runtime.supervisor.options import Options

PACKAGE = Path(perdure.__file__).parent
# What a training says that knows perdure.
AWARE = "hello restored:0 step:1 "
MAIN = PACKAGE / "runtime" / "supervisor" / "__main__.py"
TRAINING = Path(__file__).with_name("training.py")
LIMIT_S = 120.0
Event = dict[str, object]


def interpreter() -> list[str]:
    """Return how the supervisor is started; coverage can follow only where .pth files are read."""
    return [sys.executable, "-P"] if measuring() else [sys.executable, "-I", "-S"]


def alone(module: ModuleType) -> list[str]:
    """Return how a module is started that is sent somewhere as a file of its own."""
    if measuring():
        return [*interpreter(), "-m", module.__name__]
    return [*interpreter(), str(module.__file__)]


def measuring() -> dict[str, str]:
    """Return the variables by which coverage follows into a process, {} where none is measured."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}


def training(*attempts: str) -> list[str]:
    """Return the command of a training that does these actions, attempt by attempt."""
    return [sys.executable, "-I", "-S", str(TRAINING), *attempts]


def argv(run_dir: Path, command: list[str], *options: str) -> list[str]:
    """Return the command line of a supervisor with short waits."""
    quick = ["--backoff-s", "0.01", "--grace-s", "10"]
    return [*interpreter(), str(MAIN), "--run-dir", str(run_dir), *quick, *options, "--", *command]


def supervise(run_dir: Path, command: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run a supervisor to its end."""
    line = argv(run_dir, command, *options)
    return subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S)


def start(run_dir: Path, command: list[str], *options: str) -> subprocess.Popen[bytes]:
    """Start a supervisor and return at once."""
    return subprocess.Popen(argv(run_dir, command, *options), stderr=subprocess.DEVNULL)


def events(run_dir: Path, attempt: int | None = None) -> list[Event]:
    """Return the events of one attempt, or of all."""
    pattern = "*.jsonl" if attempt is None else f"{attempt:06d}.jsonl"
    paths = sorted((run_dir / "attempts").glob(pattern))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def kinds(run_dir: Path, attempt: int | None = None) -> list[object]:
    """Return the names of the events."""
    return [event["event"] for event in events(run_dir, attempt)]


def only(run_dir: Path, kind: str) -> list[Event]:
    """Return the events of one kind."""
    return [event for event in events(run_dir) if event["event"] == kind]


def ended(run_dir: Path) -> tuple[object, object]:
    """Return the state and the reason that the last event tells."""
    last = events(run_dir)[-1]
    assert last["event"] == "ended"
    return last["state"], last["reason"]


def alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def options(run_dir: Path, *command: str) -> Options:
    """Return options as `parse` would, for the parts that are tested alone."""
    return Options(str(run_dir), command or ("true",), job="job", cwd=str(run_dir))
