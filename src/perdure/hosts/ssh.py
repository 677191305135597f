"""A host that ssh reaches: the system's own ssh, over one connection that all commands share.

The user's configuration decides how it is reached; the first command may ask for a password or a
second factor, and those that follow within ten minutes do not. Host keys are always checked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.errors import NoPython, StorageError
from perdure.hosts.linked import LinkedHost
from perdure.hosts.ssh_folder import control_folder
from perdure.hosts.ssh_words import line

# What starts processes is imported where that is done: a question goes over a connection that is
# there, and `perdure ps` asks one.
if TYPE_CHECKING:
    from perdure.hosts.host import HostFacts
    from perdure.hosts.local import Completed, LineCallback

PROGRAM = "ssh"
# ssh's own failures; a command that ends so itself cannot be told from them.
FAILED = 255
KEPT_S = 600
# What a host may take to answer that nobody waits for in particular.
HASTE_S = 8
# What a host may take to answer otherwise; a password is typed after that.
PATIENCE_S = 20
# To connect, and to type a password.
CONNECT_S = 60.0
_LAST_S, _LOOK_S = 5.0, 0.01


@dataclass(frozen=True, slots=True)
class Ssh(LinkedHost):
    """A host by what users call it, and by what ssh is given: an alias or `user@host`.

    `asks`: ssh may ask the person before this process, if there is one. It does not where several
    hosts are asked at once, and gives a host that is not there up in seconds.
    """

    name: str
    destination: str
    root: str = "~/perdure"
    asks: bool = True

    def command(self, argv: Sequence[str], *, terminal: bool = False) -> tuple[str, ...]:
        """Return ssh's command line: words are quoted for the shell at the other end."""
        kind = ("-t",) if terminal else ("-T",)
        return (PROGRAM, *self.options(), *kind, "--", self.destination, line(argv))

    def options(self) -> tuple[str, ...]:
        """Return what every call of ssh is given over the user's own configuration."""
        folder = str(control_folder()).replace("%", "%%")
        chosen = {
            "ControlMaster": "auto",
            "ControlPath": f'"{folder}/%C"',
            "ControlPersist": str(KEPT_S),
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "ConnectTimeout": str(PATIENCE_S if self.asks else HASTE_S),
            # What a user has run at each login of theirs is not what is run here.
            "RemoteCommand": "none",
        }
        quiet = () if self.asks and may_ask() else ("-o", "BatchMode=yes")
        return (*(word for k, v in chosen.items() for word in ("-o", f"{k}={v}")), *quiet)

    def python(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the command of this machine that runs `python3 ...` there; see `Host.python`."""
        from perdure.hosts.within import python_there

        return self.command((*python_there(self), *words[1:]))

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        variables: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bytes | None = None,
        on_line: LineCallback | None = None,
    ) -> Completed:
        """Return how a command ended there; see `Host.run`. A host without Python has a shell."""
        try:
            return LinkedHost.run(
                self,
                argv,
                timeout_s=timeout_s,
                variables=variables,
                cwd=cwd,
                stdin=stdin,
                on_line=on_line,
            )
        except NoPython:
            return self.run_plainly(argv, timeout_s, dict(variables or {}), cwd, stdin, on_line)

    def run_plainly(
        self,
        argv: Sequence[str],
        timeout_s: float,
        variables: Mapping[str, str],
        cwd: str | None,
        stdin: bytes | None,
        on_line: LineCallback | None = None,
    ) -> Completed:
        """Return how a command ended there, with nothing but a POSIX shell at the other end.

        The variables go ahead of its input, so that they never show in a list of processes.
        """
        from perdure.hosts import local, question
        from perdure.hosts.ssh_failure import failure

        script = question.script(argv, variables, cwd).encode("utf-8", "surrogateescape")
        # Byte by byte: what follows the script is the command's own.
        taken = f'eval "$(dd bs=1 count={len(script)} 2>/dev/null)"'
        done = local.run(
            self.command(["sh", "-c", taken]),
            timeout_s=timeout_s + CONNECT_S,
            stdin=script + (stdin or b""),
            on_line=on_line,
        )
        if done.returncode == FAILED:
            raise failure(self.name, self.destination, done.complaint)
        return local.Completed(tuple(argv), done.returncode, done.stdout, done.stderr)

    def attached(
        self,
        argv: Sequence[str],
        *,
        variables: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> int:
        """Return the exit code of a command there that has this terminal until it ends."""
        from perdure.hosts import local, question

        words = list(argv)
        if variables or cwd:
            text = question.script(argv, variables or {}, cwd)
            words = ["sh", self._left(text)]
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        return local.run_attached(self.command(words, terminal=terminal))

    def _left(self, script: str) -> str:
        """Return the path of a private file there with a script that removes itself."""
        from perdure.hosts import question

        try:
            return self.call(question.leave_script, script)
        except NoPython:
            data = f'rm -f -- "$0"\n{script}\n'.encode("utf-8", "surrogateescape")
            leave = 'umask 077; f=$(mktemp) && cat >"$f" && echo "$f"'
            done = self.run_plainly(["sh", "-c", leave], CONNECT_S, {}, None, data)
        if done.returncode != 0:
            raise StorageError(f"no private file can be made on `{self.name}`: {done.complaint}")
        return done.text

    def connect(self) -> None:
        """Return once a connection is there that the commands share; a person may be asked.

        Raises:
            HostUnreachable: there is none, and why.
        """
        from perdure.hosts import local
        from perdure.hosts.ssh_failure import failure, refusal

        if self._tell_master("check"):
            return
        # A session of its own has no terminal to ask on: with one, ssh is given this one.
        words = self.command(["true"])
        if self.asks and may_ask():
            code, said = local.run_attached(words), ""
        else:
            done = local.run(words, timeout_s=CONNECT_S)
            code, said = done.returncode, done.complaint or done.text
        if code not in (0, FAILED):
            raise refusal(self.name, self.destination, said)
        if code != 0:
            raise failure(self.name, self.destination, said)

    def disconnect(self) -> bool:
        """Return whether a connection was kept; none is now, and the next one logs in anew."""
        from perdure.hosts.link import socket_path

        # Its process ends with the connection, and serves nobody from now on.
        socket_path(self).unlink(missing_ok=True)
        if not self._tell_master("exit"):
            return False
        # It says yes, and then goes: who connects in between would share what ends.
        deadline = time.monotonic() + _LAST_S
        while self._tell_master("check") and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return True

    def _tell_master(self, verb: str) -> bool:
        from perdure.hosts import local

        words = (PROGRAM, *self.options(), "-O", verb, "--", self.destination)
        return local.run(words, timeout_s=CONNECT_S).returncode == 0

    def forward(self, port: int) -> int:
        """Return a port of this machine's loopback that reaches `port` of the host's."""
        from perdure.hosts.ssh_forward import forwarded_port

        return forwarded_port(self, port)

    def forward_socket(self, path: str) -> Path:
        """Return a unix socket of this machine that reaches one of the host."""
        from perdure.hosts.ssh_forward import forwarded_socket

        return forwarded_socket(self, path)

    def probe(self) -> HostFacts:
        """Return what the host is, asked over the connection that is there by then."""
        from perdure.hosts.here import facts_of
        from perdure.hosts.side.survey import survey

        self.call(survey, self.root)
        began, clock = time.monotonic(), time.time()
        found = self.call(survey, self.root)
        took = time.monotonic() - began
        return facts_of(found, took, ahead_s=float(found["time"]) - clock - took / 2)


def apart(argv: Sequence[str]) -> tuple[str, ...] | None:
    """Return a call of ssh over a connection of its own, which asks nobody; None if it is no such.

    Pure. What the connection that is shared waits for does not hold it up.
    """
    if not argv or argv[0] != PROGRAM:
        return None
    own = {"ControlPath": "none", "BatchMode": "yes"}
    return (PROGRAM, *(word for k, v in own.items() for word in ("-o", f"{k}={v}")), *argv[1:])


def may_ask() -> bool:
    """Return whether a person sits before this process, whom ssh may ask for a password."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
