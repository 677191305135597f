"""An engine of a test's own, which it may kill: Docker 20.10 with its own folders and bridge."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.engines.engines import RealEngine
from tests.waiting import PATIENCE_S, until

BRIDGE, ADDRESS = "br-perdure-own", "172.29.0.1/16"


class OwnEngine:
    """A daemon below one folder; whoever starts it stops it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.real = RealEngine(
            "own",
            "/usr/bin/docker",
            {"DOCKER_HOST": f"unix://{folder / 'sock'}", "DOCKER_BUILDKIT": "1"},
            folder / "data",
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon and return once it answers."""
        _bridge("add")
        # What is left of one that was killed: where nobody reaps orphans, its containerd still
        # seems to be there, and the next one would wait for it.
        (self.folder / "pid").unlink(missing_ok=True)
        (self.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)
        argv = ["/usr/sbin/dockerd", "--data-root", str(self.folder / "data")]
        argv += ["--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid")]
        argv += ["-H", f"unix://{self.folder / 'sock'}", f"--bridge={BRIDGE}"]
        argv += ["--iptables=false", "--ip6tables=false"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(self.answers, told=lambda: self.log.read_text()[-2000:], every_s=0.1)

    def answers(self) -> bool:
        """Return whether it can be asked."""
        words = [self.real.client, "version"]
        return subprocess.run(words, env=self.real.environ, capture_output=True).returncode == 0

    def kill(self) -> None:
        """End the daemon as a crash does. What it runs, runs on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End the daemon, its containers, and the one that it had started for itself."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_S)
        for pid in self._left():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self._unmount()
        _bridge("del")

    def _unmount(self) -> None:
        """Unmount what was mounted below the folder, so that it can be deleted."""
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        below = [place for place in mounted if place.startswith(f"{self.folder}/")]
        for place in reversed(below):
            subprocess.run(["umount", "--lazy", place], check=True)

    def _left(self) -> Iterator[int]:
        """Yield the processes that name the folder: containerd, and what it keeps of containers."""
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if os.fsencode(self.folder) in command.read_bytes():
                    yield int(command.parent.name)


@contextlib.contextmanager
def own_engine(folder: Path) -> Iterator[OwnEngine]:
    """Yield a running engine that nobody else uses."""
    engine = OwnEngine(folder)
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


def _bridge(verb: str) -> None:
    words = ["ip", "link", verb, BRIDGE, *(["type", "bridge"] if verb == "add" else [])]
    done = subprocess.run(words, capture_output=True)
    if verb == "add" and done.returncode == 0:
        subprocess.run(["ip", "addr", "add", ADDRESS, "dev", BRIDGE], check=True)
        subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)
