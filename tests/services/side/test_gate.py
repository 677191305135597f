from __future__ import annotations

import asyncio
import contextlib
import tempfile
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from perdure.services.side.gate import Gate

TOKEN = "s3cret"
COOKIE = "perdure-0123"
SPEC = {"name": "tried", "id": "0123", "quiet": ["/api/"], "script": "let a = 1"}
HOST = "Host: 127.0.0.1:1"
ALLOWED = f"Cookie: {COOKIE}={TOKEN}"

Behind = Callable[[Reader, Writer], Awaitable[None]]


@pytest.fixture
def private() -> Iterator[Path]:
    """Return a folder with a name short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="pt-") as folder:
        yield Path(folder)


class Tried:
    """A gate, and how often it was said to be used."""

    def __init__(self, private: Path, behind: Behind) -> None:
        self.uses = 0
        self.path = str(private / "s")
        self._behind = behind
        self._gate = Gate(self.path, TOKEN, SPEC)
        self._gate.used = self._use

    def _use(self) -> None:
        self.uses += 1

    async def ask(self, *lines: str, body: bytes = b"") -> bytes:
        """Return all that comes back for one request."""
        async with self.connected() as (reader, writer):
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            return await asyncio.wait_for(reader.read(), 10)

    @contextlib.asynccontextmanager
    async def connected(self):  # type: ignore[no-untyped-def]  # noqa: ANN201
        behind = await asyncio.start_unix_server(self._behind, self.path)
        server = await asyncio.start_server(self._gate.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.close()
            server.close()
            behind.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if others:
                await asyncio.wait(others, timeout=120)


async def echo(reader: Reader, writer: Writer) -> None:
    """Answer with the request itself: its head, and as much of its body as it says."""
    head = await reader.readuntil(b"\r\n\r\n")
    sizes = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    body = await reader.readexactly(int(sizes[0].split(b":")[1])) if sizes else b""
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head + body)
    await writer.drain()
    writer.close()


def ask(tried: Tried, *lines: str, body: bytes = b"") -> str:
    return asyncio.run(tried.ask(*lines, body=body)).decode()


def test_without_the_token_nothing_gets_through(private: Path) -> None:
    tried = Tried(private, echo)
    said = ask(tried, "GET / HTTP/1.1", HOST)
    assert said.startswith("HTTP/1.1 401 ")
    assert "perdure tried" in said
    assert tried.uses == 0


def test_a_page_of_another_name_gets_nothing_even_with_it(private: Path) -> None:
    said = ask(Tried(private, echo), "GET / HTTP/1.1", "Host: evil.example", ALLOWED)
    assert said.startswith("HTTP/1.1 403 ")


@pytest.mark.parametrize("line", ["SSH-2.0-OpenSSH_9.2", "GET http://a/ HTTP/1.1", "GET /"])
def test_what_is_no_request_is_told_so(private: Path, line: str) -> None:
    assert ask(Tried(private, echo), line).startswith("HTTP/1.1 400 ")


def test_a_head_without_end_is_dropped(private: Path) -> None:
    assert ask(Tried(private, echo), "GET / HTTP/1.1", "X: " + "x" * 200_000) == ""


def test_a_browser_that_brings_the_token_gets_a_cookie_for_it(private: Path) -> None:
    tried = Tried(private, echo)
    page = f"GET /lab?token={TOKEN}&a=%3C/script%3E HTTP/1.1"
    said = ask(tried, page, HOST, "Accept: text/html")
    assert said.startswith("HTTP/1.1 200 ")
    assert f"Set-Cookie: {COOKIE}={TOKEN}; Path=/; HttpOnly; SameSite=Strict" in said
    body = said.partition("\r\n\r\n")[2]
    assert "let a = 1" in body
    assert TOKEN not in body
    assert body.count("</script>") == 1
    assert tried.uses == 1


def test_what_is_behind_sees_the_request_and_not_the_token(private: Path) -> None:
    tried = Tried(private, echo)
    said = ask(tried, "POST /a?x=1 HTTP/1.1", HOST, ALLOWED, "Content-Length: 5", body=b"hello")
    assert said.startswith("HTTP/1.1 200 OK")
    assert "POST /a?x=1 HTTP/1.1" in said
    assert said.endswith("hello")
    assert TOKEN not in said
    assert tried.uses > 0


def test_a_program_that_is_gone_is_said_to_be(private: Path) -> None:
    async def gone(reader: Reader, writer: Writer) -> None:
        """Never asked: its socket is removed."""

    tried = Tried(private, gone)

    async def run() -> bytes:
        async with tried.connected() as (reader, writer):
            Path(tried.path).unlink()
            writer.write(f"GET / HTTP/1.1\r\n{HOST}\r\n{ALLOWED}\r\n\r\n".encode())
            return bytes(await reader.read())

    assert asyncio.run(run()).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("GET /api/kernels HTTP/1.1", False),
        ("POST /api/kernels HTTP/1.1", True),
        ("GET /lab HTTP/1.1", True),
    ],
)
def test_what_pages_ask_for_by_themselves_is_no_use(private: Path, line: str, counts: bool) -> None:
    tried = Tried(private, echo)
    ask(tried, line, HOST, ALLOWED)
    assert (tried.uses > 0) is counts


async def repeat(reader: Reader, writer: Writer) -> None:
    """Take an upgrade, then send back what comes."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    while block := await reader.read(100):
        writer.write(block)
        await writer.drain()
    writer.close()


def test_a_web_socket_goes_both_ways_and_a_pong_is_no_use(private: Path) -> None:
    tried = Tried(private, repeat)

    async def run() -> list[int]:
        uses = []
        async with tried.connected() as (reader, writer):
            words = ["GET /api/ws HTTP/1.1", HOST, ALLOWED, "Connection: Upgrade"]
            writer.write("\r\n".join([*words, "Upgrade: websocket", "", ""]).encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            for frame in (b"\x8a\x80mask", b"\x81\x85maskhello"):
                writer.write(frame)
                assert await reader.readexactly(len(frame)) == frame
                uses.append(tried.uses)
        return uses

    pong, text = asyncio.run(run())
    assert pong == 0
    assert text > 0
