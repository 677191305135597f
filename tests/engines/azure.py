"""A server that speaks Azure's protocol (Microsoft's Azurite), and an account on it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.waiting import until

# The account that every such server has; it is no secret: see Microsoft's page on Azurite.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_VERSION = "2021-08-06"
# A first call may have to install it.
_START_S = 300.0


@contextlib.contextmanager
def serve() -> Iterator[int]:
    """Yield the port of loopback on which a new, empty account is served."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    script = Path(__file__).parent / "azurite"
    server = subprocess.Popen([script, str(port)], stdout=subprocess.DEVNULL)
    try:
        until(lambda: server.poll() is not None or _answers(port), every_s=0.1, patience_s=_START_S)
        assert server.poll() is None, "the server did not start"
        yield port
    finally:
        server.terminate()
        server.wait()


def make_container(port: int, name: str) -> None:
    """Make a container. Signed as the protocol wants it: "Authorize with Shared Key"."""
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    told = {"x-ms-date": now, "x-ms-version": _VERSION}
    lines = "".join(f"{key}:{value}\n" for key, value in sorted(told.items()))
    signed = "PUT" + "\n" * 12 + f"{lines}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    told["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as line:
        line.request("PUT", f"/{ACCOUNT}/{name}?restype=container", headers=told)
        answer = line.getresponse()
        assert answer.status == 201, answer.read()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
