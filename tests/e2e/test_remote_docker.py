"""Containers of another host, as somebody at a laptop has them who reaches it by ssh."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from perdure.runtime.result import Result, read_result
from perdure.targets.invocation import container_name
from perdure.targets.place import folder_name
from tests.cli.command import Ended
from tests.engines.hosts import Hosts, Laptop
from tests.jobs.projects import TRAINING

PATIENCE_S = 900
_PROJECT = """\
[project]
name = "cats"
version = "0.1"
requires-python = ">=3.9"

[tool.perdure]
format = 1
package = "cats"

[tool.perdure.tasks]
train = "python train.py"
"""


@dataclass(frozen=True)
class House:
    """A user at the laptop, their project, and gpu1 with its engine, which they reach."""

    laptop: Laptop
    project: Path
    root: Path
    host: str = "gpu1"
    kind: str = "old"

    @property
    def hosts(self) -> Hosts:
        return self.laptop.hosts

    @property
    def there(self) -> Path:
        """The project's folder on the host: this process sees it too."""
        return self.root / folder_name(self.project, f"ada@{self.host}")

    def perdure(self, *words: str, code: int = 0, cwd: Path | None = None) -> Ended:
        ended = self.laptop.perdure(*words, cwd=cwd or self.project, timeout_s=PATIENCE_S)
        assert ended.code == code, ended
        return ended

    def typed(self, keys: str, *words: str) -> tuple[int, str]:
        """Return how a command ended on a terminal where `keys` are typed, and the text."""
        mine, theirs = os.openpty()
        argv = self.laptop.command(*self.laptop.main(), *words, cwd=self.project)
        process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        os.write(mine, keys.encode())
        text = b""
        with contextlib.suppress(OSError):  # the other side is closed
            while data := os.read(mine, 1 << 16):
                text += data
        os.close(mine)
        return process.wait(60), text.decode("utf-8", "replace")

    def docker(self, *words: str) -> str:
        ended = self.hosts.run(self.host, "docker", *words)
        assert ended.code == 0, ended
        return ended.out.strip()

    def state(self, job: str) -> str:
        listed = json.loads(self.perdure("ps", "--all", "--json").out)
        return next(str(each["state"]) for each in listed if each["job"] == job)

    def events(self, job: str, attempt: int = 1) -> list[dict[str, object]]:
        """Return what a job has told, read on gpu1 itself."""
        file = self.there / "results" / job / "attempts" / f"{attempt:06d}.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def result(self, job: str) -> Result:
        """Return what a job came to, read on gpu1 itself."""
        found = read_result(str(self.there / "results" / job))
        assert found is not None
        assert found.complete
        return found

    def until(self, what: Callable[[], bool], patience_s: float = 60) -> None:
        deadline = time.monotonic() + patience_s
        while not what():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)

    def until_step(self, job: str, attempt: int = 1) -> None:
        self.until(lambda: any(e["event"] == "durable" for e in self.events(job, attempt)))

    def until_events(self, job: str, count: int) -> None:
        self.until(lambda: len(self.events(job)) >= count)

    def until_state(self, job: str, state: str) -> None:
        self.until(lambda: self.state(job) == state, PATIENCE_S / 2)

    def owners(self) -> set[int]:
        return {path.lstat().st_uid for path in self.there.rglob("*")}

    def containers(self) -> list[str]:
        label = f"label=perdure.project={self.there}"
        return self.docker("ps", "--all", "--format", "{{.Names}}", "--filter", label).split()


@pytest.fixture(params=["old", pytest.param("modern", marks=pytest.mark.long)])
def house(laptop: Laptop, request: pytest.FixtureRequest) -> Iterator[House]:
    yield from _house(laptop, "gpu1", request.param)


@pytest.fixture
def bare_house(laptop: Laptop) -> Iterator[House]:
    """The same with `bare`, which has no Python."""
    yield from _house(laptop, "bare")


def _house(laptop: Laptop, host: str, kind: str = "old") -> Iterator[House]:
    hosts = laptop.hosts
    hosts.engine(host, kind)
    root = hosts.place(host) / laptop.folder.name
    hosts.run(host, "install", "-d", "-o", "ada", str(root))
    laptop.configure(f'[targets.gpubox]\nhost = "ada@{host}"\nroot = "{root}"\n')
    project = laptop.folder / "my 'cats'"
    (project / "src" / "cats").mkdir(parents=True)
    (project / "src" / "cats" / "__init__.py").write_text("")
    (project / "pyproject.toml").write_text(_PROJECT)
    (project / "train.py").write_text(TRAINING)
    made = House(laptop, laptop.give(project), root, host, kind)
    yield made
    hosts.start(host)
    hosts.engine(host, kind)
    words = ("ps", "--all", "--filter", "label=perdure.project", "--format")
    for line in made.docker(*words, '{{.Names}} {{.Label "perdure.project"}}').splitlines():
        if line.partition(" ")[2].startswith(str(root)):
            made.docker("rm", "--force", line.partition(" ")[0])
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.timeout(PATIENCE_S)
def test_jobs_in_containers_of_another_host(house: House) -> None:
    said = house.perdure("run", "--on", "gpubox", "--name", "first", "train", "20")
    assert "done at 20" in said.out
    assert house.owners() == {1000}
    tag = house.perdure("build", "--on", "gpubox").out.strip()
    told = house.perdure("run", "--on", "gpubox", "--explain", "train", "3").out
    assert f"--entrypoint=python {tag} " in told
    assert f"{house.there.name[-8:]}/results,target=/project/results" in told
    house.perdure("run", "--on", "gpubox", "--name", "long", "-d", "train", "1000000")
    house.until_step("long")
    inside = house.perdure("attach", "long", "--", "sh", "-c", "pwd; id -u; hostname")
    assert inside.out.split()[:2] == ["/project/code", "1000"]
    code, text = house.typed("tty; id -u; exit 5\r", "attach", "long")
    assert (code, "/dev/pts/0" in text, "1000" in text) == (5, True, True), text
    assert "from step 0" in house.perdure("logs", "long").out
    house.perdure("interrupt", "long")
    house.until_state("long", "INTERRUPTED")
    # It was asked for, and so the engine leaves it.
    name = container_name(house.there, "long")
    assert house.docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name) == (
        "exited 0"
    )
    house.perdure("resume", "-d", "long")
    house.until_state("long", "RUNNING")
    house.perdure("kill", "long")
    assert house.state("long") == "CANCELLED"
    assert house.containers() == []


@pytest.mark.timeout(PATIENCE_S)
def test_a_job_goes_on_by_itself_when_the_power_is_back(house: House) -> None:
    house.perdure("run", "--on", "gpubox", "--name", "lost", "-d", "train", "500")
    house.until_step("lost")
    house.hosts.kill("gpu1")
    assert house.state("lost") in ("STARTING", "RUNNING")  # what it said last
    house.hosts.start("gpu1")
    house.perdure("logs", "-f", "lost")
    house.until_state("lost", "SUCCEEDED")
    first, second = house.events("lost"), house.events("lost", 2)
    assert first[-1]["event"] != "ended"
    (restored,) = (event for event in second if event["event"] == "restored")
    assert int(str(restored["step"])) >= 3
    assert (second[-1]["event"], second[-1]["state"]) == ("ended", "SUCCEEDED")
    said = house.perdure("logs", "lost").out
    assert said.rstrip().endswith("done at 500")
    assert house.owners() == {1000}


@pytest.mark.timeout(PATIENCE_S)
def test_what_was_asked_to_stop_stays_so(house: House) -> None:
    for name in ("asked", "shut"):
        house.perdure("run", "--on", "gpubox", "--name", name, "-d", "train", "1000000")
        house.until_step(name)
    house.perdure("interrupt", "asked")
    house.until_state("asked", "INTERRUPTED")
    house.hosts.engine("gpu1", "none")
    assert house.state("shut") == "INTERRUPTED"
    house.hosts.engine("gpu1", house.kind)
    # An orderly shutdown is nobody's wish.
    house.until(lambda: any(e["event"] == "restored" for e in house.events("shut", 2)))
    assert house.state("shut") == "RUNNING"
    assert house.state("asked") == "INTERRUPTED"
    assert house.events("asked", 2) == []
    # What is killed while its engine is down is not begun again by it either.
    house.hosts.engine("gpu1", "none")
    house.perdure("kill", "shut")
    house.hosts.engine("gpu1", house.kind)
    time.sleep(3)
    assert house.state("shut") == "CANCELLED"
    assert house.events("shut", 3) == []
    assert house.owners() == {1000}


@pytest.mark.timeout(PATIENCE_S)
def test_a_container_to_develop_in_on_another_host(house: House) -> None:
    link_data(house)
    said = house.perdure("up", "--on", "gpubox", "--git", "--env", "MINE=1").err
    assert "it is up on `gpubox`" in said
    script = "id -u; hostname; cat data/cat.txt /project/data/cat.txt; git config user.email; pwd"
    inside = house.perdure("shell", "--", "sh", "-c", f"{script}; touch made; echo $MINE")
    assert inside.out.split("\n") == [
        *("1000", "cats", "meow", "meow", "tests@perdure.invalid", "/project/code", "1", "")
    ]
    assert (house.there / "made").stat().st_uid == 1000
    file = house.project / "src" / "cats" / "say.py"
    for word in ("first", "second"):
        file.write_text(f"print('{word}')\n")
        house.laptop.give(file)
        assert house.perdure("shell", "--", "python", "-m", "cats.say").out == f"{word}\n"
    assert "up, from perdure/cats:dev" in house.perdure("logs").out
    code, text = house.typed("tty; pwd; exit 6\r", "shell")
    assert (code, "/dev/pts/" in text, "/project/code" in text) == (6, True, True), text
    file.write_text("print('third')\n")
    house.until(lambda: "third" in (house.there / "src" / "cats" / "say.py").read_text(), 10)
    house.perdure("stop")
    file.write_text("print('fourth')\n")
    name = container_name(house.there, "dev")
    assert house.docker("inspect", "--format", "{{.State.Status}}", name) == "exited"
    assert house.perdure("shell", "--", "sh", "-c", "cd src/cats && pwd").out.endswith("src/cats\n")
    assert "fourth" in (house.there / "src" / "cats" / "say.py").read_text()
    leave(house)


def link_data(house: House) -> None:
    """Have the project's data on the host be a link to another folder there."""
    sets = house.root / "sets"
    house.there.mkdir()
    sets.mkdir()
    (sets / "cat.txt").write_text("meow\n")
    (house.there / "data").symlink_to(sets)
    house.hosts.run("gpu1", "chown", "-Rh", "ada:ada", str(house.root))


def leave(house: House) -> None:
    """Remove the container, after asking for what cannot be had on another host."""
    refused = house.perdure("up", "--ssh-agent", code=2).err
    assert "`--ssh-agent`: the container is on `gpubox`" in refused
    house.perdure("down", "--yes")
    assert house.containers() == []
    assert house.owners() == {1000}


@pytest.mark.long
@pytest.mark.install
@pytest.mark.timeout(2 * PATIENCE_S)
def test_the_template_on_another_host(house: House) -> None:
    done = house.perdure("demo", "--on", "gpubox", "my demo", cwd=house.laptop.folder)
    assert re.search(r"^identical: weights [0-9a-f]{16}, 230 metric rows$", done.out, re.MULTILINE)
    demo = replace(house, project=house.laptop.folder / "my demo")
    drilled = demo.perdure("drill", "--on", "gpubox", "-n", "10", "train", "--", "--epochs", "2")
    assert drilled.out.startswith("10/10 bit-exact"), drilled
    for name in ("whole", "cut", "killed"):
        words = ("--on", "gpubox", "--seed", "3", "--name", name, "-d", "train", "--epochs", "12")
        demo.perdure("run", *words)
        if name != "whole":
            demo.until_events(name, 6)
        if name == "cut":
            demo.hosts.cut("gpu1")
            time.sleep(30)
            demo.hosts.mend("gpu1")
        if name == "killed":
            demo.hosts.kill("gpu1")
            demo.hosts.start("gpu1")
        demo.until_state(name, "SUCCEEDED")
    ends = [demo.result(name) for name in ("whole", "cut", "killed")]
    assert len({(end.weights, end.metrics) for end in ends}) == 1
    assert len(demo.events("killed", 2)) > 0
    assert demo.owners() == {1000}


@pytest.mark.timeout(PATIENCE_S)
def test_a_host_without_python(bare_house: House) -> None:
    house = bare_house
    assert house.hosts.run("bare", "python3", "--version").code == 127
    said = house.perdure("run", "--on", "gpubox", "--name", "first", "train", "20")
    assert "done at 20" in said.out
    house.perdure("run", "--on", "gpubox", "--name", "long", "-d", "train", "1000000")
    house.until_step("long")
    inside = house.perdure("attach", "long", "--", "sh", "-c", "pwd; id -u")
    assert inside.out.split()[:2] == ["/project/code", "1000"]
    house.perdure("kill", "long")
    assert house.state("long") == "CANCELLED"
    house.perdure("sync", "--on", "gpubox")
    assert (house.there / "src" / "cats" / "__init__.py").is_file()
    house.perdure("up", "--on", "gpubox")
    (house.project / "new.txt").write_text("new\n")
    assert house.perdure("shell", "--", "cat", "new.txt").out == "new\n"
    house.perdure("down", "--yes")
    assert house.owners() == {1000}
