"""Secrets of the machine: told to a build, and in nothing that is left of it."""

from __future__ import annotations

import base64
import http.server
import io
import json
import os
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.environments import apt_machine
from perdure.environments.apt import Asked, lock_apt
from perdure.environments.apt_machine import AptSettings
from perdure.errors import UsageError
from perdure.hosts.engine import find_engine
from perdure.images import secrets
from perdure.images.secrets import machine_secrets
from perdure.model.image import Stage
from perdure.model.project import Step
from perdure.model.settings import Index, IndexFormat, Settings
from tests.engines.engines import RealEngine
from tests.images.recipes import built, inside, recipe_for, removed

#: Each in a form that no encoding of it would hide: they are looked for as they are.
PASSWORD = "hunter2-in-a-url"
PROXY = "hunter3-in-a-proxy"
APT = "hunter4-in-apt"
NETRC = "hunter5-in-netrc"
PLANTED = (PASSWORD, PROXY, APT, NETRC)

PIP = f"""\
[global]
extra-index-url = http://me:{PASSWORD}@127.0.0.1:9/simple
    file:///srv/wheels
trusted-host = 127.0.0.1
"""


def environ(folder: Path, **more: str) -> dict[str, str]:
    (folder / "pip").mkdir(parents=True, exist_ok=True)
    (folder / "pip" / "pip.conf").write_text(PIP)
    (folder / ".netrc").write_text(f"machine h.invalid login me password {NETRC}\n")
    return {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PATH": os.environ["PATH"], **more}


class Mirror(http.server.BaseHTTPRequestHandler):
    """A mirror of Debian's archive that wants a password."""

    def do_GET(self) -> None:
        wanted = base64.b64encode(f"me:{APT}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {wanted}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic realm=x")
            self.end_headers()
            return
        try:
            with urllib.request.urlopen(f"http://deb.debian.org{self.path}", timeout=120) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Path]:
    """Return what apt is told on a machine with a mirror of its own, at its loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    etc = tmp_path / "apt"
    (etc / "sources.list.d").mkdir(parents=True)
    place = f"http://me:{APT}@127.0.0.1:{server.server_port}/debian"
    (etc / "sources.list").write_text(f"deb {place} bookworm main\n")
    yield etc
    server.shutdown()
    server.server_close()


def test_what_uv_pip_and_proxies_are_told_goes_along(tmp_path: Path) -> None:
    given = environ(
        tmp_path, https_proxy=f"http://me:{PROXY}@proxy:3128", NO_PROXY="localhost,10.0.0.0/8"
    )
    found = machine_secrets("bookworm", {}, given)
    lines = found.contents["machine"].splitlines()
    assert f"export HTTPS_PROXY=http://me:{PROXY}@proxy:3128" in lines
    assert f"export https_proxy=http://me:{PROXY}@proxy:3128" in lines
    assert "export NO_PROXY=localhost,10.0.0.0/8" in lines
    assert f"export PIP_EXTRA_INDEX_URL=http://me:{PASSWORD}@127.0.0.1:9/simple" in lines
    assert "export PIP_TRUSTED_HOST=127.0.0.1" in lines
    assert all(line.startswith("export ") for line in lines)
    assert "/srv/wheels" not in found.contents["machine"]
    assert found.loopback


def test_no_value_is_among_the_words(tmp_path: Path) -> None:
    found = machine_secrets("bookworm", {}, environ(tmp_path))
    assert "--secret=id=machine,env=PERDURE_SECRET_MACHINE" in found.words()
    assert not any(secret in " ".join(found.words()) for secret in PLANTED)
    assert PASSWORD in found.environ()["PERDURE_SECRET_MACHINE"]


def test_logins_are_for_their_hosts(tmp_path: Path) -> None:
    index = Index("torch", "https://me:a%20b%40c@127.0.0.1:9/cpu", IndexFormat.SIMPLE)
    plain = Index("other", "https://you:p%40ss@127.0.0.2/x", IndexFormat.SIMPLE)
    found = machine_secrets("bookworm", {"torch": index, "o": plain}, environ(tmp_path))
    lines = found.contents["netrc"].splitlines()
    assert lines[0] == "machine 127.0.0.2 login you password p@ss"
    assert lines[-1] == f"machine h.invalid login me password {NETRC}"
    assert "a b@c" not in found.contents["netrc"]  # what netrc cannot say is left out


def test_a_machine_that_was_told_nothing_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "machine_apt", lambda release: AptSettings())
    plain = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull}
    found = machine_secrets("bookworm", {}, plain)
    assert (found.contents, found.files, found.words(), found.loopback) == ({}, {}, [], False)


def test_certificates_are_a_file_of_bounded_size(tmp_path: Path) -> None:
    bundle = tmp_path / 'my "own", ca.pem'
    bundle.write_text("certificate")
    found = machine_secrets("bookworm", {}, environ(tmp_path, SSL_CERT_FILE=str(bundle)))
    quoted = str(bundle).replace('"', '""')
    assert f'--secret=id=ca,"src={quoted}"' in found.words()
    bundle.write_text("x" * (501 << 10))
    with pytest.raises(UsageError, match="500 KiB at most") as caught:
        machine_secrets("bookworm", {}, environ(tmp_path, SSL_CERT_FILE=str(bundle)))
    assert "SSL_CERT_FILE" in str(caught.value.hint)
    gone = machine_secrets("bookworm", {}, environ(tmp_path, SSL_CERT_FILE=str(tmp_path / "no")))
    assert "ca" not in gone.files


def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    given = environ(tmp_path)
    (tmp_path / ".netrc").write_text("machine a login b password c\n" * 10_000)
    with pytest.raises(UsageError, match="too large for a build: `netrc`"):
        machine_secrets("bookworm", {}, given)


def everything(saved: bytes) -> list[bytes]:
    """Return the contents of all files of all layers in a saved image, and its documents."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(saved)) as outer:
        for member in outer:
            stream = outer.extractfile(member) if member.isfile() else None
            content = stream.read() if stream else b""
            try:
                with tarfile.open(fileobj=io.BytesIO(content)) as layer:
                    for each in layer:
                        found.append(f"{each.name} {each.linkname}".encode())
                        inner = layer.extractfile(each) if each.isfile() else None
                        found.append(inner.read() if inner else b"")
            except tarfile.TarError:
                found.append(content)
    return found


MARK = "CERTIFICATE-OF-THE-TEST"


def plant(folder: Path, monkeypatch: pytest.MonkeyPatch, mirror: Path) -> None:
    """Have this machine tell every secret there is."""
    certificate = folder / "ca.pem"
    real = os.environ.get("SSL_CERT_FILE")
    certificate.write_text(f"# {MARK}\n" + (Path(real).read_text() if real else ""))
    for name, value in environ(folder / "home", SSL_CERT_FILE=str(certificate)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UV_INDEX", f"own=http://me:{PASSWORD}@127.0.0.1:9/simple")
    monkeypatch.setenv("ALL_PROXY", f"http://me:{PROXY}@127.0.0.1:9")
    told = apt_machine.machine_apt("bookworm", mirror)
    monkeypatch.setattr(secrets, "machine_apt", lambda release: told)


@pytest.mark.install
@pytest.mark.timeout(600)
def test_nothing_of_what_was_planted_is_left(
    engine: RealEngine, tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_for()
    asked = Asked({"runtime": ("tini",)}, {}, python=False)
    apt = lock_apt(find_engine(Settings()), recipe.base, recipe.platform, asked).stages
    plant(tmp_path, monkeypatch, mirror)
    # Seen by a step, which proves by a length only that they were there.
    seen = "printenv ALL_PROXY | wc -c > /opt/proof; (env; cat /run/secrets/*) > /dev/null"
    messages: list[str] = []
    with removed(engine) as name:
        wanted, _ = built(
            recipe_for(project=name, tiers={}, apt=apt, steps=(Step(seen),)),
            Stage.RUNTIME,
            tmp_path / "context",
            report=lambda message, **_: messages.append(message),
            fresh=True,
        )
        proof = inside(engine, wanted.tag, "bash", "-c", "cat /opt/proof; tini --version")
        assert int(proof.split()[0]) == len(f"http://me:{PROXY}@127.0.0.1:9") + 1
        assert "tini" in proof
        engine.docker("save", "-o", str(tmp_path / "saved.tar"), wanted.tag)
        history = engine.docker("history", "--no-trunc", wanted.tag)
        document = engine.docker("image", "inspect", wanted.tag)
    contents = everything((tmp_path / "saved.tar").read_bytes())
    left = [file.read_bytes() for file in (tmp_path / "context").rglob("*") if file.is_file()]
    texts = [history.encode(), json.dumps(document).encode(), "\n".join(messages).encode()]
    assert len(contents) > 1000
    for secret in (*PLANTED, MARK):
        assert not any(secret.encode() in each for each in [*contents, *left, *texts]), secret
