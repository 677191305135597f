"""Containers of another host, as somebody at a laptop has them who reaches it by ssh."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from perdure.targets.invocation import container_name
from tests.e2e.house import PATIENCE_S, House, make_house
from tests.engines.hosts import Laptop


@pytest.fixture(params=["old", pytest.param("modern", marks=pytest.mark.long)])
def house(laptop: Laptop, request: pytest.FixtureRequest) -> Iterator[House]:
    with make_house(laptop, kind=request.param) as made:
        yield made


@pytest.fixture
def bare_house(laptop: Laptop) -> Iterator[House]:
    """The same with `bare`, which has no Python."""
    with make_house(laptop, "bare") as made:
        yield made


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
