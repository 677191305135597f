"""What pushing 1 GB costs, over a network that is the limit and to a bucket, peers in the same run.

Needs root, for hosts of its own (`tests/engines/hosts`): a link of so many bits a second leads to
one of them. The limit is the link itself, what `cat` gets through the same ssh. The bucket is a
folder, so that the limit is a copy of the file; S3's own speed cannot be measured here.

    .venv/bin/python -m benchmarks.moving [--rate 300mbit] [--turns 2] [--gb 1]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks import measure
from perdure.hosts.ssh import Ssh
from perdure.moving.address import Address
from perdure.moving.bucket_pull import pull_from_bucket
from perdure.moving.bucket_push import push_to_bucket
from perdure.moving.errand import Errand
from perdure.moving.far import Far
from perdure.moving.push import push
from perdure.moving.selection import select
from tests.engines.hosts import Hosts, start, stop

GB = 10**9
SMALL = 5000
LINK_SHARE = 0.8


class Bench:
    """A project with `gb` of data in one file, and one with many small ones; a host to push to."""

    def __init__(self, folder: Path, hosts: Hosts, gb: float) -> None:
        self.folder = folder
        self.amount = f"{gb:g} GB"
        self.hosts = hosts
        self.there = hosts.place("gpu1") / f"benchmark-{os.getpid()}"
        self.large = folder / "large"
        self.small = folder / "small"
        self._write(gb)

    def _write(self, gb: float) -> None:
        (self.large / "data").mkdir(parents=True)
        with (self.large / "data" / "large.bin").open("wb") as file:
            for _ in range(int(gb * GB) // 10**6):
                file.write(os.urandom(10**6))
        for number in range(SMALL):
            inner = self.small / "data" / f"{number % 50}"
            inner.mkdir(parents=True, exist_ok=True)
            (inner / f"{number}.bin").write_bytes(os.urandom(20_000))

    def push(self, project: Path) -> float:
        """Return the seconds that `perdure push` takes, all of it new."""
        self._forget(project)
        errand = Errand(select("data", project), project, "gpu1", pushing=True)
        other = Far(Ssh("gpu1", "gpu1"), str(self.there))
        return measure.timed(lambda: push(errand, other))

    def rsync(self, project: Path) -> float:
        """Return the seconds that rsync takes over the same connection."""
        self._forget(project)
        ssh = " ".join(Ssh("gpu1", "gpu1").options()).replace('"', "")
        words = ["rsync", "-a", "-e", f"ssh {ssh}"]
        target = f"gpu1:{self.there}/"
        self.there.mkdir(parents=True)
        return measure.timed(lambda: run([*words, f"{project}/data/", target]))

    def link(self) -> float:
        """Return the seconds that the bytes take through ssh, written nowhere."""
        words = Ssh("gpu1", "gpu1").command(["sh", "-c", "cat >/dev/null"])
        with (self.large / "data" / "large.bin").open("rb") as file:
            return measure.timed(lambda: run(words, stdin=file.fileno()))

    def bucket_push(self, project: Path) -> float:
        """Return the seconds that a push to a folder as a bucket takes."""
        self._forget(project)
        address = Address("file", "", str(self.folder / "bucket"))
        shutil.rmtree(self.folder / "bucket", ignore_errors=True)
        errand = Errand(select("data", project), project, str(address), pushing=True)
        return measure.timed(lambda: push_to_bucket(errand, address))

    def bucket_pull(self) -> float:
        """Return the seconds that a pull of what was pushed last takes."""
        address = Address("file", "", str(self.folder / "bucket"))
        root = self.folder / "pulled"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        errand = Errand(select("data", root), root, str(address), pushing=False)
        return measure.timed(lambda: pull_from_bucket(errand, address))

    def copy(self, project: Path) -> float:
        """Return the seconds that `cp -r` takes."""
        target = self.folder / "copied"
        shutil.rmtree(target, ignore_errors=True)
        return measure.timed(lambda: run(["cp", "-r", str(project / "data"), str(target)]))

    def _forget(self, project: Path) -> None:
        shutil.rmtree(project / ".perdure", ignore_errors=True)
        shutil.rmtree(self.there, ignore_errors=True)


def run(words: list[str] | tuple[str, ...], stdin: int = subprocess.DEVNULL) -> None:
    subprocess.run(words, check=True, stdin=stdin, stdout=subprocess.DEVNULL)


def network_rows(bench: Bench, turns: int) -> list[measure.Line]:
    """Return the rows of what went over the network."""
    found = measure.in_turns(
        {
            "link": bench.link,
            "push": lambda: bench.push(bench.large),
            "rsync": lambda: bench.rsync(bench.large),
            "push, small": lambda: bench.push(bench.small),
            "rsync, small": lambda: bench.rsync(bench.small),
        },
        turns,
    )
    link, large, small = found["link"], bench.amount, f"{SMALL} files of 20 KB"
    return [
        measure.line(f"the link: cat through ssh, {large}", link),
        measure.against(f"perdure push: {large}", found["push"], link, at_least=LINK_SHARE),
        measure.against(f"rsync -a: {large}", found["rsync"], link),
        measure.line(f"rsync -a: {small}", found["rsync, small"]),
        measure.against(f"perdure push: {small}", found["push, small"], found["rsync, small"]),
    ]


def bucket_rows(bench: Bench, project: Path, files: str, turns: int) -> list[measure.Line]:
    """Return the rows of a folder as a bucket."""
    found = measure.in_turns(
        {
            "cp": lambda: bench.copy(project),
            "push": lambda: bench.bucket_push(project),
            "pull": bench.bucket_pull,
        },
        turns,
    )
    rows = [measure.line(f"cp -r: {files}", found["cp"])]
    for verb in ("push", "pull"):
        name = f"perdure {verb}, a folder as a bucket: {files}"
        rows.append(measure.against(name, found[verb], found["cp"]))
    return rows


def measured(bench: Bench, rate: str, turns: int) -> tuple[list[measure.Line], list[str]]:
    """Return the rows and the notes."""
    bench.link()
    bench.hosts.limit("gpu1", rate)
    rows = network_rows(bench, turns)
    bench.hosts.limit("gpu1", "none")
    rows += bucket_rows(bench, bench.large, bench.amount, turns)
    rows += bucket_rows(bench, bench.small, f"{SMALL} files of 20 KB", turns)
    return rows, [f"the network is limited to {rate} each way (tbf); ssh and files share the cores"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", default="300mbit", help="the link, in tc's words")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--gb", type=float, default=1.0, help="how much is in the large file")
    arguments = parser.parse_args()
    started = start()
    hosts = Hosts()
    os.environ["PATH"] = f"{hosts.ssh()}{os.pathsep}{os.environ['PATH']}"
    folder = Path(tempfile.mkdtemp(prefix="perdure-moving-"))
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    bench = Bench(folder, hosts, arguments.gb)
    try:
        measure.report("moving", *measured(bench, arguments.rate, arguments.turns))
    finally:
        hosts.limit("gpu1", "none")
        words = ["ssh", *Ssh("gpu1", "gpu1").options(), "-O", "exit", "gpu1"]
        subprocess.run(words, capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(bench.there, ignore_errors=True)
        if started:
            stop()


if __name__ == "__main__":
    main()
