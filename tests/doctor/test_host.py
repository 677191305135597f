"""What the doctor says of hosts: real ones, and what they may say of themselves."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.cli.commands.doctor import summary
from perdure.doctor import host
from perdure.doctor.finding import Finding, Verdict, problem
from perdure.doctor.host import LOOK, Looked, examine_host
from perdure.hosts.host import HostFacts
from perdure.hosts.ssh import Ssh
from perdure.model.settings import TargetSettings
from tests.cli.command import is_one_error, perdure
from tests.engines.hosts import Hosts

OK, WARNING, PROBLEM = Verdict.OK, Verdict.WARNING, Verdict.PROBLEM
FACTS = HostFacts("Linux 6 x86_64", "3.11.2", "ada", "/home/ada", 8, 2**34, 2**40, (), 0.0, 0.02)


def by_name(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {each.name: each for each in findings}


def looked(**said: str) -> Looked:
    target = TargetSettings("ada@gpubox")
    return Looked(Ssh("gpubox", "ada@gpubox"), target, said, FACTS)


def test_a_host_that_is_well(hosts_here: Hosts) -> None:
    hosts_here.engine("gpu1", "old")
    found = by_name(examine_host("box", TargetSettings("ada@gpu1")))
    assert {name: each.verdict for name, each in found.items() if each.verdict is not OK} == {}
    assert f"ada@{hosts_here.address('gpu1')} port 22" in found["ssh"].seen
    assert "as `ada`" in found["machine"].seen
    assert found["engine"].seen.startswith("docker 20.10")
    assert "`/home/ada/perdure`" in found["disk"].seen
    assert found["clock"].seen.startswith("within 0.0")
    assert "rsync" in found["programs"].seen


def test_a_host_without_python_runs_containers(hosts_here: Hosts) -> None:
    hosts_here.engine("bare", "old")
    found = by_name(examine_host("bare", TargetSettings("bare", root="/srv/x")))
    assert found["python"].verdict is Verdict.WARNING
    assert "of an image is lent to it" in found["python"].seen
    assert found["engine"].seen.startswith("docker 20.10")
    assert {"ssh", "disk", "inotify", "programs"} <= set(found)


def test_a_user_who_is_not_in_the_group(hosts_here: Hosts) -> None:
    hosts_here.engine("gpu1", "old")
    hosts_here.run("gpu1", "chgrp", "root", "/run/docker.sock")
    try:
        found = by_name(examine_host("box", TargetSettings("ada@gpu1")))
    finally:
        hosts_here.run("gpu1", "chgrp", "docker", "/run/docker.sock")
    assert found["engine"].verdict is PROBLEM
    assert "permission denied" in found["engine"].seen
    assert "usermod -aG docker" in found["engine"].remedy


def test_no_engine_is_a_problem_only_where_one_is_asked_for(hosts_here: Hosts) -> None:
    for asked, verdict in ((None, WARNING), ("docker", PROBLEM), ("process", OK)):
        target = TargetSettings("ada@laptop", engine=asked)
        assert by_name(examine_host("box", target))["engine"].verdict is verdict


def test_a_folder_that_is_not_mine(hosts_here: Hosts) -> None:
    found = by_name(examine_host("box", TargetSettings("ada@gpu1", root="/root/in here")))
    assert found["folder"].verdict is PROBLEM
    assert "`/root/in here` cannot be made: `/root` is not yours" in found["folder"].seen
    assert "`root" in found["folder"].remedy


def test_a_host_that_does_not_let_us_in_or_is_not_there(hosts_here: Hosts) -> None:
    (found,) = examine_host("box", TargetSettings("nobody@gpu1"))
    assert (found.name, found.verdict) == ("ssh", PROBLEM)
    assert "does not let this user in" in found.seen
    assert "ssh-copy-id nobody@gpu1" in found.remedy
    (found,) = examine_host("box", TargetSettings("gpu7.invalid"))
    assert "no host of that name" in found.seen


def test_a_clock_that_is_an_hour_ahead(hosts_here: Hosts) -> None:
    hosts_here.clock("gpu2", 3600)
    try:
        found = by_name(examine_host("box", TargetSettings("ada@gpu2")))
    finally:
        hosts_here.clock("gpu2", 0)
    assert found["clock"].verdict is WARNING
    assert found["clock"].seen == "3600 s ahead of this machine's"
    assert by_name(examine_host("box", TargetSettings("root@gpu2")))["clock"].verdict is OK


def test_the_look_goes_through_any_shell_and_folder(tmp_path: Path) -> None:
    hostile = tmp_path / "a b $(touch x) é"
    hostile.mkdir()
    words = ["sh", "-c", LOOK, "sh", f"{hostile}/deeper/still"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    said = dict(line.split("=", 1) for line in told)
    assert said["folder"] == f"{hostile}/deeper/still"
    assert said["there"] == str(hostile)
    assert said["writable"] == "yes"
    assert said["free"].isdigit()


@pytest.mark.parametrize(
    ("ahead_s", "trip_s", "verdict"),
    [
        (0.0, 0.02, OK),
        (1.9, 0.02, OK),
        (3600.0, 0.02, WARNING),
        (-3600.0, 0.02, WARNING),
        (2.5, 1.0, OK),
    ],
)
def test_clocks(ahead_s: float, trip_s: float, verdict: Verdict) -> None:
    facts = replace(FACTS, clock_ahead_s=ahead_s, round_trip_s=trip_s)
    (found,) = host.clock(replace(looked(), facts=facts))
    assert found.verdict is verdict
    if verdict is WARNING:
        assert f"3600 s {'ahead of' if ahead_s > 0 else 'behind'} this" in found.seen


def test_a_slow_line_is_told() -> None:
    slow = replace(looked(), facts=replace(FACTS, round_trip_s=0.9))
    assert [each.verdict for each in host.machine(slow)] == [OK, WARNING]


def test_room_and_watches_as_they_are_told() -> None:
    (found,) = host.room(
        looked(writable="yes", folder="/p", there="/", free="1000", files="5000000")
    )
    assert found.verdict is PROBLEM
    (found,) = host.room(looked(writable="yes", folder="/p", there="/", free="99999999", files="9"))
    assert "9 more files only" in found.seen
    assert list(host.room(looked(writable="yes", folder="/p", there="/", free="-"))) == []
    (found,) = host.watches(looked(watches="", instances=""))
    assert found.verdict is OK
    (found,) = host.watches(looked(watches="8192", instances="128"))
    assert found.verdict is WARNING


def test_the_last_line_is_about_the_host() -> None:
    findings = [problem("engine", "no", "x")]
    assert summary(findings, about_here=False) == "1 problem"


def test_the_verb(hosts_here: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "perdure").mkdir()
    config = tmp_path / "perdure" / "config.toml"
    config.write_text('[targets.box]\nhost = "ada@gpu1"\n[targets.gone]\nhost = "gpu7.invalid"\n')
    told = perdure("doctor", "box", cwd=tmp_path)
    assert told.code == 0, told.err
    assert "ada@" in told.out
    told = perdure("doctor", "--json", "gone", cwd=tmp_path)
    assert (told.code, '"problems": 1' in told.out) == (1, True)
    assert is_one_error(perdure("doctor", "bxo", cwd=tmp_path), 2, "`bxo`", "did you mean `box`?")
