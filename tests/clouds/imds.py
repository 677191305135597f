"""EC2's instance metadata service, version 2 of it alone: a tree of words, and tokens that end.

"Use the Instance Metadata Service to access instance metadata" and "Instance metadata categories"
in EC2's user guide: no token, no word (401); a token is put with its seconds, 1 to 21,600 (400),
and not through a proxy that says so (403); who asks for a folder is told what is in it.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import secrets
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

TTL, TOKEN = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
VERSIONS = ("2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23", "latest")
_LONGEST_S = 21600

Word = str | Callable[[], str | None]
Answer = tuple[int, str]


@dataclass
class Metadata:
    """What one machine is told: `words` by their paths below `meta-data`."""

    words: dict[str, Word]
    user_data: str = ""
    #: When what was asked, and by whom.
    asked: list[tuple[float, str, str]] = field(default_factory=list)
    _tokens: dict[str, float] = field(default_factory=dict)

    def token(self, ttl: str | None, forwarded: str | None) -> Answer:
        if forwarded is not None:
            return 403, ""
        if ttl is None or not ttl.isdecimal() or not 1 <= int(ttl) <= _LONGEST_S:
            return 400, ""
        token = secrets.token_urlsafe(32)
        self._tokens[token] = time.monotonic() + int(ttl)
        return 200, token

    def word(self, path: str, token: str | None) -> Answer:
        if self._tokens.get(token or "", 0.0) < time.monotonic():
            return 401, ""
        version, _, inner = path.strip("/").partition("/")
        tree = self._tree()
        if not version:
            return 200, "\n".join(VERSIONS)
        if version not in VERSIONS:
            return 404, ""
        if inner in tree:
            return 200, tree[inner]
        inner = f"{inner}/" if inner else ""
        within = [name.removeprefix(inner) for name in tree if name.startswith(inner)]
        heads = dict.fromkeys(name.partition("/")[0] + "/" * ("/" in name) for name in within)
        return (200, "\n".join(heads)) if heads else (404, "")

    def _tree(self) -> dict[str, str]:
        """Return all that there is now, by path."""
        told = {name: each() if callable(each) else each for name, each in self.words.items()}
        found = {f"meta-data/{name}": each for name, each in told.items() if each is not None}
        region = found.get("meta-data/placement/region", "")
        document = {"instanceId": found["meta-data/instance-id"], "region": region}
        found["dynamic/instance-identity/document"] = json.dumps(document)
        return {**found, **({"user-data": self.user_data} if self.user_data else {})}


class _Handler(http.server.BaseHTTPRequestHandler):
    metadata: Metadata

    def log_message(self, template: str, *arguments: object) -> None:
        pass

    def do_PUT(self) -> None:
        if self.path != "/latest/api/token":
            self._answer(404, "")
            return
        ttl = self.headers.get(TTL)
        self._answer(*self.metadata.token(ttl, self.headers.get("X-Forwarded-For")), ttl)

    def do_GET(self) -> None:
        who = str(self.headers.get("User-Agent"))
        self.metadata.asked.append((time.time(), who, self.path))
        self._answer(*self.metadata.word(self.path, self.headers.get(TOKEN)))

    def _answer(self, status: int, text: str, ttl: str | None = None) -> None:
        body = text.encode()
        with contextlib.suppress(OSError):  # whoever asked may have had its power cut
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            if ttl is not None:
                self.send_header(TTL, ttl)
            self.end_headers()
            self.wfile.write(body)


class _AtPath(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def serve_on_loopback(metadata: Metadata) -> tuple[socketserver.BaseServer, str]:
    """Return a server, and its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(metadata))
    return _begun(server), f"http://127.0.0.1:{server.server_address[1]}"


def serve_at(path: Path, metadata: Metadata) -> socketserver.BaseServer:
    """Return a server that listens at a path."""
    return _begun(_AtPath(str(path), _handler(metadata)))


def _handler(metadata: Metadata) -> type[_Handler]:
    return type("Handler", (_Handler,), {"metadata": metadata})


def _begun(server: socketserver.BaseServer) -> socketserver.BaseServer:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
