"""Runs the runtime and the supervisor on the oldest Python they claim; scripts/oldest calls it.

Not a pytest module: that Python has xxhash and nothing else. It imports the modules of the runtime,
trains under the supervisor in plain Python, interrupts that in the middle, goes on, and compares
with a training that was left alone. Ends with 0 if all holds.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src"
RUNTIME = SRC / "perdure" / "runtime"
SUPERVISOR = RUNTIME / "supervisor" / "__main__.py"
#: These are for people who have those libraries.
NEED_A_LIBRARY = ("lightning", "huggingface")
LIMIT_S = 120.0

TRAINING = """
import os, random, time
import perdure

first = "INTERRUPT" in os.environ and os.environ["PERDURE_GENERATION"] == "1"

run = perdure.start(seed=7)
state = {"weight": 0.0}
run.track(state=state)
loader = run.loader(list(range(40)), batch_size=4, shuffle=True)
for epoch in run.epochs(3):
    for batch in loader:
        state["weight"] = 0.9 * state["weight"] + random.random() * sum(batch)
        run.log(weight=state["weight"])
        if first and run.step == 13:
            open(os.environ["PERDURE_PREEMPT_FILE"], "w").close()
        if first and run.step >= 13:
            time.sleep(0.2)  # or it is done before the supervisor has looked
"""


def modules() -> list[str]:
    """Return the dotted names of the runtime's modules."""
    names = []
    for path in sorted(RUNTIME.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        if path.stem not in NEED_A_LIBRARY and path.stem != "__main__":
            names.append(".".join(part for part in parts if part != "__init__"))
    return names


def supervise(folder: Path, program: Path, *, interrupted: bool) -> int:
    """Run one supervisor to its end and return its exit code; its words go to stderr."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PERDURE_")}
    environ["PYTHONPATH"] = str(SRC)
    if interrupted:
        environ["INTERRUPT"] = "1"
    argv = [
        sys.executable,
        "-I",
        "-S",
        str(SUPERVISOR),
        "--run-dir",
        str(folder),
        "--grace-s",
        "20",
    ]
    argv += ["--", sys.executable, str(program)]
    return subprocess.run(argv, env=environ, timeout=LIMIT_S, check=False).returncode


def rows(folder: Path) -> list[dict[str, object]]:
    """Return the metric rows of a run folder."""
    from perdure.runtime.metrics import read_rows

    return read_rows(str(folder))


def expect(what: str, found: object, wanted: object) -> None:
    """Stop with both values unless they are equal."""
    if found != wanted:
        sys.exit(f"{what}: {found!r}, expected {wanted!r}")
    print(f"ok: {what}")


def reasons(folder: Path) -> list[object]:
    """Return how each attempt of a run folder ended."""
    lines = "".join(path.read_text() for path in sorted((folder / "attempts").glob("*.jsonl")))
    events = [json.loads(line) for line in lines.splitlines()]
    return [event["reason"] for event in events if event["event"] == "exited"]


def main() -> None:
    """Check everything, and stop at the first thing that does not hold."""
    sys.path.insert(0, str(SRC))
    for name in modules():
        importlib.import_module(name)
    print(f"ok: {len(modules())} modules import on Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as base:
        program = Path(base, "training program.py")
        program.write_text(TRAINING)
        whole, cut = Path(base, "left alone"), Path(base, "inter rupted")
        whole.mkdir()
        cut.mkdir()
        expect("left alone, it is done", supervise(whole, program, interrupted=False), 0)
        expect("interrupted, it can go on", supervise(cut, program, interrupted=True), 75)
        expect("going on, it is done", supervise(cut, program, interrupted=True), 0)
        expect("the attempts", reasons(cut), ["interrupted", "done"])
        expect("the metric rows are the same", rows(cut), rows(whole))
        expect("each step has its row", [row["step"] for row in rows(cut)], list(range(30)))


if __name__ == "__main__":
    main()
