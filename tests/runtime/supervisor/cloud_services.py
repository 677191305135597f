"""The metadata services of three clouds on loopback, as strict as their documentation."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit


class Asked(NamedTuple):
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Message
    body: bytes


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Service(Protocol):
    def answer(self, asked: Asked) -> Answer: ...


class AwsService:
    """EC2's, version 2 only: a token, its lifetime in a header, 401 once it has expired."""

    def __init__(self) -> None:
        self.action: bytes | None = None
        self.rebalance: bytes | None = None
        self.tokens = 0

    def expire(self) -> None:
        self.tokens += 1

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/latest/api/token":
            lifetime = asked.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if asked.method != "PUT" or not lifetime.isdigit() or not 1 <= int(lifetime) <= 21600:
                return Answer(400)
            self.tokens += 1
            return Answer(200, b"token%d" % self.tokens)
        # A second header does not help when the first is stale.
        tokens = asked.headers.get_all("X-aws-ec2-metadata-token") or []
        if asked.method != "GET" or tokens != [f"token{self.tokens}"]:
            return Answer(401)
        found = {
            "/latest/meta-data/spot/instance-action": self.action,
            "/latest/meta-data/events/recommendations/rebalance": self.rebalance,
        }.get(asked.path)
        return Answer(404) if found is None else Answer(200, found)


class GcpService:
    """Compute Engine's: a header that no browser sends, and requests that hang until a change."""

    def __init__(self) -> None:
        self.preempted = False
        self.changed = threading.Condition()
        self.hanging = threading.Event()
        self.flavour = "Google"
        self.hang_s: float | None = None  # as long as the request asks for

    def preempt(self) -> None:
        with self.changed:
            self.preempted = True
            self.changed.notify_all()

    def _etag(self) -> str:
        return "b&true=" if self.preempted else "a&false="

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("Metadata-Flavor") != "Google" or asked.headers.get("X-Forwarded-For"):
            return Answer(403)
        if asked.path != "/computeMetadata/v1/instance/preempted":
            return Answer(404)
        if asked.query.get("wait_for_change") == ["true"]:
            asked_for = float(asked.query["timeout_sec"][0])
            limit = asked_for if self.hang_s is None else self.hang_s
            with self.changed:
                self.hanging.set()
                last = asked.query["last_etag"]
                self.changed.wait_for(lambda: [self._etag()] != last, timeout=limit)
        body = b"TRUE" if self.preempted else b"FALSE"
        return Answer(200, body, {"ETag": self._etag(), "Metadata-Flavor": self.flavour})


class AzureService:
    """Azure's: a header, a version that exists, and events that can be approved of."""

    def __init__(self, name: str = "job_0") -> None:
        self.name = name
        self.events: list[dict[str, object]] = []
        self.approved: list[str] = []

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("Metadata") != "true" or "X-Forwarded-For" in asked.headers:
            return Answer(400)
        version = asked.query.get("api-version")
        if asked.path == "/metadata/instance/compute/name":
            known = version == ["2021-02-01"] and asked.query.get("format") == ["text"]
            return Answer(200, self.name.encode()) if known else Answer(400)
        if asked.path != "/metadata/scheduledevents":
            return Answer(404)
        if version != ["2020-07-01"]:
            return Answer(400)
        return self._approve(asked.body) if asked.method == "POST" else self._document()

    def _document(self) -> Answer:
        return Answer(200, json.dumps({"DocumentIncarnation": 1, "Events": self.events}).encode())

    def _approve(self, body: bytes) -> Answer:
        known = [event["EventId"] for event in self.events]
        wanted = [request["EventId"] for request in json.loads(body)["StartRequests"]]
        if any(name not in known for name in wanted):
            return Answer(400)
        self.approved += wanted
        return Answer(200)


class FixedService:
    """Answers the same to everything: a broken service."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def answer(self, asked: Asked) -> Answer:
        return self._answer


def handler(service: Service) -> type[BaseHTTPRequestHandler]:
    """Return the class that `http.server` makes an object of for each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = parse_qs(url.query, strict_parsing=bool(url.query))
            answer = service.answer(Asked(self.command, url.path, query, self.headers, body))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_PUT = do_GET  # noqa: N815 (http.server calls it)
        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    return Handler


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """Serve on loopback while the block runs; what is yielded is the base of the addresses."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(service))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
