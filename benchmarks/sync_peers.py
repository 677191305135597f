"""Ways to keep a tree on another host as it is here: perdure's, and those of others.

Each is started, makes the first copy, and then sees to it that a save arrives; rsync is run by hand
after each save, as a person or an editor's hook would.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from perdure.hosts.ssh import Ssh
from perdure.sync import session
from perdure.sync.channel import boot_words
from perdure.sync.once import Destination

LIMIT_S = 90.0
TARGET = "bench"


class Way(Protocol):
    """One way: `saved` is called after a file was saved, for those that have to be told."""

    name: str

    def start(self, here: Path, there: Path, host: str) -> None:
        """Begin; the first copy is there once this returns."""

    def saved(self, paths: Sequence[str]) -> None:
        """Take note that these files were saved."""

    def stop(self) -> None:
        """End it."""


@dataclass
class Perdure:
    """A live session."""

    name: str = "perdure"
    here: Path = field(default_factory=Path)

    def start(self, here: Path, there: Path, host: str) -> None:
        """Begin a session in the background."""
        self.here = here
        connected = Ssh(host, host)
        connected.connect()
        destination = Destination(connected.command(boot_words()), str(there))
        session.start(here, TARGET, destination, timeout_s=LIMIT_S)
        if session.barrier(here, TARGET, LIMIT_S) is not True:
            raise RuntimeError(f"the sync is not done: {session.status(here, TARGET)}")

    def saved(self, paths: Sequence[str]) -> None:
        """Nothing: it sees by itself."""

    def stop(self) -> None:
        """End the session."""
        session.stop(self.here, TARGET)


class Rsync:
    """rsync over a connection that is kept; of the whole tree, or of the files that were saved."""

    def __init__(self, *, tree: bool) -> None:
        self.name = "rsync of the tree" if tree else "rsync of the files saved"
        self._tree = tree
        self._words: list[str] = []
        self._target = ""
        self._here = Path()

    def start(self, here: Path, there: Path, host: str) -> None:
        """Copy the tree."""
        connected = Ssh(host, host)
        connected.connect()
        shell = " ".join(("ssh", *connected.options()))
        # Without it a second save within a second is passed over.
        self._words = ["rsync", "-a", "--modify-window=-1", "-e", shell]
        self._here, self._target = here, f"{host}:{there}/"
        excluded = ("--exclude=/.git", "--exclude=/.perdure")
        self._run(*excluded, "--delete", f"{here}/")

    def saved(self, paths: Sequence[str]) -> None:
        """Copy them, or look through the tree for them."""
        if self._tree:
            self._run("--exclude=/.git", "--exclude=/.perdure", "--delete", f"{self._here}/")
        else:
            listed = "\0".join(paths).encode()
            self._run("--from0", "--files-from=-", f"{self._here}/", stdin=listed)

    def stop(self) -> None:
        """Nothing runs."""

    def _run(self, *words: str, stdin: bytes = b"") -> None:
        argv = [*self._words, *words, self._target]
        subprocess.run(argv, input=stdin, check=True, timeout=LIMIT_S, capture_output=True)


class Background:
    """A program that watches the tree; what it needs is there once `ready` says so."""

    name = ""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def saved(self, paths: Sequence[str]) -> None:
        """Nothing: it sees by itself."""

    def stop(self) -> None:
        """Kill it, and what it started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def run(self, argv: Sequence[str], log: Path) -> None:
        """Start it."""
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


LSYNCD = """\
settings {{ nodaemon = true, inotifyMode = "CloseWrite or Modify", maxProcesses = 1 }}
sync {{
  default.rsync, source = "{here}/", target = "{host}:{there}/", delay = 0,
  exclude = {{ "/.git", "/.perdure" }},
  rsync = {{ archive = true, rsh = [[{shell}]], _extra = {{ "--modify-window=-1" }} }}
}}
"""


class Lsyncd(Background):
    """lsyncd, without any delay."""

    name = "lsyncd"

    def start(self, here: Path, there: Path, host: str) -> None:
        """Let it watch, and wait for its first copy."""
        connected = Ssh(host, host)
        connected.connect()
        shell = " ".join(("/usr/bin/env", "ssh", *connected.options()))
        config = here.parent / "lsyncd.lua"
        config.write_text(LSYNCD.format(here=here, there=there, host=host, shell=shell))
        self.run(["lsyncd", str(config)], here.parent / "lsyncd.log")
        await_copy(here, there)


class Unison(Background):
    """unison, which watches both sides where its helper is there, else looks every second."""

    name = "unison"

    def start(self, here: Path, there: Path, host: str) -> None:
        """Copy the tree, then let it watch."""
        connected = Ssh(host, host)
        connected.connect()
        state = here.parent / "unison"
        shutil.rmtree(state, ignore_errors=True)
        os.environ["UNISON"] = str(state)
        words = ["unison", str(here), f"ssh://{host}/{there}", "-batch", "-silent", "-auto"]
        words += ["-sshargs", " ".join(connected.options()), "-ignore", "Path .git"]
        words += ["-ignore", "Path .perdure", "-perms", "0o777", "-times"]
        subprocess.run(words, check=True, timeout=LIMIT_S, capture_output=True)
        how = "watch" if shutil.which("unison-fsmonitor") else "1"
        self.run([*words, "-repeat", how], here.parent / "unison.log")
        time.sleep(3.0)


def await_copy(here: Path, there: Path) -> None:
    """Return once there are as many files there as here."""
    wanted = count(here)
    deadline = time.monotonic() + LIMIT_S
    while count(there) < wanted:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{count(there)} of {wanted} files came to {there}")
        # Looking costs as well.
        time.sleep(0.05)


def count(folder: Path) -> int:
    """Return how many files a folder has, without git's."""
    found = 0
    for path, folders, names in os.walk(folder):
        if Path(path) == folder:
            folders[:] = [name for name in folders if name not in (".git", ".perdure")]
        found += sum(not name.startswith(".") for name in names)
    return found


def there_are(*programs: str) -> bool:
    """Return whether these programs are on this machine."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        print(f"left out, not on this machine: {', '.join(missing)}", file=sys.stderr)
    return not missing
