"""Where the real Slurm of the tests is, and how it is started: `tests/engines/slurm`."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import until

SCRIPT = Path(__file__).with_name("slurm")
LIMIT_S = 400.0
SET = os.environ.get("PERDURE_TESTS_SLURM_SET", "0")
HOSTS_SET = os.environ.get("PERDURE_TESTS_HOSTS_SET", "0")
STATE = Path(os.environ.get("PERDURE_TESTS_SLURM", "/var/lib/perdure-tests/slurm")) / SET
# "newer": see the script; "": the one that is installed.
RELEASE = os.environ.get("PERDURE_TESTS_SLURM_RELEASE", "")
NEWER = Path(os.environ.get("PERDURE_TESTS_SLURM_NEWER", "/var/lib/perdure-tests/slurm-newer"))
# A job that is killed has ended by then: Slurm's KillWait, and a little.
STUCK_S = 8.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Slurm of four nodes, `node1` to `node4`, which this process's variables lead to."""

    state: Path = STATE

    @property
    def conf(self) -> Path:
        """Return its configuration for clients on this machine."""
        return self.state / "etc" / "slurm.conf"

    @property
    def conf_away(self) -> Path:
        """Return its configuration for clients on the hosts of the tests."""
        return self.state / "away" / "slurm.conf"

    def ask(self, *argv: str, timeout_s: float = 120) -> str:
        """Return what one of Slurm's own commands printed."""
        environ = {**os.environ, "SLURM_CONF": str(self.conf)}
        done = subprocess.run(argv, env=environ, capture_output=True, timeout=timeout_s)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def jobs(self) -> list[list[str]]:
        """Return number, state, comment and nodes of each job that has not ended."""
        lines = self.ask("squeue", "--noheader", "--array", "--format=%i|%T|%k|%N").splitlines()
        return [line.split("|") for line in lines]

    def settle(self) -> None:
        """Cancel all jobs, and return once nothing is left of any."""
        began = time.monotonic()

        def settled() -> bool:
            jobs = self.jobs()
            if jobs:
                self.ask("scancel", *{number.partition("_")[0] for number, *_ in jobs})
            if time.monotonic() - began > STUCK_S:
                # What ended while the scheduler was away it would not hear of for a minute.
                for node in {node for *_, node in jobs if node}:
                    name = f"NodeName={node}"
                    self.ask("scontrol", "update", name, "State=DOWN", "Reason=stuck")
                    self.ask("scontrol", "update", name, "State=RESUME")
            return not jobs

        until(settled, told=lambda: f"jobs {self.jobs()} do not end", every_s=0.2)

    def kill(self, node: str) -> None:
        """Take a node's power."""
        _script("kill", node)

    def start(self, node: str) -> None:
        """Give a node its power back; return when it takes jobs."""
        _script("start", node)

    def lose(self, node: str) -> None:
        """Kill the daemon of a node, and nothing that it runs."""
        _script("lose", node)

    def find(self, node: str) -> None:
        """Start the daemon of a node again."""
        _script("find", node)

    def stop_controller(self) -> None:
        """Take the scheduler away."""
        _script("controller", "stop")

    def start_controller(self) -> None:
        """Give the scheduler back."""
        _script("controller", "start")


def search_path() -> str:
    """Return where this process finds Slurm's programs: before all others, those of a newer one."""
    path = os.environ.get("PATH", os.defpath)
    return f"{NEWER / 'bin'}{os.pathsep}{path}" if RELEASE else path


def start() -> bool:
    """Return whether the cluster was started; it was running already where not.

    Raises:
        RuntimeError: it cannot be started here.
    """
    return _script("up") == "started"


def stop() -> None:
    """Stop the cluster that `start` started."""
    _script("down")


def _script(*words: str) -> str:
    # In the middle of a test the variables of whoever started the tests are hidden.
    done = subprocess.run(
        [str(SCRIPT), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
        env={
            **os.environ,
            "PERDURE_TESTS_SLURM_SET": SET,
            "PERDURE_TESTS_SLURM": str(STATE.parent),
            "PERDURE_TESTS_SLURM_RELEASE": RELEASE,
            "PERDURE_TESTS_SLURM_NEWER": str(NEWER),
            "PERDURE_TESTS_HOSTS_SET": HOSTS_SET,
        },
    )
    if done.returncode != 0:
        raise RuntimeError(f"`slurm {' '.join(words)}` failed: {done.stderr.decode()}")
    return (done.stdout.decode().split() or [""])[-1]
