from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.cli.commands import services
from perdure.cli.serving import port
from perdure.cli.table import plain_lines
from perdure.services.listing import Service
from tests.cli.command import is_one_error, perdure

RUNNING = Service(
    name="jupyter",
    target="gpubox",
    state="running",
    port=20123,
    path="/lab",
    age_s=3700.0,
    idle_s=60.0,
    limit_s=7200.0,
    lifetime_s=86400.0,
)
CUT = Service(name="files", target="gpubox", state="running", limit_s=60.0, lifetime_s=60.0)
LOST = Service(name="files", target="lab", state="not reached", problem="cannot reach `lab`")


def test_a_table_says_where_and_until_when() -> None:
    head, first, second, third = plain_lines(services.service_table([RUNNING, CUT, LOST]))
    assert head.split() == ["NAME", "TARGET", "STATE", "ADDRESS", "AGE", "IDLE", "ENDS", "IN"]
    assert "http://127.0.0.1:20123/lab" in first
    assert "1 h 1 min" in first
    assert first.endswith("1 h 59 min")
    assert "running" in second
    assert third.split() == ["files", "lab", "not", "reached", "-", "-", "-", "-"]
    led = replace(LOST, port=20124)
    last = plain_lines(services.service_table([RUNNING, led]))[-1].split()
    assert last[4:] == ["http://127.0.0.1:20124/", "-", "-", "-"]


def test_what_nothing_leads_to_says_how_to_get_there() -> None:
    assert services.complaints([RUNNING, CUT, LOST]) == [
        "problem: cannot reach `lab`",
        "files: perdure files --on gpubox leads there",
    ]


def test_a_program_gets_the_address_and_no_token() -> None:
    found = services.as_json(RUNNING)
    assert found["address"] == "http://127.0.0.1:20123/lab"
    assert found["ends_in_s"] == 7140.0
    assert "token" not in json.dumps(found)
    assert services.as_json(CUT)["address"] is None


@pytest.mark.parametrize("text", ["0", "80", "1023", "65536", "-1", "8080.5", "http", "", "٨٠٨٠"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no port"):
        port(text)


def test_a_port_is_a_number() -> None:
    assert (port("1024"), port("65535")) == (1024, 65535)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("services", "--stop", "jupiter"), 2, ("no service `jupiter`", "did you mean `jupyter`")),
        (("jupyter", "--port", "80"), 2, ("`80` is no port",)),
        (("tensorboard", "--idle", "soon"), 2, ("`soon` is no duration",)),
        (("files", "--on", "dokcer"), 2, ("no target `dokcer`", "did you mean `docker`")),
        (("open", "nothing"), 2, ("nothing",)),
    ],
)
def test_what_cannot_be_meant_is_one_error(
    project: Path, words: tuple[str, ...], code: int, said: tuple[str, ...]
) -> None:
    assert is_one_error(perdure(*words, cwd=project), code, *said)


def test_a_project_without_services_has_none(project: Path) -> None:
    assert perdure("services", "--json", cwd=project).out.strip() == "[]"
    assert "there is none" in perdure("services", "--stop", "all", cwd=project).err
    assert perdure("services", "--stop", "all", "--json", cwd=project).out.strip() == "[]"
    done = perdure("tensorboard", "--stop", cwd=project)
    assert (done.code, "does not run" in done.err) == (0, True)


def test_a_job_of_this_machine_is_where_its_folder_is(project: Path) -> None:
    assert perdure("run", "--name", "one", "echo", cwd=project).code == 0
    done = perdure("open", "--no-browser", "one", cwd=project)
    assert (done.code, done.out) == (0, f"{project}/results/one\n")
