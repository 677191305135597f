from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.cli.commands import targets
from perdure.cli.table import plain_lines
from perdure.doctor.targets import Asked, Listed
from perdure.hosts.ssh import Ssh
from tests.cli.command import is_one_error, perdure
from tests.cli.terminal import on_terminal
from tests.engines.hosts import Hosts, Laptop


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "config" / "perdure" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[targets.gpubox]\nhost = "me@gpubox.invalid"\nroot = "/scratch/me"\n')
    return tmp_path


def test_the_list_asks_nobody(settings: Path) -> None:
    told = perdure("targets", cwd=settings)
    assert (told.code, told.err) == (0, "")
    rows = [line.split() for line in told.out.splitlines()]
    assert rows[0] == ["NAME", "KIND", "HOST", "ENGINE", "FOLDER", "SYNC"]
    assert [row[0] for row in rows[1:]] == ["local", "docker", "gpubox"]
    assert "me@gpubox.invalid" in rows[3]
    assert "/scratch/me" in rows[3]
    assert not (settings / ".perdure").exists()


def test_what_a_program_gets(settings: Path) -> None:
    listed = json.loads(perdure("targets", "--json", cwd=settings).out)
    assert [each["name"] for each in listed] == ["local", "docker", "gpubox"]
    assert listed[2]["host"] == "me@gpubox.invalid"
    assert listed[2]["checked"] is None
    told = perdure("targets", "--check", "--json", "gpubox", "gpubox", cwd=settings)
    (checked,) = json.loads(told.out)
    assert told.code == 1
    assert checked["checked"]["ok"] is False
    assert "no host of that name" in checked["checked"]["problem"]
    assert perdure("targets", "--check", "local", cwd=settings).code == 0


def test_what_is_wrong_is_told_whole(settings: Path) -> None:
    told = perdure("targets", "--check", "gpubox", cwd=settings)
    assert told.code == 1
    assert "problem: gpubox\n  cannot reach `gpubox`" in told.out
    assert "  remedy: " in told.out
    assert not (settings / ".perdure").exists()


def test_names_for_a_shell(settings: Path) -> None:
    assert perdure("targets", "--names", cwd=settings).out.split() == ["local", "docker", "gpubox"]
    (settings / "config" / "perdure" / "config.toml").write_text("[")
    told = perdure("targets", "--names", cwd=settings)
    assert (told.code, told.out, told.err) == (0, "", "")


def test_a_mistyped_name(settings: Path) -> None:
    mistyped = perdure("targets", "gpubx", cwd=settings)
    assert is_one_error(mistyped, 2, "no target `gpubx`", "did you mean `gpubox`?")
    ran = perdure("doctor", "$(x)", cwd=settings)
    assert is_one_error(ran, 2, "no target `$(x)`", "docker, gpubox, local")


def test_cells() -> None:
    target = Listed("lab", "ssh", "lab\x1b[2J", None, "~/perdure", "live")
    answer = Asked("docker 26.1.5", ("A100, 40 GB", "A100, 40 GB", "T4, 16 GB"), 2**30, 0.0204)
    heading, row = plain_lines(targets.checked_table([target], {"lab": answer}))
    assert heading.split() == ["NAME", "HOST", "STATE", "ENGINE", "GPUS", "DISK", "ROUND", "TRIP"]
    assert "2 x A100, 40 GB; T4, 16 GB" in row
    assert "1.0 GiB free" in row
    assert row.endswith("20 ms")
    assert "\x1b" not in row
    (_, row) = plain_lines(targets.checked_table([target], {"lab": Asked(problem="x")}))
    assert row.split()[2:] == ["problem", "-", "-", "-", "-"]


def test_a_group_is_felt_after_the_next_login(hosts_here: Hosts, settings: Path) -> None:
    config = settings / "config" / "perdure" / "config.toml"
    config.write_text('[targets.box]\nhost = "ada@gpu1"\n')
    assert perdure("targets", "--disconnect", cwd=settings).err == "box: no connection was kept\n"
    box = Ssh("box", "ada@gpu1")
    first = box.run(["sh", "-c", "echo $SSH_CONNECTION"], timeout_s=120).text
    assert box.run(["sh", "-c", "echo $SSH_CONNECTION"], timeout_s=120).text == first
    assert perdure("targets", "--disconnect", "box", cwd=settings).err == "box: disconnected\n"
    assert box.run(["sh", "-c", "echo $SSH_CONNECTION"], timeout_s=120).text != first


def test_a_second_factor_is_asked_for_once(hosts_here: Hosts, settings: Path) -> None:
    config = settings / "config" / "perdure" / "config.toml"
    config.write_text('[targets.box]\nhost = "grace@gpu1"\nengine = "process"\n')
    refused = perdure("targets", "--check", "box", cwd=settings)
    assert refused.code == 1
    assert "perdure doctor box, which may ask you" in refused.out
    with on_terminal("doctor", "box", cwd=settings, columns=200) as terminal:
        terminal.wait_for("password: ")
        terminal.type(b"tests\n")
        assert terminal.end() == 0, terminal.text
    assert "as `grace`" in terminal.text
    assert terminal.text.count("password: ") == 1
    checked = perdure("targets", "--check", "box", cwd=settings)
    assert checked.code == 0, checked.out


def test_from_a_laptop_as_an_ordinary_user(laptop: Laptop) -> None:
    laptop.hosts.engine("gpu1", "old")
    table = '[targets.{0}]\nhost = "{1}"\nengine = "process"\n'
    laptop.configure(table.format("gpubox", "gpu1") + table.format("far", "gpu1-rtt20"))
    told = laptop.perdure("targets", "--check", "--json", "gpubox", "far")
    near, far = json.loads(told.out)
    assert near["checked"]["engine"].startswith("process, "), near
    assert far["checked"]["round_trip_s"] >= 0.02
    assert told.code == 0
    looked = laptop.perdure("doctor", "gpubox")
    assert looked.code == 0, looked.out
    assert "as `ada`" in looked.out
    laptop.hosts.cut("gpu1")
    told = laptop.perdure("targets", "--check", "gpubox")
    assert (told.code, "problem: gpubox" in told.out) == (1, True)
