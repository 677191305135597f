"""Where the real Kubernetes of the tests is, and how it is started: `tests/engines/kubernetes`."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure import runtime
from tests.waiting import until

SCRIPT = Path(__file__).with_name("kubernetes")
LIMIT_S = 2700.0
STATE = Path(os.environ.get("PERDURE_TESTS_KUBERNETES", "/var/lib/perdure-tests/kubernetes"))
CACHE = Path("/var/cache/perdure-engines")
BIN = Path(os.environ.get("PERDURE_TESTS_KUBERNETES_BIN", CACHE / "kubernetes"))
BASE = CACHE / "base.tar"
NAMESPACE = "research"
CLAIM, CLOSED, SEALED, DATA = "results", "closed", "sealed", "data"
USER_ID = 1000
_AT_ONCE = ("--grace-period=0", "--force", "--wait=false", "--ignore-not-found")
_PACKAGES = "usr/lib/python3/dist-packages"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Kubernetes of two nodes, `node1` and `node2`. Both see `volume` as the claim `results`."""

    state: Path = STATE

    @property
    def config(self) -> Path:
        """Return its kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def volume(self) -> Path:
        """Return the folder that is the volume of its claim."""
        return self.state / "volume"

    @property
    def data(self) -> Path:
        """Return the folder that is the volume of the claim `data`."""
        return self.state / "data"

    def ask(self, *words: str, stdin: str | None = None, namespace: str = NAMESPACE) -> str:
        """Return what kubectl printed."""
        argv = [str(BIN / "kubectl"), f"--kubeconfig={self.config}", f"--namespace={namespace}"]
        given = None if stdin is None else stdin.encode()
        done = subprocess.run([*argv, *words], input=given, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def listed(self, kinds: str, *words: str) -> list[dict[str, Any]]:
        """Return objects of these kinds."""
        items: list[dict[str, Any]] = json.loads(self.ask("get", kinds, "--output=json", *words))[
            "items"
        ]
        return items

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods of jobs that have not ended."""
        found = self.listed("pods", "--selector=perdure.dev/key")
        return [each for each in found if each["status"]["phase"] not in ("Succeeded", "Failed")]

    def desks(self, role: str = "desk") -> list[dict[str, Any]]:
        """Return the pods through which volumes are reached, or those of another role."""
        return self.listed("pods", f"--selector=perdure.dev/role={role}")

    def settle(self) -> None:
        """Delete all jobs, and return once no pod of any is left."""
        words = ("--all", "--cascade=background", "--wait=false")
        self.ask("delete", "jobs", *words)

        def settled() -> bool:
            found = [each["metadata"]["name"] for each in self._left()]
            if found:
                self.ask("delete", "pods", *found, *_AT_ONCE)
            return not found

        until(settled, told=lambda: f"pods {self._left()} do not end", every_s=0.2)

    def _left(self) -> list[dict[str, Any]]:
        return self.listed("pods", "--selector=perdure.dev/role!=desk")

    def drain(self, node: str) -> None:
        """Have a node's pods evicted, and no other put there."""
        self.disturb()
        self.ask("drain", node, "--ignore-daemonsets", "--force", "--delete-emptydir-data")

    def disturb(self) -> None:
        """Note that the cluster is to be mended after the test."""
        (self.state / "disturbed").touch()

    def restore(self) -> None:
        """Mend what a test has done to it."""
        if not (self.state / "disturbed").exists():
            return
        self.start_api()
        start()
        for node in ("node1", "node2"):
            self.ask("uncordon", node)
        (self.state / "disturbed").unlink()

    def kill(self, node: str) -> None:
        """Take a node's power."""
        self.disturb()
        script("kill", node)

    def start(self, node: str) -> None:
        """Give a node its power back; return when it is ready."""
        script("start", node)

    def cut(self, node: str) -> None:
        """Pull out a node's network cable."""
        self.disturb()
        script("cut", node)

    def mend(self, node: str) -> None:
        """Put it back."""
        script("mend", node)

    def stop_api(self) -> None:
        """Take the API server away."""
        self.disturb()
        script("api", "stop")

    def start_api(self) -> None:
        """Give the API server back."""
        script("api", "start")


def is_built() -> bool:
    """Return whether its programs are there; to build them takes minutes."""
    return (BIN / "kubectl").exists()


def start() -> bool:
    """Return whether the cluster was started; it was running already where not.

    Raises:
        RuntimeError: it cannot be started here.
    """
    return script("up") == "started"


def stop() -> None:
    """Stop the cluster that `start` started."""
    script("down")


def script(*words: str) -> str:
    """Return the last word of what the script said."""
    done = subprocess.run(
        [str(SCRIPT), *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S
    )
    if done.returncode != 0:
        raise RuntimeError(f"`kubernetes {' '.join(words)}` failed: {done.stderr.decode()}")
    return (done.stdout.decode().split() or [""])[-1]


def prepare(cluster: Cluster) -> None:
    """Make the namespace and its volume claims, where there are none."""
    cluster.volume.mkdir(exist_ok=True)
    os.chown(cluster.volume, USER_ID, USER_ID)
    closed = cluster.state / "closed"
    closed.mkdir(exist_ok=True)  # it stays root's
    cluster.data.mkdir(exist_ok=True)
    (cluster.data / "cats.txt").write_text("tabby\n")
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *_claim(CLAIM, cluster.volume),
        *_claim(CLOSED, closed),
        *_claim(SEALED, cluster.state / "sealed"),
        *_claim(DATA, cluster.data),
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.ask("apply", "--filename=-", stdin=text)


def _claim(name: str, folder: Path) -> list[dict[str, Any]]:
    size = {"storage": "1Gi"}
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            **common,
            "capacity": size,
            "hostPath": {"path": str(folder)},
            "claimRef": {"namespace": NAMESPACE, "name": name},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {**common, "resources": {"requests": size}, "volumeName": name},
    }
    return [volume, claim]


def image(cluster: Cluster) -> str:
    """Return the image that jobs run in: Debian's Python, and perdure as pip would install it."""
    sources = _sources()
    tag = f"perdure-tests/python:{hashlib.sha256(sources).hexdigest()[:12]}"
    mark = cluster.state / f"given-{tag.rpartition(':')[2]}"
    if not mark.exists():
        if not BASE.exists():
            subprocess.run(
                [str(SCRIPT.with_name("docker")), "prepare", "old"],
                check=True,
                capture_output=True,
                timeout=600,
            )
        with tempfile.TemporaryDirectory(dir=cluster.state) as folder:
            archive = Path(folder, "image.tar")
            _write_archive(archive, tag, sources)
            script("load", str(archive))
        mark.touch()
    return tag


def _write_archive(archive: Path, tag: str, sources: bytes) -> None:
    """Write what `docker save` would of an image of two layers."""
    known = CACHE / "base.sha256"
    if not known.exists() or known.stat().st_mtime < BASE.stat().st_mtime:
        with BASE.open("rb") as file:
            known.write_text(hashlib.file_digest(file, "sha256").hexdigest())
    digests = [known.read_text(), hashlib.sha256(sources).hexdigest()]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each}" for each in digests]},
    }
    manifest = [
        {
            "Config": "config.json",
            "RepoTags": [f"docker.io/{tag}"],
            "Layers": ["base.tar", "sources.tar"],
        }
    ]
    with tarfile.open(archive, "w") as file:
        for name, content in (
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
            ("sources.tar", sources),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
        file.add(BASE, "base.tar")


def _sources() -> bytes:
    """Return an archive of what runs beside a training, the same each time."""
    package = Path(runtime.__file__).parents[1]
    installed = Path(sysconfig.get_path("platlib"))
    files = {
        f"perdure/{path.relative_to(package)}": path
        for path in (package / "__init__.py", *sorted((package / "runtime").rglob("*.py")))
    }
    files |= {
        str(path.relative_to(installed)): path
        for path in sorted((installed / "xxhash").rglob("*"))
        if path.suffix in (".py", ".so")
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in sorted(files.items()):
            entry = tarfile.TarInfo(f"{_PACKAGES}/{name}")
            entry.size, entry.mode = path.stat().st_size, 0o644
            archive.addfile(entry, io.BytesIO(path.read_bytes()))
    return buffer.getvalue()


def clear_volume(cluster: Cluster) -> None:
    """Remove what tests left on the volume."""
    for each in cluster.volume.iterdir():
        shutil.rmtree(each, ignore_errors=True)
