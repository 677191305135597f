"""Several machines that train together: the first one's supervisor leads, the others follow it.

supervisor --lead RUN_DIR NODES RANKS AFTER -- COMMAND    the first machine's supervisor's child
supervisor --follow RUN_DIR NUMBER AFTER                  the first process of every other one

They share nothing but the run folder. In its `gang` the leader writes where an attempt's torchruns
meet, each follower that it is there, and how its torchrun ended: no machine need know another one
by name, and no service need lead to it. What is to stop is asked by a file that all ranks look at;
a machine that is asked to stop asks the leader's supervisor, and so all of them save at one step. A
machine that is gone without a word is an interruption, and no crash of the training: the leader
ends as if it had been killed, and its supervisor begins another attempt.

Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Callable, Dict, List, NamedTuple, Optional

from perdure.runtime import generation, names, settled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEAD, FOLLOW = "--lead", "--follow"
#: What a machine of the gang is reached at, where its host name does not tell.
ADDRESS = "PERDURE_ADDRESS"
FOLDER = "gang"
MEETING = "meeting.json"
_TICK_S = 0.1
# Machines that are there say within this time how their part of an attempt ended.
WORD_S = 10.0
_LAST_WORD_S = 3.0
# How often it is looked whether the leader's part has ended.
_LOOK_S = 0.5
_PASSED_ON = "PERDURE_"
_NOT_PASSED_ON = (names.CTL_FD, ADDRESS)


class Meeting(NamedTuple):
    """One attempt: where its torchruns meet, and what each of them runs.

    `after` is the generation that the job was handed over after: who follows another handing over
    is not meant.
    """

    number: int
    address: str
    port: int
    nodes: int
    ranks: int
    command: List[str]
    cwd: str
    environment: Dict[str, str]
    after: int = 0


def torchrun(meeting: Meeting, node: int) -> List[str]:
    """Return the command that trains on one of the machines. Pure."""
    first = os.path.basename(meeting.command[0])
    python = meeting.command[0] if first.startswith("python") else "python3"
    options = {
        "nnodes": meeting.nodes,
        "nproc-per-node": meeting.ranks,
        "node-rank": node,
        "master-addr": meeting.address,
        "master-port": meeting.port,
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    return [python, "-m", "torch.distributed.run", *words, "--no-python", *meeting.command]


def write_meeting(run_dir: str, meeting: Meeting) -> None:
    """Write where an attempt's machines meet, whole or not at all. Touches the disk."""
    _write(os.path.join(run_dir, FOLDER, MEETING), json.dumps(meeting._asdict()))


def read_meeting(run_dir: str) -> Optional[Meeting]:
    """Return where the newest attempt's machines meet, None before any began. Reads the disk."""
    try:
        with open(os.path.join(run_dir, FOLDER, MEETING), encoding="utf-8") as file:
            return Meeting(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


class Leader:
    """The first machine's part of one attempt."""

    def __init__(
        self, run_dir: str, nodes: int, ranks: int, after: int, command: Sequence[str]
    ) -> None:
        self._run_dir = run_dir
        self._asked = _Asked()
        number = int(os.environ[names.GENERATION])
        self._stop = _path(run_dir, "stop", number)
        told = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(_PASSED_ON) and name not in _NOT_PASSED_ON
        }
        # Not the supervisor's own: that is put aside as soon as it was heard.
        told[names.PREEMPT_FILE] = self._stop
        address = os.environ.get(ADDRESS) or socket.gethostname()
        self._meeting = Meeting(
            number, address, _free_port(), nodes, ranks, list(command), os.getcwd(), told, after
        )

    def run(self) -> int:
        """Return how the training ended, as an exit code; negative: as by that signal."""
        meeting = self._meeting
        os.makedirs(os.path.join(self._run_dir, FOLDER), exist_ok=True)
        write_meeting(self._run_dir, meeting)
        try:
            if not self._all_there():
                return -int(signal.SIGTERM)
            child = _begin(meeting, 0)
            return self._judged(_await(child, self._tick))
        finally:
            _write(_path(self._run_dir, "over", meeting.number), "")

    def _judged(self, code: int) -> int:
        """Return the code of this machine's part; where another one is gone, a death's."""
        if code == 0 or self._all_said():
            return code
        return -int(signal.SIGTERM if self._asked.stop else signal.SIGKILL)

    def _all_there(self) -> bool:
        """Return whether the others have come; False: this is to stop before they have."""
        told = 0
        while not self._asked.stop:
            there = self._count("here")
            if there == self._meeting.nodes - 1:
                return True
            if told != there + 1:
                told = there + 1
                print(f"perdure: {told} of {self._meeting.nodes} nodes are there", flush=True)
            time.sleep(_TICK_S)
        return False

    def _tick(self) -> None:
        if self._asked.stop and not os.path.exists(self._stop):
            _write(self._stop, "")

    def _all_said(self) -> bool:
        """Return whether all others tell how their part ended; who does not is gone."""
        until = time.monotonic() + (_LAST_WORD_S if self._asked.stop else WORD_S)
        while self._count("code") < self._meeting.nodes - 1:
            if time.monotonic() > until:
                return False
            time.sleep(_TICK_S)
        return True

    def _count(self, what: str) -> int:
        others = range(1, self._meeting.nodes)
        number = self._meeting.number
        return sum(os.path.exists(_path(self._run_dir, what, number, n)) for n in others)


class Follower:
    """Another machine's part of all attempts; `after` is the generation that the job follows."""

    def __init__(self, run_dir: str, number: int, after: int) -> None:
        self._run_dir = run_dir
        self._number = number
        self._after = after
        self._asked = _Asked()
        self._passed_on = False
        self._look = 0.0

    def run(self) -> int:
        """Return 0 once the job is settled, 75 if this machine has to go before."""
        known = self._after
        while os.path.isdir(self._run_dir) and not settled.is_over(self._run_dir, self._after):
            if self._asked.stop:
                return names.EXIT_INTERRUPTED
            meeting = read_meeting(self._run_dir)
            if meeting is not None and meeting.after > self._after:
                return 0  # it was handed over again, with others to follow
            if meeting is not None and meeting.number > known and not self._is_over(meeting):
                known = meeting.number
                self._join(meeting)
            _reap()
            time.sleep(_LOOK_S)
        return 0

    def _join(self, meeting: Meeting) -> None:
        """Train with the others for one attempt."""
        _write(_path(self._run_dir, "here", meeting.number, self._number), "")
        log = os.path.join(self._run_dir, FOLDER, f"{meeting.number:06d}-{self._number}.log")
        with open(log, "ab") as file:
            child = _begin(meeting, self._number, file.fileno())
        code = _await(child, lambda: self._tick(meeting, child))
        try:
            _write(_path(self._run_dir, "code", meeting.number, self._number), str(code))
        except FileNotFoundError:
            pass  # whoever removed the job asks no more how it ended

    def _tick(self, meeting: Meeting, child: subprocess.Popen[bytes]) -> None:
        if self._asked.stop and not self._passed_on:
            self._passed_on = True
            said = {"reason": signal.SIGTERM.name}
            _write(os.path.join(self._run_dir, names.PREEMPT), json.dumps(said))
        now = time.monotonic()
        if now >= self._look:
            self._look = now + _LOOK_S
            if self._is_over(meeting):
                _end(child)

    def _is_over(self, meeting: Meeting) -> bool:
        """Return whether the leader's part of an attempt has ended, however it did."""
        if os.path.exists(_path(self._run_dir, "over", meeting.number)):
            return True
        try:
            newest = generation.newest(self._run_dir)
        except OSError:
            return not os.path.isdir(self._run_dir)
        return newest > meeting.number or settled.is_over(self._run_dir, self._after)


class _Asked:
    """Whether somebody asked this process to stop."""

    def __init__(self) -> None:
        self.stop = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.stop = True


def _begin(meeting: Meeting, node: int, log: Optional[int] = None) -> subprocess.Popen[bytes]:
    """Start torchrun in a session of its own: what asks this process does not ask it."""
    environ: Mapping[str, str] = {**os.environ, **meeting.environment}
    return subprocess.Popen(
        torchrun(meeting, node),
        env=environ,
        cwd=meeting.cwd,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _await(child: subprocess.Popen[bytes], tick: Callable[[], None]) -> int:
    """Return the code of a process that has ended; whatever is left of its session has, too."""
    while child.poll() is None:
        tick()
        time.sleep(_TICK_S)
    _end(child)
    return child.returncode


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _reap() -> None:
    """Take up what has ended and has no other parent: this may be a machine's first process."""
    try:
        while os.getpid() == 1 and os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _path(run_dir: str, what: str, number: int, machine: int = 0) -> str:
    return os.path.join(run_dir, FOLDER, f"{what}-{number:06d}-{machine}")


def _write(path: str, text: str) -> None:
    """Write a file, whole or not at all."""
    draft = f"{path}.{socket.gethostname()}-{os.getpid()}"
    with open(draft, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(draft, path)


def main(argv: Sequence[str]) -> int:
    """Lead or follow, as `argv` says, and return the exit code."""
    if argv[0] == LEAD:
        nodes, ranks, after = (int(each) for each in argv[2:5])
        code = Leader(argv[1], nodes, ranks, after, argv[6:]).run()
    else:
        code = Follower(argv[1], int(argv[2]), int(argv[3])).run()
    if code < 0:
        # A supervisor reads a shell's word for a death by signal as that: a loss, and no crash.
        return 128 - code
    return code
