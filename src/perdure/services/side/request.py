"""The head of an HTTP request: read, checked and rewritten. Pure.

RFC 9112 for the syntax, RFC 6265 for cookies. Standard library only, Python 3.9 or newer: this is
streamed to other hosts.
"""

from __future__ import annotations

import hmac
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

LONGEST = 1 << 16
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
# Of one connection only: what lies behind gets its own.
_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "proxy-authorization"})
_TOKEN = "token"  # noqa: S105 - the name of a parameter

Header = tuple[str, str]


class Request(NamedTuple):
    """The head of a request, its headers in order."""

    method: str
    target: str
    version: str
    headers: tuple[Header, ...]

    def header(self, name: str) -> str:
        """Return a header's value by its name in lower case, "" where it is not there."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def path(self) -> str:
        """Return the path, without what follows it."""
        return self.target.partition("?")[0]

    @property
    def upgrades(self) -> bool:
        """Return whether it asks for another protocol, such as a web socket."""
        words = [word.strip().lower() for word in self.header("connection").split(",")]
        return "upgrade" in words and bool(self.header("upgrade"))

    @property
    def is_page(self) -> bool:
        """Return whether a browser asks for something to show in its window."""
        return self.method == "GET" and "text/html" in self.header("accept")


def parse(head: bytes) -> Request | None:
    """Return a request from all up to the blank line, None where it is none."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        return None
    headers: list[Header] = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if line and (not colon or not name or name != name.strip()):
            return None
        if line:
            headers.append((name, value.strip()))
    return Request(words[0], words[1], words[2], tuple(headers))


def is_for_loopback(request: Request) -> bool:
    """Return whether the request was made to this machine by its own name.

    A page from elsewhere whose name has been made to lead here says another one.
    """
    host = request.header("host").lower()
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host) in _LOOPBACK


def is_allowed(request: Request, token: str, cookie: str) -> bool:
    """Return whether a request has the token: in its cookie, its address or its authorization."""
    given = [*_cookies(request, cookie), *_asked(request), *_authorized(request)]
    return any(_same(each, token) for each in given)


def brings_token(request: Request) -> bool:
    """Return whether the address has a token in it: it is not to stay there."""
    return bool(_asked(request))


def without_token(target: str) -> str:
    """Return an address without its token."""
    path, _, query = target.partition("?")
    if _TOKEN not in query:
        return target
    kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != _TOKEN]
    # Two slashes at the beginning would name another host.
    return "/" + path.lstrip("/") + ("?" + urlencode(kept) if kept else "")


def passed_on(request: Request, cookie: str) -> bytes:
    """Return the head for who is behind: one request a connection, and nothing of the token."""
    lines = [f"{request.method} {without_token(request.target)} {request.version}"]
    for name, value in request.headers:
        lower, kept = name.lower(), value
        if lower == "cookie":
            kept = "; ".join(
                pair for pair in value.split("; ") if pair.partition("=")[0].strip() != cookie
            )
        if kept and lower not in _HOP and not (lower == "authorization" and _authorized(request)):
            lines.append(f"{name}: {kept}")
    lines.append(f"Connection: {'Upgrade' if request.upgrades else 'close'}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def with_token(path: str, token: str) -> str:
    """Return the address, after the host, that lets a browser in."""
    return f"{path}?{_TOKEN}={quote(token)}"


def _cookies(request: Request, cookie: str) -> list[str]:
    pairs = (pair.strip().partition("=") for pair in request.header("cookie").split(";"))
    return [value for name, _, value in pairs if name == cookie]


def _asked(request: Request) -> list[str]:
    query = request.target.partition("?")[2]
    return [value for name, value in parse_qsl(query) if name == _TOKEN]


def _authorized(request: Request) -> list[str]:
    scheme, _, value = request.header("authorization").partition(" ")
    return [unquote(value.strip())] if scheme.lower() in ("bearer", "token") else []


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())
