"""A process that has imported what a training needs, and forks one attempt after another from it.

    python -m perdure.runtime.zygote < orders.json

It plays the supervisor's part in a drill: importing torch anew for each attempt would cost more
than the attempt itself. The orders name the command, the runs and how many at a time; each run is
played to its end, attempt by attempt. `python -m MODULE` and `python SCRIPT` are forked, any other
command is started as a process of its own. Standard output gets one JSON line for each run,
standard error one for each attempt that ended. Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from perdure.runtime import generation, names, probe

# Imported once for all attempts: what takes long to import and starts no threads by that.
_FAMILIES: Final = frozenset(
    ("lightning", "numpy", "pandas", "PIL", "scipy", "sklearn", "torch", "torchvision")
)
_POLL_S: Final = 0.003
_PR_SET_PDEATHSIG: Final = 1


class Command:
    """A command, and whether a fork of this process can stand for it."""

    def __init__(self, argv: Sequence[str], cwd: str) -> None:
        self.argv = list(argv)
        self.cwd = cwd
        self.module = ""
        self.script = ""
        self.arguments: list[str] = []
        rest = self.argv[1:]
        if not os.path.basename(self.argv[0]).startswith("python") or not rest:
            return
        if rest[0] == "-m" and len(rest) > 1:
            self.module, self.arguments = rest[1], rest[2:]
        elif not rest[0].startswith("-"):
            self.script, self.arguments = rest[0], rest[1:]

    @property
    def forkable(self) -> bool:
        """Return whether it is `python -m MODULE` or `python SCRIPT`."""
        return bool(self.module or self.script)

    def become(self) -> None:
        """Run it in this process, as `python` would have."""
        if self.module:
            sys.argv = [self.module, *self.arguments]
            runpy.run_module(self.module, run_name="__main__", alter_sys=True)
        else:
            sys.argv = [self.script, *self.arguments]
            sys.path[0] = os.path.dirname(os.path.abspath(self.script))
            runpy.run_path(self.script, run_name="__main__")


class Attempt:
    """One attempt under way."""

    def __init__(self, pid: int, run_dir: str, number: int, limit_s: float) -> None:
        self.pid = pid
        self.number = number
        self._preempt = os.path.join(run_dir, names.PREEMPT)
        self._started = time.monotonic()
        self._limit_s = limit_s
        self._hung = False

    def poll(self) -> dict[str, object] | None:
        """Return how it ended, None while it runs; past its time limit it is killed, and hung."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        self._forward_notice()
        seconds = round(time.monotonic() - self._started, 3)
        if not pid:
            if seconds > self._limit_s:
                self._hung = True
                _kill(self.pid, signal.SIGKILL)
            return None
        # Loader workers that a killed training left behind.
        _kill(self.pid, signal.SIGKILL)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return {"attempt": self.number, "code": code, "seconds": seconds, "hung": self._hung}

    def _forward_notice(self) -> None:
        try:
            os.rename(self._preempt, f"{self._preempt}.ack-g{self.number:06d}")
        except FileNotFoundError:
            return
        _kill(self.pid, signal.SIGTERM)


def _kill(group: int, what: signal.Signals) -> None:
    try:
        os.killpg(group, what)
    except (ProcessLookupError, PermissionError):
        pass


class Played:
    """One run under way: an attempt, and how those before it ended."""

    def __init__(self, command: Command, run: Mapping[str, object]) -> None:
        self.ends: list[dict[str, object]] = []
        self._command = command
        self._run = run
        self._attempt = self._start()

    def step(self) -> bool:
        """Start the next attempt when one has ended; return whether the run is over by that."""
        end = self._attempt.poll()
        if end is None:
            return False
        self.ends.append(end)
        print(json.dumps({"run": self._run["name"], **end}), file=sys.stderr, flush=True)
        if not _goes_on(end) or len(self.ends) >= int(str(self._run["attempts"])):
            return True
        self._attempt = self._start()
        return False

    def told(self) -> str:
        """Return how its attempts ended, as one JSON line."""
        return json.dumps({"run": self._run["name"], "attempts": self.ends})

    def _start(self) -> Attempt:
        return start(self._command, self._run, generation.claim(str(self._run["folder"])))


def _goes_on(end: Mapping[str, object]) -> bool:
    again = (names.EXIT_INTERRUPTED, -signal.SIGTERM, -signal.SIGKILL)
    return end["code"] in again and not end["hung"]


def start(command: Command, run: Mapping[str, object], number: int) -> Attempt:
    """Return the attempt with this generation's number, started."""
    folder = str(run["folder"])
    environment = dict(os.environ)
    environment.update(_environment(run, number))
    logs = os.path.join(folder, names.LOGS)
    os.makedirs(logs, exist_ok=True)
    log = os.open(
        os.path.join(logs, names.numbered(number, ".log")),
        os.O_CREAT | os.O_APPEND | os.O_WRONLY,
        0o644,
    )
    try:
        if command.forkable:
            pid = _fork(command, environment, log, str(run.get("modules_to") or ""))
        else:
            pid = _spawn(command, environment, log)
    finally:
        os.close(log)
    return Attempt(pid, folder, number, float(str(run["limit_s"])))


def _environment(run: Mapping[str, object], number: int) -> dict[str, str]:
    folder = str(run["folder"])
    return {
        names.RUN_DIR: folder,
        names.JOB: str(run["name"]),
        names.GENERATION: str(number),
        names.ATTEMPT: str(number),
        names.SEED: str(run["seed"]),
        names.GRACE_S: "30",
        names.PREEMPT_FILE: os.path.join(folder, names.PREEMPT),
        names.DRILL: str(run["orders"]),
    }


def _spawn(command: Command, environment: Mapping[str, str], log: int) -> int:
    process = subprocess.Popen(
        command.argv,
        cwd=command.cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    # It is waited for by its number, not through this object.
    process.returncode = 0
    return process.pid


def _fork(command: Command, environment: Mapping[str, str], log: int, modules_to: str) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        _die_with(parent)
        _enter(command.cwd, environment, log)
        _train(command, modules_to)
    return pid


def _enter(cwd: str, environment: Mapping[str, str], log: int) -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    probe.forget()


def _train(command: Command, modules_to: str) -> NoReturn:
    """Be the training, and end as an interpreter ends; see `_leave`."""
    code = 1
    try:
        command.become()
        code = 0
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:  # noqa: BLE001 - what the interpreter does with it: show it, exit 1
        sys.excepthook(*sys.exc_info())
    if modules_to:
        with open(modules_to, "w", encoding="utf-8") as file:
            json.dump(list(sys.modules), file)
    _leave(code)


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def _leave(code: int) -> NoReturn:
    """Wait for threads and run the exit handlers, but do not take the modules down one by one.

    With torch that would cost 0.7 s, as every page shared with the zygote would be copied first.
    """
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()  # noqa: SLF001 - the only way to run them and then not finalise
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when the zygote is gone (Linux; elsewhere it just ends)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def preload(modules: Sequence[str]) -> None:
    """Import what a finished training had imported, as far as that is known to be harmless."""
    for name in modules:
        if name.partition(".")[0] in _FAMILIES:
            try:
                importlib.import_module(name)
            except Exception:  # noqa: BLE001, S112 - the training will tell, if it needs it
                continue


def main() -> int:
    """Play all runs that standard input names; return 0."""
    orders = json.load(sys.stdin)
    command = Command(orders["argv"], orders["cwd"])
    if command.forkable:
        preload(orders.get("modules", ()))
    play(command, orders["runs"], int(orders.get("lanes", 1)))
    return 0


def play(command: Command, runs: Sequence[Mapping[str, object]], lanes: int) -> None:
    """Play the runs, so many at a time as there are lanes; print how each ended when it does."""
    waiting = list(reversed(runs))
    active: list[Played] = []
    while waiting or active:
        while waiting and len(active) < lanes:
            active.append(Played(command, waiting.pop()))
        for played in [one for one in active if one.step()]:
            active.remove(played)
            print(played.told(), flush=True)
        time.sleep(_POLL_S)


if __name__ == "__main__":
    sys.exit(main())
