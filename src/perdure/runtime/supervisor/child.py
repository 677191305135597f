"""The training as a process: started as the leader of a session of its own, reaped, signalled."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from perdure.runtime import names
from perdure.runtime.supervisor import processes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perdure.runtime.supervisor.options import Options

NOT_FOUND = 127
NOT_EXECUTABLE = 126


class Status(NamedTuple):
    """How a process ended: a code, or a signal."""

    code: int | None
    signal: int | None


class CannotStart(RuntimeError):
    """The command cannot be run; `code` is what a shell would report."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Child:
    """A process that leads its own group."""

    def __init__(self, pid: int, run_dir: str) -> None:
        self.pid = pid
        self.status: Status | None = None
        self._run_dir = run_dir

    def reap(self) -> None:
        """Note in `status` how the child ended, once it has. As PID 1, reap every orphan too."""
        whom = -1 if os.getpid() == 1 else self.pid
        while self.status is None or whom == -1:
            try:
                pid, status = os.waitpid(whom, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.status = status_of(status)

    def belonging(self) -> list[int]:
        """Return what is alive of the attempt: the group, and who carries its run folder."""
        return processes.belonging(self.pid, self._run_dir)

    def ask(self) -> None:
        """Send SIGTERM to the whole group, and wake what is stopped in it so that it hears."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL to the group and to those of the attempt outside of it."""
        self._signal(signal.SIGKILL)
        processes.send(self.belonging(), signal.SIGKILL)

    def _signal(self, number: int) -> None:
        # Once the leader is reaped its number may come to belong to others.
        targets = [-self.pid] if self.status is None else self.belonging()
        processes.send(targets, number)


def environment(options: Options, generation: int, channel: int) -> dict[str, str]:
    """Return this process's environment, or the one asked for, and what the contract adds."""
    told = {
        names.RUN_DIR: options.run_dir,
        names.JOB: options.job,
        names.GENERATION: str(generation),
        names.ATTEMPT: str(generation),
        names.GRACE_S: f"{options.grace_s:g}",
        names.PREEMPT_FILE: os.path.join(options.run_dir, names.PREEMPT),
        names.CTL_FD: str(channel),
    }
    if options.seed is not None:
        told[names.SEED] = str(options.seed)
    around = os.environ if options.around is None else options.around
    return {**around, **told}


def start(options: Options, environ: Mapping[str, str], channel: int, log: int) -> Child:
    """Start the command with its output in the file `log`, and return it.

    Raises:
        CannotStart: there is no such command or folder, or it may not be run.
    """
    try:
        process = subprocess.Popen(
            options.command,
            cwd=options.cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(channel,),
        )
    except OSError as error:
        raise cannot_start(options, error) from None
    process.returncode = 0  # reaped by `Child`; without this, subprocess would try to as well
    return Child(process.pid, options.run_dir)


def cannot_start(options: Options, error: OSError) -> CannotStart:
    """Return what became of a command that the system refused to start."""
    code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    where = error.filename or options.command[0]
    return CannotStart(f"cannot start `{where}`: {error.strerror}", code)


def open_log(run_dir: str, generation: int) -> tuple[int, str | None]:
    """Return the descriptor of the attempt's log, and why it leads nowhere if it does."""
    path = os.path.join(run_dir, names.LOGS, names.numbered(generation, ".log"))
    try:
        return names.opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), None
    except OSError as error:
        return os.open(os.devnull, os.O_WRONLY), f"cannot write the log: {error}"


def status_of(status: int) -> Status:
    """Return what `waitpid` said in words."""
    if os.WIFSIGNALED(status):
        return Status(None, os.WTERMSIG(status))
    return Status(os.WEXITSTATUS(status), None)
