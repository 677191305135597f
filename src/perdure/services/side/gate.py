"""The gate of a service: the one way to it, and none without its token.

It listens on the loopback, and passes what has the token on to a socket that only this user can
open. Each connection carries one request, or becomes a web socket: what follows needs no parsing.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
from collections.abc import Callable, Mapping
from typing import Any

from perdure.services.side import request as heads
from perdure.services.side.request import Request

# What a browser may take to send its request's head.
_HEAD_S = 60.0
_BLOCK = 1 << 16
# Kinds of frames of a web socket that say no more than that its page is still there (RFC 6455).
_CONTROL = frozenset({8, 9, 10})
_PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<body style="font: 1.1em sans-serif; max-width: 40em; margin: 4em auto">{body}</body>
"""
_REFUSED = "<h1>{name}</h1><p>This address is not open without its token.</p><p>Ask for it:</p>"
# Read by the browser once, after the address has let it in.
_WELCOME = """<!doctype html><meta charset="utf-8"><title>{name}</title>
<script>{script}; location.replace({target})</script>
"""


class Gate:
    """A service's gate. `used` is called whenever somebody uses the service.

    `quiet` are beginnings of paths that pages ask for by themselves: a GET of one is no use of it.
    `script` is run once by a browser that comes in.
    """

    def __init__(self, socket: str, token: str, spec: Mapping[str, Any]) -> None:
        self._socket = socket
        self._token = token
        self._name = str(spec["name"])
        self._cookie = f"perdure-{spec['id']}"
        self._quiet: tuple[str, ...] = tuple(spec["quiet"])
        self._script = str(spec["script"])
        self.used: Callable[[], None] = lambda: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        gone = (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError)
        with contextlib.suppress(*gone):
            await self._serve(reader, writer)
        await _close(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_S)
        request = heads.parse(head[:-4])
        if request is None:
            writer.write(_answer("400 Bad Request", "<h1>This is no request</h1>"))
        elif not heads.is_for_loopback(request):
            writer.write(_answer("403 Forbidden", "<h1>Not under this name</h1>"))
        elif not heads.is_allowed(request, self._token, self._cookie):
            writer.write(self._refusal())
        elif request.is_page and heads.brings_token(request):
            self.used()
            writer.write(self._welcome(request))
        else:
            await self._pass_on(request, reader, writer)
        await writer.drain()

    async def _pass_on(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            there, onward = await asyncio.open_unix_connection(self._socket)
        except OSError:
            writer.write(_answer("502 Bad Gateway", f"<h1>{self._name} does not answer</h1>"))
            return
        onward.write(heads.passed_on(request, self._cookie))
        asked = asyncio.ensure_future(_pump(reader, onward, self._use_by(request)))
        told = asyncio.ensure_future(_pump(there, writer, lambda block: None))
        try:
            await asyncio.wait({asked, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (asked, told):
                each.cancel()
            await asyncio.gather(asked, told, return_exceptions=True)
            await _close(onward)

    def _use_by(self, request: Request) -> Callable[[bytes], None]:
        """Return what is to be called with all that comes with or after a request."""
        if request.upgrades:
            return lambda block: None if block[0] & 15 in _CONTROL else self.used()
        if request.method == "GET" and request.path.startswith(self._quiet):
            return lambda block: None
        self.used()
        return lambda block: self.used()

    def _refusal(self) -> bytes:
        body = _REFUSED.format(name=html.escape(self._name))
        command = html.escape(f"perdure {self._name}")
        return _answer("401 Unauthorized", f"{body}<pre>{command}</pre>")

    def _welcome(self, request: Request) -> bytes:
        """Return what gives a browser the cookie, and takes the token out of its address."""
        target = heads.without_token(request.target)
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        text = _WELCOME.format(name=self._name, script=self._script, target=_quoted(target))
        return _page("200 OK", text, ("Set-Cookie", cookie))


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[bytes], None]
) -> None:
    with contextlib.suppress(OSError):
        while True:
            block = await reader.read(_BLOCK)
            if not block:
                return
            seen(block)
            writer.write(block)
            await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()
        await writer.wait_closed()


def _quoted(text: str) -> str:
    """Return a text as a script has it; it cannot end the script."""
    return json.dumps(text).replace("<", "\\u003c")


def _answer(status: str, body: str) -> bytes:
    return _page(status, _PAGE.format(title="perdure", body=body))


def _page(status: str, text: str, *headers: heads.Header) -> bytes:
    content = text.encode()
    lines = [f"HTTP/1.1 {status}", "Content-Type: text/html; charset=utf-8"]
    lines += [f"Content-Length: {len(content)}", "Cache-Control: no-store", "Connection: close"]
    lines += ["Referrer-Policy: no-referrer", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content
