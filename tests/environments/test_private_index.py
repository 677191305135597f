"""An index behind a password: it reaches uv, and is written down nowhere."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from perdure.environments.lock import ensure_lock
from perdure.environments.sync import ensure_environment
from perdure.errors import EnvironmentFailed
from perdure.model.project import Project
from perdure.model.settings import Index, IndexFormat, Settings
from tests.environments.told import Told

PASSWORD = "se/cr@t"
LOGIN = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()


class PrivateIndex(BaseHTTPRequestHandler):
    """A simple index (PEP 503) of one package, for those who know the password."""

    wheel: ClassVar[Path]
    asked: ClassVar[list[str]] = []
    refused: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        page = f'<a href="/files/{self.wheel.name}">{self.wheel.name}</a>'.encode()
        pages = {"/simple/toy/": page, f"/files/{self.wheel.name}": self.wheel.read_bytes()}
        content = pages.get(self.path)
        self.asked.append(self.path)
        if self.headers["Authorization"] != LOGIN:
            self.refused.append(self.path)
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            content = b""
        else:
            self.send_response(200 if content else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content or b"")

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def port(wheels: Path) -> Iterator[int]:
    PrivateIndex.wheel = next(wheels.glob("toy-*.whl"))
    with ThreadingHTTPServer(("127.0.0.1", 0), PrivateIndex) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def settings(tmp_path: Path, login: str, port: int) -> Settings:
    url = f"http://{login}127.0.0.1:{port}/simple"
    yard = Index("yard", (tmp_path / "yard").as_uri(), IndexFormat.FLAT)
    return Settings(indexes={"house": Index("house", url, IndexFormat.SIMPLE), "yard": yard})


@pytest.fixture(autouse=True)
def direct(offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let uv reach this machine's own loopback, by no proxy, and nothing else."""
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.delenv("PIP_FIND_LINKS")
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


def test_a_password_reaches_uv_and_nothing_else(
    tmp_path: Path, project: Project, port: int
) -> None:
    told = Told()
    chosen = settings(tmp_path, "me:se%2Fcr%40t@", port)
    handle = ensure_environment(project, chosen, report=told)
    assert next(handle.prefix.glob("lib/python*/site-packages/toy"), None) is not None
    assert f"http://127.0.0.1:{port}/simple" in (project.root / "uv.lock").read_text()
    for text in (PASSWORD, "se%2Fcr%40t"):
        assert text not in told.text
        for file in project.root.rglob("*"):
            assert not file.is_file() or text.encode() not in file.read_bytes(), file


def test_a_wrong_password_is_told_without_it(tmp_path: Path, project: Project, port: int) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        ensure_environment(project, settings(tmp_path, "me:wr0ng@", port), report=Told())
    assert "no package `toy` in any index" in caught.value.message
    assert "is the index reachable from here?" in (caught.value.hint or "")
    assert "wr0ng" not in caught.value.message
    assert PrivateIndex.refused


def test_what_was_resolved_a_moment_ago_needs_no_index_again(
    tmp_path: Path, project: Project, port: int
) -> None:
    chosen = settings(tmp_path, "me:se%2Fcr%40t@", port)
    ensure_lock(project, chosen)
    file = project.root / "pyproject.toml"
    declared, *others = "toy==1.0", "toy>=0.1", "toy>=0.2"
    caches = {tmp_path / "cache": False, tmp_path / "empty cache": True}
    for other, (cache, asked) in zip(others, caches.items(), strict=True):
        # Declared otherwise, and the same package for it.
        file.write_text(file.read_text().replace(f'cpu = ["{declared}"]', f'cpu = ["{other}"]'))
        declared = other
        PrivateIndex.asked.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UV_CACHE_DIR", str(cache))
            digest = ensure_lock(project, chosen, cached=True).digest
        assert bool(PrivateIndex.asked) is asked
        assert digest == ensure_lock(project, chosen).digest
