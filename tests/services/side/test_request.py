from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from perdure.services.side import request as heads
from perdure.services.side.request import Request

TOKEN = "s3cret-token"
COOKIE = "perdure-0a1b2c3d"


def head(target: str = "/", *headers: str, method: str = "GET") -> Request:
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1:8888", *headers]
    found = heads.parse("\r\n".join(lines).encode())
    assert found is not None
    return found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/2",
        b"GET http://elsewhere/ HTTP/1.1",
        b"CONNECT elsewhere:443 HTTP/1.1",
        b"GET / HTTP/1.1\r\nno colon",
        b"GET / HTTP/1.1\r\n: no name",
        b"GET / HTTP/1.1\r\nHost : with a space",
        b"GET / HTTP/1.1\r\n folded: line",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_is_no_request_is_none(data: bytes) -> None:
    assert heads.parse(data) is None


@given(some.binary(max_size=200))
def test_no_bytes_at_all_make_it_fail(data: bytes) -> None:
    found = heads.parse(data)
    if found is not None:
        heads.is_allowed(found, TOKEN, COOKIE)
        heads.passed_on(found, COOKIE)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:8888", True),
        ("localhost:1", True),
        ("LOCALHOST", True),
        ("[::1]:8888", True),
        ("127.0.0.1", True),
        ("evil.example:8888", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("localhost:evil", False),
    ],
)
def test_only_names_of_the_loopback_are_served(host: str, ours: bool) -> None:
    request = Request("GET", "/", "HTTP/1.1", (("host", host),))
    assert heads.is_for_loopback(request) is ours


@pytest.mark.parametrize(
    "request_",
    [
        head(f"/?token={TOKEN}"),
        head(f"/lab?a=1&token={TOKEN}"),
        head("/", f"Cookie: other=1; {COOKIE}={TOKEN}; more=2"),
        head("/", f"Authorization: token {TOKEN}"),
        head("/", f"Authorization: Bearer {TOKEN}"),
    ],
)
def test_the_token_opens(request_: Request) -> None:
    assert heads.is_allowed(request_, TOKEN, COOKIE)
    assert TOKEN.encode() not in heads.passed_on(request_, COOKIE)


@pytest.mark.parametrize(
    "request_",
    [
        head(),
        head("/?token="),
        head(f"/?token={TOKEN[:-1]}"),
        head(f"/?token={TOKEN}x"),
        head("/?token=\u00fc".encode().decode("latin-1")),
        head(f"/?TOKEN={TOKEN}"),
        head("/", f"Cookie: other={TOKEN}"),
        head("/", f"Cookie: {COOKIE}=wrong"),
        head("/", f"Authorization: Basic {TOKEN}"),
        head("/", f"Authorization: {TOKEN}"),
        head("/", f"X-Token: {TOKEN}"),
    ],
)
def test_nothing_else_does(request_: Request) -> None:
    assert not heads.is_allowed(request_, TOKEN, COOKIE)


@pytest.mark.parametrize(
    ("target", "plain"),
    [
        (f"/?token={TOKEN}", "/"),
        (f"/lab/tree/a%20b?token={TOKEN}&x=1&x=", "/lab/tree/a%20b?x=1&x="),
        ("/lab?reset", "/lab?reset"),
        (f"//evil.example/?token={TOKEN}", "/evil.example/"),
        (f"///evil.example/?token={TOKEN}", "/evil.example/"),
    ],
)
def test_a_token_is_taken_out_of_an_address(target: str, plain: str) -> None:
    assert heads.without_token(target) == plain


def test_what_is_passed_on_is_one_request_a_connection() -> None:
    request = head(
        "/api?x=1",
        "Connection: keep-alive",
        "Keep-Alive: timeout=5",
        "Accept: */*",
        f"Cookie: a=1; {COOKIE}={TOKEN}; b=2",
    )
    assert heads.passed_on(request, COOKIE) == (
        b"GET /api?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8888\r\nAccept: */*\r\n"
        b"Cookie: a=1; b=2\r\nConnection: close\r\n\r\n"
    )


def test_a_web_socket_stays_one() -> None:
    request = head("/ws", "Connection: keep-alive, Upgrade", "Upgrade: websocket")
    assert request.upgrades
    assert b"\r\nConnection: Upgrade\r\n" in heads.passed_on(request, COOKIE)
    assert not head("/", "Connection: upgrade").upgrades


def test_someone_elses_authorization_is_passed_on() -> None:
    assert b"Authorization: Basic abc" in heads.passed_on(
        head("/", "Authorization: Basic abc"), COOKIE
    )


def test_a_page_is_what_a_browser_shows() -> None:
    assert head("/", "Accept: text/html,*/*").is_page
    assert not head("/", "Accept: application/json").is_page
    assert not head("/", "Accept: text/html", method="POST").is_page
