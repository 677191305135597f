"""The program that runs one command to its end, whoever asked for it and may be gone by then.

    python -I -S -c "$(cat errand.py)" FOLDER

It is handed over as text, so it imports nothing of perdure. The folder has what is to be run, and
gets what that says and how it ended; `perdure.targets.lasting` is the other side. Standard library
only, Python 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SPEC, INPUT, OUTPUT, COMPLAINT = "spec.json", "in", "out", "err"
# Who runs it, written once; how it ended, written last; and the wish that it be ended.
RUNNER, END, STOP = "runner", "end.json", "stop"
STOPPED, TOO_LONG, FAILED = "stopped", "too long", "failed"
_LOOK_S = 0.05
_CLEAR_S = 60.0
_DONE_ALREADY = 3


def main(folder: str) -> int:
    """Run what the folder says, once; return an exit code. Starts processes, writes there."""
    os.chdir(folder)
    if not _claim():
        return _DONE_ALREADY
    spec = json.loads(Path(SPEC).read_bytes())
    # Whoever asked may hang up: that is what this program is for.
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        ended = _run(spec)
    except OSError as error:
        ended = {"why": FAILED, "failed": error.strerror or str(error)}
    _write(END, json.dumps(ended))
    return 0


def _claim() -> bool:
    """Return whether this is the one who runs it: two may have been started."""
    draft = f"{RUNNER}-{os.getpid()}"
    _write(draft, str(os.getpid()))
    try:
        os.link(draft, RUNNER)
    except FileExistsError:
        return False
    finally:
        Path(draft).unlink()
    return True


def _run(spec: dict[str, object]) -> dict[str, object]:
    words = [str(word) for word in spec["argv"]]  # type: ignore[attr-defined]
    where = None if spec["cwd"] is None else str(spec["cwd"])
    with contextlib.ExitStack() as stack:
        given = stack.enter_context(Path(INPUT).open("rb"))
        out, err = (stack.enter_context(Path(name).open("wb")) for name in (OUTPUT, COMPLAINT))
        process = subprocess.Popen(
            words, cwd=where, stdin=given, stdout=out, stderr=err, start_new_session=True
        )
    why = _wait(process, time.monotonic() + float(str(spec["timeout_s"])))
    if why:
        _end(process, [str(word) for word in spec["after"]])  # type: ignore[attr-defined]
    return {"why": why, "code": process.wait()}


def _wait(process: subprocess.Popen[bytes], deadline: float) -> str:
    """Return "" once it has ended by itself, or why it is to be ended."""
    while True:
        try:
            process.wait(_LOOK_S)
            return ""
        except subprocess.TimeoutExpired:
            pass
        if Path(STOP).exists():
            return STOPPED
        if time.monotonic() > deadline:
            return TOO_LONG


def _end(process: subprocess.Popen[bytes], after: list[str]) -> None:
    """Kill it, and have the command run that ends what killing it leaves: its container."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    if after:
        try:
            subprocess.run(
                after,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_CLEAR_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            pass


def _write(name: str, text: str) -> None:
    draft = Path(f".{name}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
