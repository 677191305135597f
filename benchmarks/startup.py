"""Print how fast the command line and the runtime start, against a bare interpreter.

Best of many, in turns. `perdure ps` is timed in a project with 10,000 jobs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import measure

JOBS = 10_000
PERDURE = (sys.executable, "-c", "from perdure.cli.main import main; raise SystemExit(main())")
WITHIN_S = 0.1
IMPORT_WITHIN_S = 0.01
START = "import perdure; perdure.start(seed=1, folder={folder!r})"


def job(number: int) -> dict[str, object]:
    """Return the job.json of a finished job."""
    return {
        "format": 1, "job": f"train-{number:05d}", "task": "train", "command": ["true"],
        "arguments": [], "seed": number, "code": {
            "commit": None, "dirty": False, "snapshot": None, "files": 0, "digest": "",
        },
        "environment": {"lock": None, "variant": None, "python": "3.11", "prefix": None},
        "data": {"digest": "", "files": 0, "bytes": 0},
        "machine": {
            "host": "host", "os": "Linux", "cpu": "cpu", "cores": 2, "memory_gib": 1.0,
            "gpus": [], "boot": "",
        },
        "versions": {"perdure": "0.1.0", "python": "3.11"}, "target": "local",
        "limits": {"grace_s": 30.0, "retries": 2},
        "submitted": "2026-01-01T00:00:00Z", "rerun_of": None,
    }  # fmt: skip


def project(root: Path, jobs: int) -> None:
    """Make a project with many finished jobs."""
    table = '[project]\nname = "many"\n[tool.perdure]\nformat = 1\npackage = "many"\n'
    table += '[tool.perdure.tasks]\ntrain = "python -m train"\n'
    (root / "pyproject.toml").write_text(table)
    events = [
        {"t": 1.0, "event": "started", "pid": 1, "pgid": 1, "host": "host", "boot": "",
         "start_ticks": 1, "command": ["true"], "cwd": "/"},
        {"t": 2.0, "event": "exited", "code": 0, "signal": None, "reason": "done",
         "durable_step": None, "elapsed_s": 1.0},
        {"t": 2.0, "event": "ended", "state": "SUCCEEDED", "reason": "done", "code": 0},
    ]  # fmt: skip
    lines = "".join(json.dumps(event) + "\n" for event in events)
    recent = lines.replace('"t": ', f'"t": {time.time():.0f}')
    for number in range(jobs):
        folder = root / "results" / f"train-{number:05d}"
        (folder / "attempts").mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps(job(number)))
        text = recent if number > jobs - 20 else lines
        (folder / "attempts" / "000001.jsonl").write_text(text)


def call(argv: tuple[str, ...], cwd: Path) -> float:
    """Return the seconds that a program takes.

    Raises:
        CalledProcessError: it failed, so that its time would mean nothing.
    """
    # Bytecode is kept, as it is for whoever has installed perdure.
    hidden = ("PERDURE", "PYTHONDONTWRITEBYTECODE")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(hidden)}

    def run() -> None:
        subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, check=True)

    return measure.timed(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=JOBS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        project(root, options.jobs)
        start = START.format(folder=str(root / "started"))
        commands = {
            "bare": (sys.executable, "-c", "pass"),
            "perdure --help": (*PERDURE, "--help"),
            "perdure ps": (*PERDURE, "ps"),
            "import and start": (sys.executable, "-c", start),
            "import": (sys.executable, "-c", "import perdure"),
        }
        call(commands["perdure ps"], root)  # the ledger is made by the first one
        ways = {name: lambda argv=argv: call(argv, root) for name, argv in commands.items()}
        found = measure.in_turns(ways, options.turns)
    finish(found, options.jobs)


def within(name: str, seconds: float, limit_s: float) -> measure.Line:
    """Return a row for a difference of two times that has a limit of its own."""
    return measure.Line(name, seconds, seconds, seconds / limit_s, at_most=1)


def finish(found: dict[str, list[float]], jobs: int) -> None:
    """Report the start-up times against their limits."""
    bare, helped, imported = (found[name] for name in ("bare", "perdure --help", "import"))
    listed_s = min(found["perdure ps"]) - min(helped)
    measure.report(
        "startup",
        [
            measure.line("python -c pass", bare),
            measure.against("perdure --help", helped, bare, at_most=3),
            measure.line(f"perdure ps, {jobs} jobs", found["perdure ps"]),
            within("  over --help, to 100 ms", listed_s, WITHIN_S),
            measure.line("import perdure", imported),
            within("  over bare Python, to 10 ms", min(imported) - min(bare), IMPORT_WITHIN_S),
            measure.line("import perdure, start a run", found["import and start"]),
        ],
    )


if __name__ == "__main__":
    main()
