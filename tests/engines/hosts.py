"""Where the real hosts of the tests are, and how they are started: `tests/engines/hosts`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cli.command import Ended
from tests.engines.user import reachable_python

SCRIPT = Path(__file__).with_name("hosts")
LIMIT_S = 1500.0
SET = os.environ.get("PERDURE_TESTS_HOSTS_SET", "0")
STATE = Path(os.environ.get("PERDURE_TESTS_HOSTS", "/var/lib/perdure-tests/hosts")) / SET

#: What a session over there has of this machine's: how packages are found.
PASSED = ("SSL_", "PIP_", "UV_", "CURL_CA", "REQUESTS_CA", "GIT_SSL", "TERM")
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts `laptop`, `gpu1`, `gpu2` and `bare`; the users on them are `root` and `ada`.

    There is `grace`, too, in no group of Docker's, whom ssh asks for a password (`tests`) as well.
    They share the file system of the tests, except for homes, /tmp and /run; `place` is where a
    host's own files belong.
    """

    state: Path = STATE

    def command(
        self,
        host: str,
        argv: Sequence[str],
        *,
        user: str = "root",
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Return the command that runs one on a host as a user logged in there.

        It ends when its caller does. Of this process's variables it has none but `PASSED`.
        """
        number = (self.state / host / "init").read_text().strip()
        spaces = ("--net", "--mount", "--pid", "--uts", "--ipc", "--root", "--wd")
        variables = [f"{k}={v}" for k, v in {**self.variables(host, user), **(env or {})}.items()]
        who: tuple[str, ...] = ()
        if user != "root":
            who = (f"--reuid={user}", f"--regid={user}", "--init-groups")
        home = variables[0].partition("=")[2]
        return [
            *("nsenter", f"--target={number}", *spaces, "--"),
            *("setpriv", "--pdeathsig=KILL", *who),
            *("env", "-i", f"--chdir={cwd or home}", *variables),
            *argv,
        ]

    def run(
        self,
        host: str,
        *argv: str,
        user: str = "root",
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 120.0,
    ) -> Ended:
        """Return how a command ended on a host, its input closed."""
        done = subprocess.run(
            self.command(host, argv, user=user, cwd=cwd, env=env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
        )
        out, err = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
        return Ended(done.returncode, out, err)

    def processes(self, host: str, *words: str) -> list[int]:
        """Return the processes of a host whose command lines have all the words.

        The numbers are those of this machine, where they can be killed.
        """
        space = _pid_space(int((self.state / host / "init").read_text()))
        return [pid for pid in processes(*words) if _pid_space(pid) == space]

    def variables(self, host: str, user: str) -> dict[str, str]:
        """Return the variables of a session of a user; the home comes first."""
        found = {"HOME": "/root" if user == "root" else f"/home/{user}", "USER": user}
        found |= {"LOGNAME": user, "SHELL": "/bin/bash", "LANG": "C.UTF-8"}
        found["PATH"] = f"{self.state / host / 'bin'}:{PATH}"
        if user != "root":
            found["XDG_RUNTIME_DIR"] = "/run/user/1000"
        passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
        return found | passed

    def home(self, host: str, user: str = "root") -> Path:
        """Return where a user's home on a host lies for this process."""
        return self.state / host / user

    def place(self, host: str) -> Path:
        """Return a folder that is the host's, at the same path there as for this process."""
        return Path("/srv", host if SET == "0" else f"{host}-{SET}")

    def small(self, host: str) -> Path:
        """Return a folder on a host that has room for 64 MB."""
        return self.place(host) / "small"

    def address(self, host: str) -> str:
        """Return a host's address."""
        lines = (self.state / "laptop" / "etc" / "hosts").read_text().splitlines()
        return next(line.split()[0] for line in lines if line.split()[1:] == [host])

    def cut(self, host: str) -> None:
        """Take a host from the network: nothing arrives, and nobody is told."""
        _script("cut", host)

    def mend(self, host: str) -> None:
        """Put a host back on the network."""
        _script("mend", host)

    def kill(self, host: str) -> None:
        """Take a host's power: every process on it, and every container, ends at once."""
        _script("kill", host)

    def start(self, host: str) -> None:
        """Give a host its power back, and return when it answers; its engine runs again, too."""
        _script("start", host)

    def limit(self, host: str, rate: str) -> None:
        """Let so much through a host's network card, each way: `100mbit`, or `none` for all."""
        _script("limit", host, rate)

    def clock(self, host: str, ahead_s: int) -> None:
        """Have what ssh starts on a host live so many seconds later; 0: in our time.

        What is asked is the time of day. The kernel's, and so that of files, stays ours.
        """
        _script("clock", host, str(ahead_s))

    def engine(self, host: str, which: str = "old", *, live: bool = False) -> dict[str, str]:
        """Start a Docker engine on a host if none is there; return variables for use there.

        `which` is `old`, `modern`, or `none` to end it; `live`: containers outlive it. It stays
        when the test ends: whoever needs a host without one asks for `none`, or takes the laptop.
        """
        _script("docker", host, which, *(("live",) if live else ()))
        return {"DOCKER_BUILDKIT": "1"}

    def crash(self, host: str) -> None:
        """Kill -9 a host's engine; `engine` starts it again."""
        _script("crash", host)

    def ssh(self) -> Path:
        """Return the folder of the `ssh` with which this process reaches the hosts."""
        return self.state / "client" / "bin"

    def config(self) -> Path:
        """Return the configuration of that `ssh`."""
        return self.state / "client" / "config"


@dataclass(frozen=True, slots=True)
class Laptop:
    """A user at a laptop, with perdure installed and `ssh gpu1` set up.

    `folder` is theirs, and lies at the same path for the laptop and for this process.
    """

    hosts: Hosts
    user: str
    folder: Path
    python: Path

    def perdure(
        self,
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 120.0,
    ) -> Ended:
        """Return how `perdure WORDS...` ended on the laptop."""
        return self.run(*self.main(), *words, cwd=cwd, env=env, timeout_s=timeout_s)

    def run(
        self,
        *argv: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 120.0,
    ) -> Ended:
        """Return how a command ended on the laptop."""
        return self.hosts.run(
            "laptop",
            *argv,
            user=self.user,
            cwd=cwd or self.folder,
            env=self._variables(env),
            timeout_s=timeout_s,
        )

    def command(
        self,
        *argv: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Return the command that runs one on the laptop, for a caller that drives it itself."""
        return self.hosts.command(
            "laptop", argv, user=self.user, cwd=cwd or self.folder, env=self._variables(env)
        )

    def main(self) -> tuple[str, ...]:
        """Return the words that are `perdure` there."""
        return (str(self.python), "-m", "perdure.cli.main")

    def configure(self, text: str) -> None:
        """Write the user's settings, such as their targets."""
        path = self.folder / "config" / "perdure" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.give(self.folder / "config")

    def give(self, path: Path) -> Path:
        """Return the path after making it, and all in it, the user's."""
        owner = f"{self.user}:{self.user}"
        subprocess.run(self.hosts.command("laptop", ["chown", "-Rh", owner, str(path)]), check=True)
        return path

    def _variables(self, env: Mapping[str, str] | None) -> dict[str, str]:
        config = self.folder / "config"
        own = {"XDG_CONFIG_HOME": str(config), "GIT_CONFIG_GLOBAL": str(config / "gitconfig")}
        return {**own, "XDG_CACHE_HOME": str(self.folder / "cache"), **(env or {})}


def make_laptop(hosts: Hosts, settings: Path, user: str) -> Laptop:
    """Return a user at the laptop with a new folder and a copy of those settings."""
    folder = Path(tempfile.mkdtemp(prefix=f"{user}-", dir=hosts.place("laptop")))
    shutil.copytree(settings, folder / "config")
    laptop = Laptop(hosts, user, folder, reachable_python(folder))
    laptop.give(folder)
    return laptop


def start() -> bool:
    """Start the hosts; return whether they were not running.

    Raises:
        RuntimeError: they cannot be started here.
    """
    return _script("up") == "started"


def install() -> None:
    """See to it that the programs that hosts need are there, and start nothing."""
    _script("install")


def stop() -> None:
    """Stop the hosts that `start` started."""
    _script("down")


def processes(*words: str) -> list[int]:
    """Return the processes, those of all hosts too, whose command lines have all the words."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if int(entry.name) != os.getpid() and all(word in line for word in words):
                found.append(int(entry.name))
    return found


def _pid_space(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _script(*words: str) -> str:
    """Return the last word that the script printed."""
    done = subprocess.run(
        [str(SCRIPT), *words],
        env={
            **os.environ,
            "PERDURE_TESTS_HOSTS": str(STATE.parent),
            "PERDURE_TESTS_HOSTS_SET": SET,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
    )
    if done.returncode != 0:
        raise RuntimeError(f"`hosts {' '.join(words)}` failed: {done.stderr.decode()}")
    return (done.stdout.decode().split() or [""])[-1]
