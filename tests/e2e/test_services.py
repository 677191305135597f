"""Services of another host, opened on a laptop: reached with their token, and by nobody else."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.command import Ended, is_one_error
from tests.engines.hosts import Hosts, Laptop
from tests.waiting import until

pytestmark = [pytest.mark.install, pytest.mark.timeout(600)]

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)(/\S*)\?token=(\S+)")
PROJECT = """\
[project]
name = "chain"
version = "0"
[tool.perdure]
format = 1
package = "chain"
[tool.perdure.tasks]
train = "python train.py"
"""
#: Ask for an address; say the status, then the answer. 0: nobody answers.
ASK = """\
import sys, urllib.error, urllib.request
headers = {"Authorization": "token " + sys.argv[2]} if sys.argv[2:] else {}
try:
    request = urllib.request.Request(sys.argv[1], headers=headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        print(answer.status, answer.read().decode("utf-8", "replace"))
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode("utf-8", "replace"))
except OSError as error:
    print(0, error)
"""
LISTEN = """\
import socket, sys, time
with socket.socket() as taken:
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", int(sys.argv[1])))
    taken.listen()
    print("listening", flush=True)
    time.sleep(600)
"""


class Opened:
    """An address as it was printed."""

    def __init__(self, ended: Ended) -> None:
        assert ended.code == 0, ended
        found = ADDRESS.fullmatch(ended.out.strip())
        assert found, ended
        self.port, self.path, self.token = int(found[1]), found[2], found[3]
        self.plain = f"http://127.0.0.1:{self.port}{self.path}"
        self.said = ended.err


class Person:
    """Somebody with a project on a laptop, whose services run on gpu1."""

    def __init__(self, laptop: Laptop, folder: Path) -> None:
        self.laptop = laptop
        self.hosts = laptop.hosts
        self.folder = folder
        # In the path of all that is this person's, on every host.
        self.name = laptop.folder.name

    def perdure(self, *words: str, env: dict[str, str] | None = None) -> Ended:
        return self.laptop.perdure(*words, cwd=self.folder, env=env, timeout_s=300)

    def files(self, *words: str) -> Opened:
        return Opened(self.perdure("files", "--on", "gpu1", "--no-browser", *words))

    def ask(self, address: str, *token: str, host: str = "laptop") -> tuple[int, str]:
        """Return the status and the text of an answer, asked for on a host."""
        argv = ("/usr/bin/python3", "-c", ASK, address, *token)
        done = self.hosts.run(host, *argv, user="ada")
        status, _, text = done.out.partition(" ")
        return int(status), text

    def far_port(self) -> int:
        """Return the port that the service has on gpu1."""
        root = self.hosts.place("gpu1") / self.name
        (state,) = root.glob("*/.perdure/services/files/state.json")
        return int(json.loads(state.read_bytes())["port"])

    def listed(self) -> list[dict[str, object]]:
        done = self.perdure("services", "--json")
        assert done.code == 0, done
        found: list[dict[str, object]] = json.loads(done.out)
        return found


@pytest.fixture
def person(laptop: Laptop) -> Iterator[Person]:
    hosts = laptop.hosts
    root = hosts.place("gpu1") / laptop.folder.name
    hosts.run("gpu1", "install", "-d", "-o", "ada", str(root))
    laptop.configure(f'[targets.gpu1]\nhost = "gpu1"\nengine = "process"\nroot = "{root}"\n')
    folder = laptop.folder / "the 'chain'"
    (folder / "src" / "chain").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "train.py").write_text("print('hello')\n")
    person = Person(laptop, laptop.give(folder))
    yield person
    person.perdure("services", "--stop", "all")
    hosts.run("gpu1", "rm", "-rf", str(root))


def wait(condition: Callable[[], bool], what: str) -> None:
    until(condition, told=lambda: what, every_s=0.5)


def processes(hosts: Hosts, host: str) -> str:
    return hosts.run(host, "ps", "axeww", "-o", "args=").out


def test_files_of_another_host_are_open_here_and_to_nobody_else(person: Person) -> None:
    assert person.perdure("run", "--on", "gpu1", "--name", "one", "train").code == 0
    opened = person.files()
    status, text = person.ask(opened.plain, opened.token)
    assert (status, "one" in text) == (200, True)
    status, text = person.ask(f"{opened.plain}one/logs/000001.log", opened.token)
    assert (status, text) == (200, "hello\n\n")
    # Without the token: here, there, and from elsewhere.
    far = person.far_port()
    assert person.ask(opened.plain)[0] == 401
    assert person.ask(opened.plain, "wrong")[0] == 401
    assert person.ask(f"http://127.0.0.1:{far}/results/", host="gpu1")[0] == 401
    assert person.ask(f"http://127.0.0.1:{far}/results/", opened.token, host="gpu1")[0] == 200
    for host, port in (("gpu1", far), ("laptop", opened.port)):
        address = f"http://{person.hosts.address(host)}:{port}/results/"
        assert person.ask(address, opened.token, host="gpu2")[0] == 0
    # Nor does any list of processes tell it.
    for host in ("laptop", "gpu1"):
        assert opened.token not in processes(person.hosts, host)


def test_one_that_runs_is_found_again_listed_and_stopped_with_all_of_it(person: Person) -> None:
    first, again = person.files(), person.files()
    assert (again.port, again.token) == (first.port, first.token)
    assert "runs already" in again.said
    (listed,) = person.listed()
    assert (listed["name"], listed["target"], listed["state"]) == ("files", "gpu1", "running")
    assert listed["port"] == first.port
    assert first.token not in json.dumps(listed)
    table = person.perdure("services").out
    assert f"http://127.0.0.1:{first.port}/results/" in table
    refused = person.perdure("files", "--on", "gpu1", "--write")
    assert is_one_error(refused, 3, "read only", "perdure files --stop --on gpu1")
    stopped = person.perdure("files", "--on", "gpu1", "--stop")
    assert (stopped.code, "files is stopped" in stopped.err) == (0, True), stopped
    assert person.ask(first.plain)[0] == 0
    for host in ("laptop", "gpu1"):
        own = [line for line in processes(person.hosts, host).splitlines() if person.name in line]
        assert not [line for line in own if "copyparty" in line or "perdure.services" in line]
    assert person.listed() == []
    assert "does not run" in person.perdure("files", "--on", "gpu1", "--stop").err


def test_a_port_in_use_is_said_and_another_one_taken(person: Person) -> None:
    port = person.files().port
    person.perdure("services", "--stop", "all")
    argv = person.laptop.command("/usr/bin/python3", "-c", LISTEN, str(port))
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as taken:
        assert taken.stdout is not None
        taken.stdout.readline()
        refused = person.perdure("files", "--on", "gpu1", "--port", str(port))
        assert is_one_error(refused, 3, f"port {port} is in use", "--port")
        other = person.files()
        assert other.port != port
        assert f"port {port} is in use: {other.port} is taken" in other.said
        taken.kill()
    moved = person.files("--port", "23456")
    assert (moved.port, moved.token) == (23456, other.token)


@pytest.mark.long
def test_a_lost_connection_is_made_again(person: Person) -> None:
    opened = person.files()
    person.hosts.cut("gpu1")
    wait(lambda: person.ask(opened.plain, opened.token)[0] == 503, "nobody says that it is away")
    assert "gpu1 is not reached" in person.ask(opened.plain, opened.token)[1]
    away = person.perdure("services", "--json")
    assert json.loads(away.out)[0]["state"] == "not reached"
    refused = person.perdure("files", "--on", "gpu1")
    assert is_one_error(refused, 4, "gpu1")
    person.hosts.mend("gpu1")
    wait(lambda: person.ask(opened.plain, opened.token)[0] == 200, "it is not made again")


def test_the_end_of_ssh_is_not_the_end_of_the_address(person: Person) -> None:
    opened = person.files()
    person.laptop.run("ssh", "-O", "exit", "-o", "ControlPath=/run/user/1000/perdure/%C", "gpu1")
    wait(lambda: person.ask(opened.plain, opened.token)[0] == 200, "it is not made again")


def test_a_host_that_lost_power_has_none_and_can_have_them_again(person: Person) -> None:
    opened = person.files()
    person.hosts.kill("gpu1")
    person.hosts.start("gpu1")
    again = person.files()
    assert again.token != opened.token
    assert person.ask(again.plain, again.token)[0] == 200
    assert person.ask(again.plain, opened.token)[0] == 401


def test_the_run_folder_of_a_job_there_is_opened_in_the_browser(person: Person) -> None:
    assert person.perdure("run", "--on", "gpu1", "--name", "one", "train").code == 0
    note, browser = person.laptop.folder / "note", person.laptop.folder / "browser"
    browser.write_text(f"#!/bin/sh\nprintf '%s' \"$*\" >{note}\n")
    browser.chmod(0o755)
    done = person.perdure("open", "one", env={"BROWSER": str(browser)})
    opened = Opened(done)
    assert opened.path == "/results/one/"
    wait(note.exists, "the browser was not started")
    assert opened.token not in note.read_text()
    assert note.read_text().startswith("file:///")
    assert person.ask(opened.plain, opened.token)[0] == 200


def test_no_browser_is_no_error(person: Person) -> None:
    done = person.perdure("files", "--on", "gpu1")
    Opened(done)
    assert "no browser was found" in done.err
