"""A bucket in the place of a host: what a host is told before a job, it keeps for the machine.

The functions that are called on hosts are known by their names: code, environment and what is asked
before either is sent. Whatever else one would ask of a host, machines that come and go do not do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from perdure.clouds.opening import open_folder
from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket
from perdure.errors import EnvironmentFailed, StorageError, UsageError
from perdure.hosts.host import HostFacts
from perdure.hosts.local import Completed, LineCallback
from perdure.moving.address import Address
from perdure.moving.bucket import asking

P = ParamSpec("P")
R = TypeVar("R")

_UV = ("sh", "-c", "command -v uv")
# What the machines of every `types` are.
_KIND = {"system": "linux", "machine": "x86_64"}


@dataclass(frozen=True, slots=True)
class BucketHost:
    """The machines of a target, as they will find a project in `root`."""

    name: str
    cloud: str
    address: Address
    region: str
    root: str
    _drafts: dict[str, bytearray] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_here(self) -> bool:
        """Return that it is not this machine."""
        return False

    @property
    def remedy(self) -> str:
        """Return that the target has another bucket."""
        return f"`bucket` of `[targets.{self.name}]`: one that you may write to"

    def call(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Return what a function of perdure would return on a machine. Touches the network.

        Raises:
            UsageError: no machine does that.
            HostUnreachable, StorageError: the bucket does not answer, or refuses.
        """
        known = f"{function.__module__.removeprefix('perdure.')}.{function.__name__}"
        if known not in _ANSWERS:
            self._refuse()
        bucket = open_folder(self.address, self.region)
        with asking(self.address, "write"):
            return cast(R, _ANSWERS[known](self, bucket, *arguments, **named))

    def call_long(
        self,
        function: Callable[..., R],
        *arguments: object,
        timeout_s: float,  # noqa: ARG002 - the bucket has limits of its own
        on_line: LineCallback | None = None,  # noqa: ARG002 - nothing runs
    ) -> R:
        """Return the same."""
        return self.call(function, *arguments)

    def command(self, argv: Sequence[str], *, terminal: bool = False) -> tuple[str, ...]:  # noqa: ARG002
        """Refuse: nobody is let into a machine."""
        self._refuse()

    def python(self, words: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        """Refuse, as `command`."""
        self._refuse()

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,  # noqa: ARG002 - the protocol's
        variables: Mapping[str, str] | None = None,  # noqa: ARG002 - as above
        cwd: str | None = None,  # noqa: ARG002 - as above
        stdin: bytes | None = None,  # noqa: ARG002 - as above
        on_line: LineCallback | None = None,  # noqa: ARG002 - as above
    ) -> Completed:
        """Refuse, as `command`; but that a machine has uv is taken for true.

        It is asked for where this machine's own does not run there.
        """
        if tuple(argv) != _UV:
            self._refuse()
        return Completed(_UV, 0, b"uv\n", b"")

    def attached(
        self,
        argv: Sequence[str],  # noqa: ARG002 - the protocol's
        *,
        variables: Mapping[str, str] | None = None,  # noqa: ARG002 - as above
        cwd: str | None = None,  # noqa: ARG002 - as above
    ) -> int:
        """Refuse, as `command`."""
        self._refuse()

    def forward(self, port: int) -> int:  # noqa: ARG002 - the protocol's
        """Refuse, as `command`."""
        self._refuse()

    def forward_socket(self, path: str) -> Path:  # noqa: ARG002 - the protocol's
        """Refuse, as `command`."""
        self._refuse()

    def probe(self) -> HostFacts:
        """Refuse, as `command`."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UsageError(
            f"machines of `{self.name}` come and go, and let nobody in",
            hint="perdure targets: this runs on `local`, `docker` and hosts that ssh reaches",
        )

    def below(self, path: str) -> str:
        """Return the name of a file of a machine's, relative to the project there.

        Raises:
            UsageError: it is not in the project.
        """
        if not path.startswith(f"{self.root}/"):
            raise UsageError(f"`{path}` is not in the project on `{self.name}`")
        return path.removeprefix(f"{self.root}/")

    # -- what a host is asked, by the names of the functions --------------------------------------

    def surroundings(self, bucket: Bucket, root: str) -> dict[str, Any]:  # noqa: ARG002
        """Return what is known of a machine that is not there yet: next to nothing."""
        machine = {"host": self.cloud, "os": "Linux", "cpu": "", "cores": 0, "memory_gib": 0.0}
        data = {"digest": "", "files": 0, "bytes": 0, "entries": {}}
        return {"data": data, "machine": {**machine, "gpus": [], "boot": ""}}

    def lacking(self, bucket: Bucket, root: str, tree: str) -> list[list[str]]:  # noqa: ARG002
        """Return which contents of a snapshot the bucket lacks."""
        entries: dict[str, list[str]] = json.loads(tree)
        wanted = {(kind, digest) for kind, digest in entries.values() if kind != "l"}
        there = bucket.names(keys.OBJECTS) if wanted else {}
        return [
            [kind, digest]
            for kind, digest in sorted(wanted)
            if keys.contents(digest, kind) not in there
        ]

    def take(self, bucket: Bucket, root: str, contents: list[list[Any]]) -> None:  # noqa: ARG002
        """Keep contents of files: kind, digest and bytes of each."""
        for kind, digest, data in contents:
            bucket.put(keys.contents(digest, kind), data)

    def build(self, bucket: Bucket, root: str, tree: str) -> None:
        """Return: a machine makes the snapshot."""

    def verify(self, bucket: Bucket, root: str, tree: str) -> bool:
        """Return whether all contents of a snapshot are in the bucket."""
        return not self.lacking(bucket, root, tree)

    def begin(self, bucket: Bucket, root: str, name: str, files: dict[str, bytes]) -> bool:  # noqa: ARG002
        """Return: the run folder is brought when the job is submitted."""
        return True

    def forget(self, bucket: Bucket, root: str, name: str) -> bool:  # noqa: ARG002 - a host's
        """Return whether no machine ever had a job; nothing of it is in the bucket then."""
        prefix = keys.job(name.rpartition("/")[2], "")
        found = bucket.names(prefix)
        if f"{prefix}{keys.LEASE}" in found:
            return False
        bucket.delete(found)
        return True

    def look(self, bucket: Bucket, root: str, prefix: str) -> dict[str, Any]:  # noqa: ARG002
        """Return whether what is to be installed is in the bucket; see `away.look`."""
        found = bucket.get(keys.environment(Path(prefix).name))
        python = None if found is None else json.loads(found.data)["python"]
        return {"root": self.root, "python": python, **_KIND}

    def install(
        self,
        bucket: Bucket,
        root: str,  # noqa: ARG002 - a host's
        prefix: str,
        wanted: dict[str, Any],
    ) -> str:
        """Return the Python that is asked for; keep what is to be installed.

        Raises:
            EnvironmentFailed: it would need a password, which is for nobody else's bucket.
        """
        if wanted["logins"]:
            raise EnvironmentFailed(
                f"an index asks for a password, and `{self.name}` is given none",
                hint="take the package from an index without one, or as a wheel of the project's",
            )
        python = str(next(iter(wanted["pythons"]), ""))
        content = {"python": python, "prefix": prefix, "wanted": wanted, "root": self.root}
        bucket.put(keys.environment(Path(prefix).name), json.dumps(content).encode())
        return python

    def arrived(self, bucket: Bucket, path: str, size: int) -> int:
        """Return how many bytes of a file are in the bucket: all or none."""
        key = keys.file(self.below(path))
        return size if bucket.names(key).get(key) == size else 0

    def take_piece(self, bucket: Bucket, path: str, at: int, data: bytes) -> None:  # noqa: ARG002
        """Keep a piece of a file until all are there."""
        draft = self._drafts.setdefault(path, bytearray())
        draft[at:] = data

    def settle(self, bucket: Bucket, path: str, sha256: str, mode: int) -> None:  # noqa: ARG002
        """Bring a file into the bucket, if it is what was sent."""
        data = bytes(self._drafts.pop(path, bytearray()))
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StorageError(f"`{path}` did not arrive as it was sent", hint="try again")
        bucket.put(keys.file(self.below(path)), data)


_ANSWERS: Mapping[str, Callable[..., Any]] = {
    "jobs.there.surroundings": BucketHost.surroundings,
    "jobs.there.lacking": BucketHost.lacking,
    "jobs.there.take": BucketHost.take,
    "jobs.there.build": BucketHost.build,
    "jobs.there.verify": BucketHost.verify,
    "jobs.there.begin": BucketHost.begin,
    "jobs.there.forget": BucketHost.forget,
    "environments.away.look": BucketHost.look,
    "environments.away.install": BucketHost.install,
    "hosts.side.files.arrived": BucketHost.arrived,
    "hosts.side.files.take": BucketHost.take_piece,
    "hosts.side.files.settle": BucketHost.settle,
}
