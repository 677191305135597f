"""What a notice and a replacement take, measured: a process for it, moto for AWS, a slow link.

The machine is booted by its user-data, as in the tests: nothing but a Python, its kit from the
bucket. Between it and the bucket is a relay that lets so many bytes through in a second. What is
not in it: a real machine's own boot, and packages that it installs.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import obstore

from benchmarks.spot_upload import processor_s
from perdure.clouds.opening import open_folder
from perdure.moving.address import Address
from tests.clouds.conftest import REGION
from tests.clouds.machines import Machine, Machines, client
from tests.clouds.planes import address, close, serve
from tests.clouds.submitter import Submitter
from tests.clouds.test_spot import PROJECT, price_list
from tests.engines import amazon
from tests.engines.amazon import KEYS

_PIECE = 1 << 16
_LOOK_S = 0.05
_AFTER_S = 120.0
_ROOT = ("root", "root")
_ROLE = {"AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c"}
_TRAINING = """\
import sys, time
import numpy
import perdure

array = numpy.random.default_rng(1).integers(0, 255, int(sys.argv[1]) << 20, dtype=numpy.uint8)
# Nothing but notices has it save: no other checkpoint is on its way at one.
run = perdure.start(save_every=36000)
run.track(array=array)
for step in run.steps(10**6):
    array[step % array.size] += 1
    time.sleep(0.02)
"""
_TARGET = f"""\
[targets.aws]
kind = "aws"
region = "{REGION}"
bucket = "s3://lab/perdure"
types = ["m5.large"]
image = "ami-12c6146b"
"""


class Taken(NamedTuple):
    """What one machine's end and the next one's beginning took, in seconds.

    `heard` is from the notice to its being heard, `durable` from there to the manifest in the
    bucket, `begun` from the start of the replacement's program to its first new step.
    """

    heard: float
    durable: float
    begun: float


class Link:
    """A relay to a port of this machine: so many bytes a second each way, over all connections."""

    def __init__(self, port: int, rate: float) -> None:
        self._port, self._rate = port, rate
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._lock = threading.Lock()
        self._free = {"up": 0.0, "down": 0.0}
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for source, target, way in ((near, far, "up"), (far, near, "down")):
                    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    words = (source, target, way)
                    threading.Thread(target=self._copy, args=words, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_PIECE):
                self._wait(way, len(data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _wait(self, way: str, count: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._free[way] = max(self._free[way], now) + count / self._rate
            wait_s = self._free[way] - now
        time.sleep(wait_s)


@dataclass
class Cloud(Submitter):
    """An AWS with a link before it, its machines, and a project on a laptop beside it."""

    direct: str
    link: Link
    machines: Machines
    name: str = ""

    @property
    def folder_of_machines(self) -> Path:
        """Return the folder of the machines."""
        return self.machines.folder

    def step(self) -> None:
        """Let the cloud do its work."""
        self.machines.step()

    def events(self, attempt: int) -> list[dict[str, Any]]:
        """Return what an attempt has told, read where its machine writes it, or in the mirror."""
        name = f"results/{self.name}/attempts/{attempt:06d}.jsonl"
        places = [each.project / name for each in self.machines.booted] + [self.project / name]
        for file in places:
            if file.exists():
                lines = file.read_text().splitlines()
                return [json.loads(line) for line in lines if line.endswith("}")]
        return []

    def told(self, attempt: int, event: str) -> list[dict[str, Any]]:
        """Return an attempt's events of that name."""
        return [each for each in self.events(attempt) if each["event"] == event]

    def link_s(self, count: int) -> float:
        """Return the seconds that so many bytes take through the link, put as one object."""
        data = os.urandom(count)
        with _variable("AWS_ENDPOINT_URL", self.link.url):
            store = open_folder(Address("s3", "lab", "link")).store
            began = time.monotonic()
            obstore.put(store, "probe", data)
            found = time.monotonic() - began
        obstore.delete(store, "probe")
        return found

    def uploads_s(self, mib: int, count: int) -> list[float]:
        """Return the processor seconds that so many uploads of so much state take, by the link."""
        with _variable("AWS_ENDPOINT_URL", self.link.url):
            return processor_s(Address("s3", "lab", "uploads"), mib, count)

    def turns(self, mib: int, count: int) -> list[Taken]:
        """Return what so many notices took, of a training with so much state."""
        self.name = f"otter-{mib}"
        self.perdure("run", "--on", "aws", "--name", self.name, "-d", "train", str(mib))
        watch = Watch(self)
        self.until(lambda: bool(self.told(1, "step")))
        try:
            found = [self._turn(number, watch) for number in range(1, count + 1)]
        finally:
            watch.close()
        self.perdure("kill", self.name)
        self.until(lambda: not self.machines.alive())
        self.perdure("reap", "--on", "aws", "--yes")
        return found

    def _turn(self, attempt: int, watch: Watch) -> Taken:
        (machine,) = self.machines.alive()
        known = len(watch.seen)
        given = time.time()
        self.machines.notify(machine, _AFTER_S)
        self.until(lambda: len(watch.seen) > known and bool(self.told(attempt, "notice")))
        heard = float(self.told(attempt, "notice")[0]["t"])
        self.until(lambda: machine.process.poll() is not None)
        self.until(lambda: bool(self.told(attempt + 1, "step")))
        began = _booted(self.machines.alive()[0])
        stepped = float(self.told(attempt + 1, "step")[0]["t"])
        return Taken(heard - given, watch.seen[known] - heard, stepped - began)


class Watch:
    """When manifests of checkpoints came into the bucket, in unix seconds; it is asked directly."""

    def __init__(self, cloud: Cloud) -> None:
        self.seen: list[float] = []
        self._over = threading.Event()
        self._s3 = client("s3", cloud.direct, REGION, _ROOT)
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        known = self._keys()
        while not self._over.wait(_LOOK_S):
            new = self._keys() - known
            known |= new
            self.seen += [time.time()] * len(new)

    def _keys(self) -> set[str]:
        found = self._s3.list_objects_v2(Bucket="lab", Prefix="perdure/").get("Contents", [])
        keys = {each["Key"] for each in found if "/checkpoints/g" in each["Key"]}
        return {key for key in keys if key.endswith(".json")}


def _booted(machine: Machine) -> float:
    """Return when a machine's program was started: just after its files were written."""
    return (machine.folder / "opt/perdure/boot.py").stat().st_mtime


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def open_cloud(folder: Path, rate: float) -> Iterator[Cloud]:
    """Yield a cloud whose bucket is reached at so many bytes a second."""
    with amazon.serve() as direct:
        os.environ.update(KEYS, AWS_REGION=REGION, AWS_ENDPOINT_URL=direct, HOME=str(folder))
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        s3 = client("s3", direct, REGION, _ROOT)
        s3.create_bucket(Bucket="lab", CreateBucketConfiguration={"LocationConstraint": REGION})
        link = Link(int(direct.rpartition(":")[2]), rate)
        machines = Machines(
            link.url, REGION, folder / "machines", _ROLE, client("ec2", direct, REGION, _ROOT)
        )
        machines.folder.mkdir()
        cloud = Cloud(make_project(folder), {}, direct, link, machines)
        # moto has no price list.
        prices = serve(price_list)
        cloud.environ["AWS_ENDPOINT_URL_PRICING"] = f"http://{address(prices)}"
        try:
            yield cloud
        finally:
            machines.close()
            link.close()
            close(prices)


def make_project(folder: Path) -> Path:
    """Return a new project whose jobs run in that cloud."""
    project = folder / "cats"
    (project / ".perdure").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "train.py").write_text(_TRAINING)
    (project / ".perdure/local.toml").write_text(_TARGET)
    return project
