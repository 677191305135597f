"""A conda channel with a real Python, as a folder and behind a server on loopback."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from perdure.environments.conda.lock import lock_conda
from perdure.model.image import CondaPackage
from perdure.model.project import Project
from tests.environments.conda.channel import Channel, make_channel

pytest.importorskip("rattler", reason="py-rattler comes with the extra `conda`")


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    return make_channel(tmp_path_factory.mktemp("channel"), tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rattler")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's packages and settings out of it."""
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(cache))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served(channel: Channel) -> Iterator[str]:
    """Return the channel's address on loopback."""
    handler = partial(_Quiet, directory=str(channel.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project in a folder with a name as hostile as conda can have it."""
    root = tmp_path / "a project (x) & é"
    root.mkdir()
    return Project(root, "cats", "cats", {})


@pytest.fixture
def locked(project: Project, channel: Channel) -> tuple[CondaPackage, ...]:
    """Return everything the channel has, solved."""
    file = project.root / "environment.yml"
    folder = channel.folder.as_uri()
    file.write_text(f"channels: ['{folder}']\ndependencies: [greet, numb=1.26]\n")
    return lock_conda(project, file, "linux/amd64", "3.11")
