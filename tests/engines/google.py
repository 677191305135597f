"""A server that speaks Google's dialect of S3's protocol (the XML API), as far as buckets need it.

No server of Google's can be run here. Its XML API is S3's with names of its own, and with numbers
of generations where S3 compares tags: https://cloud.google.com/storage/docs/xml-api/overview. So
this is a server for S3, and a translation of what is asked and answered.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

Headers = list[tuple[str, str]]
Environ = dict[str, Any]
_SOMEBODY = "AWS4-HMAC-SHA256 Credential=a/20200101/us-east-1/s3/aws4_request, Signature=x"
_JSON = "/storage/v1/b/"
_MISMATCH = b"<?xml version='1.0'?><Error><Code>PreconditionFailed</Code></Error>"


class Google:
    """The translation, in front of a server for S3; a WSGI application."""

    def __init__(self) -> None:
        self._inner = DomainDispatcherApplication(create_backend_app)
        self._generations: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        # A token of Google's means nothing to S3, which lets nobody read who says nothing.
        environ["HTTP_AUTHORIZATION"] = _SOMEBODY
        if source := environ.pop("HTTP_X_GOOG_COPY_SOURCE", None):
            environ["HTTP_X_AMZ_COPY_SOURCE"] = source
        wanted = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
        path = _plain(environ)
        with self._lock:
            if wanted is not None and int(wanted) != self._generations.get(path, 0):
                start("412 Precondition Failed", [("Content-Type", "application/xml")])
                return [_MISMATCH]
            return self._answered(environ, path, start)

    def _answered(self, environ: Environ, path: str, start: Callable[..., Any]) -> list[bytes]:
        said: list[tuple[str, Headers]] = []
        body = b"".join(self._inner(environ, lambda *given: said.append((given[0], given[1]))))
        status, headers = said[0]
        if status.startswith("2") and environ["REQUEST_METHOD"] in ("PUT", "POST"):
            self._generations[path] = next(self._numbers)
        if status.startswith("2") and environ["REQUEST_METHOD"] == "DELETE":
            self._generations.pop(path, None)
        if path in self._generations:
            headers = [*headers, ("x-goog-generation", str(self._generations[path]))]
        start(status, headers)
        return [body]


def _plain(environ: Environ) -> str:
    """Return the path of what is asked; the content of an object by the JSON API is the same one.

    https://cloud.google.com/storage/docs/json_api/v1/objects/get, with `alt=media`.
    """
    path = str(environ["PATH_INFO"])
    if path.startswith(_JSON):
        bucket, _, key = path.removeprefix(_JSON).partition("/o/")
        assert environ["QUERY_STRING"] == "alt=media"
        path = f"/{bucket}/{key}"
        environ |= {"PATH_INFO": path, "QUERY_STRING": "", "RAW_URI": path, "REQUEST_URI": path}
    return path


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Say nothing of what was asked."""


@contextmanager
def serve() -> Iterator[str]:
    """Yield the address of such a server on loopback, without buckets."""
    server = make_server("127.0.0.1", 0, Google(), threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def make_bucket(server: str, name: str) -> None:
    """Make a bucket."""
    with urlopen(Request(f"{server}/{name}", method="PUT")) as answer:
        answer.read()
