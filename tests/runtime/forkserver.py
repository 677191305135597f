"""A process that has imported the heavy libraries, and forks the attempts of a training.

Importing torch and a framework takes seconds, forking milliseconds: what is under test is the same.
Started as a script it reads an order a line, and answers a line when all its children have ended.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

TRAININGS = Path(__file__).parent / "trainings"
ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
LIMIT_S = 90.0


class Forkserver:
    """Runs a training's processes; use as a context manager."""

    def __init__(self, script: str, modules: Sequence[str]) -> None:
        self.script = str(TRAININGS / script)
        self._process = subprocess.Popen(
            [sys.executable, __file__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
        )

    def __enter__(self) -> Forkserver:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(LIMIT_S)
        self._process.stdout.close()

    def run(self, *environments: Mapping[str, str], log: Path) -> list[int]:
        """Run one process for each environment, and return how they ended (minus the signal)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"script": self.script, "environments": environments, "log": str(log)}
        watchdog = threading.Timer(LIMIT_S, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        assert answer, f"the training did not end within {LIMIT_S} s:\n{log.read_text()}"
        codes: list[int] = json.loads(answer)
        return codes


def serve() -> None:
    """Obey orders until there are no more."""
    for line in sys.stdin:
        order = json.loads(line)
        children = [_fork(order, environment) for environment in order["environments"]]
        statuses = [os.waitpid(child, 0)[1] for child in children]
        codes = [os.waitstatus_to_exitcode(status) for status in statuses]
        print(json.dumps(codes), flush=True)


def _fork(order: Mapping[str, str], environment: Mapping[str, str]) -> int:
    child = os.fork()
    if child:
        return child
    fd = os.open(order["log"], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.environ.update(environment)
    os._exit(_run(order["script"]))


def _run(script: str) -> int:
    code = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    serve()
