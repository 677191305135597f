"""Where the real engines of the tests are, and how they are started: `tests/engines/docker`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("docker")
MODERN = Path("/opt/docker-modern")
LIMIT_S = 1500.0


@dataclass(frozen=True, slots=True)
class RealEngine:
    """An engine of the tests: `variables` lead a client, and perdure, to it.

    `client` is the program to use beside perdure, to look at what perdure made.
    """

    name: str
    client: str
    variables: Mapping[str, str]
    data: Path

    @property
    def environ(self) -> dict[str, str]:
        """Return this process's environment with the variables that lead to the engine."""
        return {**os.environ, **self.variables}

    def docker(self, *words: str, stdin: bytes | None = None, check: bool = True) -> str:
        """Return what the client printed for these words."""
        done = subprocess.run(
            [self.client, *words], env=self.environ, input=stdin, capture_output=True, timeout=300
        )
        assert not check or done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "replace").strip()


OLD = RealEngine(
    "old",
    "/usr/bin/docker",
    {"DOCKER_HOST": "unix:///run/docker.sock", "DOCKER_BUILDKIT": "1"},
    Path("/var/lib/docker"),
)
NEW = RealEngine(
    "modern",
    str(MODERN / "usr/bin/docker"),
    {
        "DOCKER_HOST": "unix:///run/docker-modern/docker.sock",
        "DOCKER_CONFIG": str(MODERN / "config"),
        "PATH": f"{MODERN / 'usr/bin'}:{os.environ.get('PATH', os.defpath)}",
    },
    Path("/var/lib/docker-modern"),
)


def start(which: str) -> bool:
    """Return whether the engine was started; it was running already where not.

    Raises:
        RuntimeError: it cannot be started here; with what the script said.
    """
    done = subprocess.run(
        [str(SCRIPT), "up", which], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S
    )
    words = done.stdout.decode().split()
    if done.returncode != 0 or not words:
        raise RuntimeError(f"no {which} container engine here: {done.stderr.decode()}")
    return words[-1] == "started"


def stop(which: str) -> None:
    """Stop an engine that `start` started."""
    subprocess.run([str(SCRIPT), "down", which], capture_output=True, timeout=120, check=True)
