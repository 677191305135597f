"""This machine's mirrors and passwords in a container: used there, and told to nobody."""

from __future__ import annotations

import base64
import http.server
import io
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.development import mirrors
from perdure.development.lifecycle import remove, start, stop
from perdure.development.mirrors import MACHINE, WHEELS, files_of, folder_of, with_machine
from perdure.development.standing import State, look, open_session
from perdure.development.wishes import Wishes
from perdure.environments.apt_machine import AptSettings
from perdure.errors import UsageError
from perdure.images import secrets
from perdure.images.secrets import Secrets
from perdure.model.image import ImageUser
from perdure.model.report import silent
from tests.development.person import Person
from tests.development.yard import Yard, make_yard
from tests.engines.engines import RealEngine
from tests.engines.user import OrdinaryUser

PASSWORD = "hunter2-in-a-url"
PROXY = "hunter3-in-a-proxy"
APT = "hunter4-in-apt"
NETRC = "hunter5-in-netrc"
MARK = "CERTIFICATE-OF-THE-TEST"
PLANTED = (PASSWORD, PROXY, APT, NETRC, MARK)
ALL = Wishes(mirrors=True)


def test_what_a_shell_reads(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text(MARK)
    contents = {
        "machine": "export PIP_INDEX_URL=u\n",
        "netrc": "machine h\n",
        "apt_sources": "Types: deb\n",
        "apt_conf": 'Acquire::Retries "3";\n',
        "apt_auth": "machine m\n",
    }
    files = files_of(Secrets(contents, {"ca": tmp_path / "bundle"}), 2)
    assert set(files) == {
        *("environment", "netrc", "ca.pem", "apt.conf", "apt.sources", "apt.auth")
    }
    lines = files["environment"].decode().splitlines()
    assert lines[0] == "export PIP_INDEX_URL=u"
    for line in (
        f"export NETRC={MACHINE}/netrc",
        f"export SSL_CERT_FILE={MACHINE}/ca.pem",
        f"export APT_CONFIG={MACHINE}/apt.conf",
        f"export PIP_FIND_LINKS='{WHEELS}/0 {WHEELS}/1'",
        f"export UV_FIND_LINKS={WHEELS}/0,{WHEELS}/1",
    ):
        assert line in lines
    apt = files["apt.conf"].decode()
    assert apt.startswith('APT::Sandbox::User "root";\nAcquire::Retries "3";\n')
    assert f'Dir::Etc::sourcelist "{MACHINE}/apt.sources";' in apt


def test_a_machine_that_was_told_nothing_tells_nothing() -> None:
    assert files_of(Secrets({}, {}), 0) == {"environment": b""}


def test_the_folder_is_the_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a 'b'" / "c"
    mirrors.write(folder, {"a": b"1", "b": b"2"}, ImageUser(1000, 1000))
    mirrors.write(folder, {"b": b"3"}, ImageUser(1000, 1000))
    assert [each.name for each in folder.iterdir()] == ["b"]
    assert (folder / "b").read_bytes() == b"3"
    assert [folder.stat().st_mode & 0o777, (folder / "b").stat().st_mode & 0o777] == [0o700, 0o600]
    if os.geteuid() == 0:
        assert {folder.stat().st_uid, (folder / "b").stat().st_uid} == {1000}
    mirrors.remove(folder)
    mirrors.remove(folder)
    assert not folder.exists()


def test_a_container_of_somebody_elses_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(UsageError, match="runs as user 1000, and you are 1234"):
        mirrors.write(tmp_path / "x", {"a": b""}, ImageUser(1000, 1000))
    assert not (tmp_path / "x").exists()


@pytest.fixture
def yard(engine: RealEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """Return a project on a machine that was told every secret there is."""
    home = tmp_path / "home"
    (home / "pip").mkdir(parents=True)
    (home / "wheels").mkdir()
    (home / "wheels" / "a.whl").touch()
    (home / "ca.pem").write_text(MARK)
    (home / ".netrc").write_text(f"machine h.invalid login me password {NETRC}\n")
    (home / "pip" / "pip.conf").write_text(
        f"[global]\nindex-url = http://me:{PASSWORD}@h.invalid/simple\n"
        f"find-links = {home / 'wheels'}\n"
    )
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "SSL_CERT_FILE": str(home / "ca.pem"),
        "HTTPS_PROXY": f"http://me:{PROXY}@p.invalid:3128",
    }.items():
        monkeypatch.setenv(name, value)
    told = AptSettings(
        "Types: deb\nURIs: http://m.invalid/debian\nSuites: bookworm\nComponents: main\n",
        'Acquire::Retries "0";\n',
        f"machine m.invalid login me password {APT}\n",
    )
    monkeypatch.setattr(secrets, "machine_apt", lambda release: told)
    yield from make_yard(engine, tmp_path, monkeypatch)


def test_all_of_it_is_there_and_none_of_it_is_told(yard: Yard) -> None:
    yard.up(ALL)
    session = yard.session
    seen = with_machine(("sh", "-c", "env; cat $NETRC $SSL_CERT_FILE; ls $PIP_FIND_LINKS; id -u"))
    said = yard.said(*seen)
    for secret in (PASSWORD, PROXY, NETRC, MARK, "a.whl", "1000"):
        assert secret in said, secret
    asked = with_machine(("sh", "-c", "apt-config dump; cat $(dirname $APT_CONFIG)/apt.auth; env"))
    as_root = yard.said(*asked, root=True)
    assert f'Dir::Etc::sourcelist "{MACHINE}/apt.sources";' in as_root
    assert APT in as_root
    tried = yard.said(*with_machine(("sh", "-c", "apt-get update 2>&1 || true")), root=True)
    assert "m.invalid" in tried
    assert "debian.org" not in tried
    assert yard.run("sh", "-c", f"! echo x > {MACHINE}/environment") == 0
    assert PASSWORD in shelled(yard, "printenv PIP_INDEX_URL")

    assert not any(secret in all_that_is_told(yard) for secret in PLANTED)
    folder = folder_of(session)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert look(session).wishes == ALL
    stop(session, look(session), report=silent, grace_s=1)
    remove(session, look(session), report=silent)
    assert not folder.exists()


def shelled(yard: Yard, line: str) -> str:
    """Return what a command of `perdure shell` wrote, by way of the home that outlives it."""
    assert yard.run("sh", "-c", f"({line}) > ~/told") == 0
    return (yard.session.project.state / "home" / "told").read_text()


def all_that_is_told(yard: Yard) -> str:
    """Return all that the engine tells of the container, its files, and an image made of it."""
    name, docker = yard.session.container, yard.engine.docker
    tag = f"{name}:told"
    try:
        docker("commit", name, tag)
        told = [docker("inspect", name), docker("inspect", tag), docker("history", tag)]
        (image,) = docker("create", tag).split()
        archive = yard.session.project.root / "exported.tar"
        docker("export", "-o", str(archive), image)
        docker("rm", image)
        told.append(archive.read_bytes().decode("latin-1"))
    finally:
        docker("rmi", "--force", tag, check=False)
    return "\n".join([*told, docker("top", name), docker("logs", name)])


def test_what_changes_here_is_brought_up_to_date(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.up(ALL)
    stop(yard.session, look(yard.session), report=silent, grace_s=1)
    shutil.rmtree(folder_of(yard.session))
    monkeypatch.setenv("HTTPS_PROXY", "http://other.invalid:1")
    session = open_session(yard.session.workspace)
    start(session, look(session), report=silent)
    assert shelled(yard, "printenv https_proxy") == "http://other.invalid:1\n"
    monkeypatch.setenv("HTTPS_PROXY", "http://third.invalid:1")
    session = open_session(yard.session.workspace)
    start(session, look(session), report=silent)
    assert shelled(yard, "printenv https_proxy") == "http://third.invalid:1\n"


def test_unasked_nothing_is_handed_over(yard: Yard) -> None:
    yard.up()
    assert not folder_of(yard.session).exists()
    told = shelled(yard, f"env; ls {MACHINE} 2>&1 || true")
    assert "No such file" in told
    assert PASSWORD not in told
    assert look(yard.session).state is State.RUNNING


class Index(http.server.BaseHTTPRequestHandler):
    """A package index of one package that wants a password."""

    def do_GET(self) -> None:
        wanted = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {wanted}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic realm=x")
            self.end_headers()
            return
        if self.path not in ("/simple/perdure-tests-tiny/", f"/{WHEEL}"):
            self.send_error(404)
            return
        page = f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()
        content = tiny() if self.path.endswith(".whl") else page
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


WHEEL = "perdure_tests_tiny-1.0-py3-none-any.whl"


def tiny() -> bytes:
    """Return a wheel of one empty module."""
    buffer = io.BytesIO()
    folder = "perdure_tests_tiny-1.0.dist-info"
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr("perdure_tests_tiny.py", "")
        metadata = "Metadata-Version: 2.1\nName: perdure-tests-tiny\nVersion: 1.0\n"
        wheel.writestr(f"{folder}/METADATA", metadata)
        wheel.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{folder}/RECORD", "")
    return buffer.getvalue()


@pytest.fixture
def index() -> Iterator[str]:
    """Return the URL of an index at this machine's loopback, with its password."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://me:{PASSWORD}@127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    server.server_close()


DYNAMIC = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "my.cats"
dynamic = ["version"]
requires-python = "==3.11.*"
dependencies = []

[project.scripts]
cats-look = "cats:look"

[tool.setuptools.dynamic]
version = { attr = "cats.VERSION" }

[tool.perdure]
format = 1
package = "cats"
"""
CATS = 'VERSION = "4.2"\n\ndef look():\n    print("looked")\n'


@pytest.mark.install
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "engine", ["modern", pytest.param("old", marks=pytest.mark.long)], indirect=True
)
def test_pip_and_uv_install_and_so_does_a_backend_that_has_to_run(
    engine: RealEngine, as_user: OrdinaryUser, index: str
) -> None:
    person = Person(as_user, engine)
    try:
        person.write(DYNAMIC)
        (person.root / "src" / "cats" / "__init__.py").write_text(CATS)
        person.variables["PIP_EXTRA_INDEX_URL"] = index
        up = person.perdure("up", "--mirrors")
        assert up.code == 0, up.err
        assert "warning" not in up.err
        look = "import importlib.metadata as m; print(m.version('my-cats'))"
        assert person.perdure("shell", "--", "python", "-c", look).out == "4.2\n"
        assert person.perdure("shell", "--", "cats-look").out == "looked\n"
        for tool in (("pip",), ("uv", "pip")):
            words = ("install", "--no-deps", "perdure-tests-tiny")
            installed = person.perdure("shell", "--", *tool, *words)
            assert installed.code == 0, installed.err
            gone = ("uninstall", *(["--yes"] if tool == ("pip",) else []), "perdure-tests-tiny")
            assert person.perdure("shell", "--", *tool, *gone).code == 0
        told = person.engine.docker("inspect", person.container)
        assert PASSWORD not in told
        down = person.perdure("down")
        # The project itself was not installed by hand.
        assert down.code == 0, down.err
        assert not list((as_user.home / ".cache" / "perdure" / "machine").iterdir())
        assert as_user.of_others(person.root) == []
    finally:
        engine.docker("rm", "--force", "--volumes", person.container, check=False)
