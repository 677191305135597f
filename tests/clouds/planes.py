"""What control planes of GCP and Azure have in common: groups of one machine, and their machines.

What they hold is what was asked for: requests are checked elsewhere. A user's token may do what
`perdure cloud setup --explain` asks for, a machine's what setup's own commands give it.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from subprocess import Popen
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tests.clouds.booting import boot, cut_power

Values = dict[str, Any]
Answer = tuple[int, Values | str]

#: How soon a server hears that it is to end.
_LOOK_S = 0.05
USER, MACHINE = "the-users-token", "a-machines-token"
#: A permission, and where it counts: a role in a resource group has no say in its subscription.
Right = tuple[str, str]
GONE: Answer = (404, {"error": {"code": 404, "message": "The resource was not found"}})
DENIED: Answer = (403, {"error": {"code": 403, "message": "Required permission"}})


def denied(lacking: Right) -> Answer:
    said = f"Required '{lacking[1]}' permission for the {lacking[0]}"
    return 403, {"error": {"code": 403, "message": said}}


class Handler(http.server.BaseHTTPRequestHandler):
    """Hands each request to a function of method, path, query, headers and body."""

    answer: ClassVar[Callable[..., Answer]]
    protocol_version = "HTTP/1.1"

    def log_message(self, template: str, *arguments: object) -> None:
        pass

    def _do(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        # What cloud-init tells of a machine is plain text.
        body = json.loads(text) if text[:1] == b"{" else {}
        parts = urlsplit(self.path)
        query = {name: each[0] for name, each in parse_qs(parts.query).items()}
        status, found = type(self).answer(self.command, parts.path, query, self.headers, body)
        data = found.encode() if isinstance(found, str) else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        kind = "text/plain" if isinstance(found, str) else "application/json"
        self.send_header("Content-Type", kind)
        # Of the one value that is waited for.
        self.send_header("ETag", found if isinstance(found, str) else "0")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)  # whoever asked may have had its power cut

    do_GET = _do  # noqa: N815 - the library's names
    do_PUT = _do  # noqa: N815
    do_POST = _do  # noqa: N815
    do_PATCH = _do  # noqa: N815
    do_DELETE = _do  # noqa: N815


def serve(answer: Callable[..., Answer]) -> http.server.ThreadingHTTPServer:
    """Return a server on loopback."""
    return _serve(type("Answering", (Handler,), {"answer": staticmethod(answer)}))


def _serve(handler: type[Handler]) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(_LOOK_S,), daemon=True).start()
    return server


def serve_forms(answer: Callable[[dict[str, str]], Answer]) -> http.server.ThreadingHTTPServer:
    """Return a server on loopback of what takes forms, as AWS's query protocol does."""

    class Form(Handler):
        def _do(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, found = answer({name: each[0] for name, each in parse_qs(text).items()})
            data = str(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = _do  # noqa: N815 - the library's name

    return _serve(Form)


def address(server: http.server.ThreadingHTTPServer) -> str:
    return f"127.0.0.1:{server.server_address[1]}"


def close(server: http.server.ThreadingHTTPServer) -> None:
    server.shutdown()
    server.server_close()


@dataclass
class Machine:
    """A machine of a group: a process, and its metadata service."""

    name: str
    group: str
    folder: Path
    process: Popen[bytes]
    metadata: http.server.ThreadingHTTPServer
    tags: dict[str, str]
    told: bool = False


@dataclass
class Plane:
    """What both have: groups that want machines, and machines. `step` does what time does."""

    folder: Path
    groups: dict[str, Values] = field(default_factory=dict)
    alive: dict[str, Machine] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0
    #: A quota, say.
    refusal: Answer | None = None
    #: What the user may, and what a machine may.
    may: set[Right] = field(default_factory=set)
    machine_may: set[Right] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.may = self.may or self.granted()
        self.machine_may = self.machine_may or self.granted_to_machines()
        self.server = serve(self.answer)

    def step(self) -> None:
        """End what turned itself off or is wanted no more, and boot what is wanted."""
        for each in list(self.alive.values()):
            wanted = self.wants(self.groups.get(each.group))
            if each.process.poll() is not None or not wanted:
                self.end(each)
        for name, group in list(self.groups.items()):
            if self.wants(group) and not any(each.group == name for each in self.alive.values()):
                self.boot(name, group)

    def boot(self, name: str, group: Values) -> None:
        self.count += 1
        machine = f"{name}-{self.count:04d}"
        folder = self.folder / machine
        folder.mkdir(parents=True)
        metadata = serve(lambda *asked: self.metadata(machine, *asked))
        text, tags = self.made_of(group)
        process = self.begin(folder, text, address(metadata))
        self.alive[machine] = Machine(machine, name, folder, process, metadata, tags)

    def begin(self, folder: Path, text: str, metadata: str) -> Popen[bytes]:
        """Return the process that is a machine with that user-data."""
        return boot(folder, text, self.variables(metadata))

    def end(self, machine: Machine) -> None:
        """Cut the power: preempted, deleted, or turned off by itself."""
        cut_power(machine.folder, machine.process)
        del self.alive[machine.name]
        close(machine.metadata)

    def close(self) -> None:
        for each in list(self.alive.values()):
            self.end(each)
        close(self.server)

    def answer(
        self, method: str, path: str, query: Values, headers: Message, body: Values
    ) -> Answer:
        """Return the answer to a call of the control plane."""
        self.asked.append((method, path))
        token = str(headers.get("Authorization", "")).removeprefix("Bearer ")
        if token not in (USER, MACHINE):
            return 401, {"error": {"code": 401, "message": "Request had invalid credentials"}}
        for each in self.needed(method, path):
            if each not in (self.may if token == USER else self.machine_may):
                return denied(each)
        if self.refusal is not None and method in ("POST", "PUT"):
            return self.refusal
        return self.called(method, path, query, body)

    def wants(self, group: Values | None) -> bool:
        raise NotImplementedError

    def made_of(self, group: Values) -> tuple[str, dict[str, str]]:
        raise NotImplementedError

    def variables(self, metadata: str) -> dict[str, str]:
        raise NotImplementedError

    def metadata(
        self,
        machine: str,
        method: str,
        path: str,
        query: Values,
        headers: Message,
        body: Values,
    ) -> Answer:
        raise NotImplementedError

    def granted(self) -> set[Right]:
        """Return what a user is asked to have."""
        raise NotImplementedError

    def granted_to_machines(self) -> set[Right]:
        """Return what the commands of setup let machines do."""
        raise NotImplementedError

    def needed(self, method: str, path: str) -> list[Right]:
        """Return what whoever makes a call has to be allowed."""
        raise NotImplementedError

    def called(self, method: str, path: str, query: Values, body: Values) -> Answer:
        raise NotImplementedError
