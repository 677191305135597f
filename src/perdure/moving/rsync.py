"""The system's rsync, over whatever a host is reached by.

It moves the contents of listed files into a staging folder, nothing else: what exists there is what
is left of a broken attempt, and only what it lacks is sent. Whole files are moved into place later.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import PerdureError
from perdure.hosts import local, piped
from perdure.hosts.host import Host
from perdure.hosts.local import Completed
from perdure.hosts.piped import Piped
from perdure.moving import far

PROGRAM = "rsync"
ASK_S = 10.0
# While a part that is there already is compared, rsync says nothing.
STALL_S = 900.0
END_S = 60.0
# What rsync calls: some files could not be read, some are gone.
_PARTIAL = (23, 24)
_LOST = (10, 12, 30)
# What rsync calls the other side's folder: its own server is started there.
THERE = "there:./"
# -t, -p: as they were; -L: a link that is listed stands for a file; -I: a part that is left may
# have the size and time of the whole; -s: names travel as data, never through a shell.
_OPTIONS = ("-t", "-p", "-L", "-I", "-s", "--inplace", "--no-implied-dirs", "--relative", "--from0")
_TELLING = ("--info=progress2", "--no-human-readable", "--stats", "--outbuf=L")


_MISLEADING = frozenset({"RSYNC_RSH", "RSYNC_PROXY", "RSYNC_CONNECT_PROG", "RSYNC_PARTIAL_DIR"})
WORDS = "PERDURE_WORDS_OF_RSYNC"
_VARIABLE = "PERDURE_REACH"
# What rsync runs with a host's name and its words: it puts the words in, and becomes the command.
_REACHING = f"""
import json, os, re, sys
argv, words = json.loads(os.environ.pop("{_VARIABLE}")), sys.argv[2:]
if not all(re.fullmatch("[A-Za-z0-9_.,=-]+", word) for word in words):
    sys.exit("rsync asks for words that are no flags")
argv = [word.replace("{WORDS}", " ".join(words)) for word in argv]
os.execvp(argv[0], argv)
"""


@dataclass(frozen=True, slots=True)
class Stream:
    """One run of rsync: the list of files, the folder here, the one there, and the direction."""

    listed: Path
    near: Path
    far: str
    pushing: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """What a stream sent: the bytes that went over, and rsync's complaints about single files."""

    bytes: int
    complaint: str = ""


def reach(host: Host, folder: str, *, make: bool) -> tuple[str, ...]:
    """Return the command of this machine that runs rsync's server in a folder there. Pure.

    What rsync wants to be run there stands as `WORDS` in it, put in when rsync says it: flags, all
    of plain letters, which mean the same however deep they are quoted. No path is among them.
    """
    script = f'cd -- "$0" && exec {WORDS}'
    if make:
        script = f'mkdir -p -- "$0" && {script}'
    return host.command(["sh", "-c", script, folder])


def remote_shell() -> str:
    """Return what rsync is to run to reach a host; the environment says how."""
    return " ".join(quoted(word) for word in (sys.executable, "-I", "-S", "-c", _REACHING))


def quoted(word: str) -> str:
    """Return a word as rsync splits such a string: at blanks, a quote in quotes doubled."""
    return "'" + word.replace("'", "''") + "'"


def command(stream: Stream) -> list[str]:
    """Return rsync's command line. Pure."""
    words = [PROGRAM, *_OPTIONS, *_TELLING, f"--files-from={stream.listed}"]
    near = f"{stream.near}/"
    ends = (near, THERE) if stream.pushing else (THERE, near)
    return [*words, "-e", remote_shell(), "--", *ends]


def environment(host: Host, stream: Stream) -> dict[str, str]:
    """Return the variables that rsync is run with. Reads this process's own."""
    own = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
    way = json.dumps(reach(host, stream.far, make=stream.pushing))
    return {**own, "LC_ALL": "C", _VARIABLE: way}


def is_here() -> bool:
    """Return whether this machine has an rsync that is recent enough. Runs it."""
    try:
        done = local.run([PROGRAM, "--version"], timeout_s=ASK_S)
    except PerdureError:
        return False
    return far.is_recent(done.stdout.decode("utf-8", "replace"))


def write_list(file: Path, paths: Iterable[str]) -> None:
    """Write the names that a stream moves. Touches the disk."""
    file.write_bytes(far.listed(paths))


class Running:
    """The streams that run: all of them can be ended from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: list[Piped] = []
        self._ended = False

    def add(self, process: Piped) -> None:
        """Note one more; it is killed at once where all were ended by now."""
        with self._lock:
            self._processes.append(process)
            if self._ended:
                process.kill()

    def end(self) -> None:
        """Kill them all, and those that are still to come."""
        with self._lock:
            self._ended = True
            for process in self._processes:
                process.kill()


def run(host: Host, stream: Stream, tell: Callable[[int], None], running: Running) -> Sent:
    """Return what went over; `tell` is told the bytes that are there by now.

    Raises:
        HostUnreachable: the connection was lost; what came over is kept for the next attempt.
        StorageError: a disk refuses.
        TimeoutExpired: nothing moved for too long.
    """
    reader = _Reader(tell)
    argv, variables = command(stream), environment(host, stream)
    with piped.reading(argv, env=variables, stall_s=STALL_S) as process:
        running.add(process)
        while data := process.read(1 << 16):
            reader.take(data)
        done = process.finish(END_S)
    if done.returncode == 0:
        return Sent(reader.literal)
    if done.returncode in _PARTIAL and not _is_grave(done.complaint):
        return Sent(reader.literal, done.complaint)
    raise failure(host, done)


def failure(host: Host, done: Completed) -> PerdureError:
    """Return the error for a stream that broke off: the host, a disk, or rsync's own words."""
    if done.returncode in _LOST or far.is_loss(done):
        return far.loss(host, done.complaint)
    lines = [line for line in done.complaint.splitlines() if not line.startswith("rsync error:")]
    return far.refusal(host.name, "files cannot be moved", "\n".join(lines) or done.complaint)


def _is_grave(said: str) -> bool:
    """Return whether more is wrong than that single files are gone or cannot be read."""
    return "[receiver]" in said or any(line.startswith("ERROR:") for line in said.splitlines())


class _Reader:
    """Reads rsync's output: how far it is, and at the end what it really sent."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self.literal = 0
        self._tell = tell
        self._rest = b""

    def take(self, data: bytes) -> None:
        """Read on."""
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if found := re.match(rb"\s*(\d+)\s+\d+%", line):
                self._tell(int(found[1]))
            elif found := re.match(rb"Literal data: (\d+) bytes", line):
                self.literal = int(found[1])
