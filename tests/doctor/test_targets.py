from __future__ import annotations

import threading
from pathlib import Path

import pytest

from perdure.doctor import targets
from perdure.doctor.targets import Asked, Listed, ask_targets, list_targets, settings_around
from perdure.errors import HostUnreachable, UsageError
from perdure.model.project import Project
from perdure.model.settings import Settings, TargetSettings
from perdure.targets.protocol import Capabilities
from tests.engines.hosts import Hosts


def test_perdures_own_come_first() -> None:
    named = {"lab": TargetSettings("me@lab", engine="docker"), "box": TargetSettings("box")}
    local, docker, box, lab = list_targets(Settings(targets=named))
    assert (local.name, local.engine, local.host) == ("local", "process", "")
    assert (docker.name, docker.engine) == ("docker", "docker")
    assert box == Listed("box", "ssh", "box", None, "~/perdure", "live")
    assert (lab.host, lab.engine) == ("me@lab", "docker")


class Answering:
    """A target that answers as it is told to, once it is let."""

    def __init__(
        self, answer: Capabilities | Exception, let: threading.Event | None = None
    ) -> None:
        self._answer, self._let = answer, let

    def probe(self) -> Capabilities:
        if self._let is not None:
            self._let.wait(300)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def asked(
    monkeypatch: pytest.MonkeyPatch, limit_s: float = 30.0, **answering: Answering
) -> dict[str, Asked]:
    monkeypatch.setattr(targets, "open_target", lambda name, project, settings: answering[name])
    listed = [Listed(name, "local", "", "process", None, None) for name in answering]
    return dict(ask_targets(listed, None, Settings(), limit_s))


def test_what_a_target_says_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(
        monkeypatch,
        a=Answering(Capabilities("a", "this machine, 2 cores")),
        b=Answering(Capabilities("b", "no container engine", "no engine answers", "start it")),
        c=Answering(HostUnreachable("cannot reach `c`", hint="ssh c")),
    )
    assert found["a"].engine == "process, 2 cores"
    assert found["a"].disk_free_bytes
    assert found["a"].round_trip_s is None
    assert (found["b"].problem, found["b"].engine) == ("no engine answers", "process")
    assert found["b"].hint == "start it"
    assert (found["c"].problem, found["c"].hint) == ("cannot reach `c`", "ssh c")


def test_one_that_is_silent_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    able = Capabilities("x", "docker 26")
    # They would be waited for until the test is given up: nobody lets them before it has its word.
    let = threading.Event()
    silent = {"slow": Answering(able, let), "slower": Answering(able, let)}
    try:
        found = asked(monkeypatch, limit_s=1.0, **silent, fast=Answering(able))
    finally:
        let.set()
    assert found["slow"].problem == found["slower"].problem == "no answer within 1 s"
    assert found["slow"].hint == "perdure doctor slow"
    assert found["fast"].problem is None


def test_hosts_that_answer_and_hosts_that_do_not(hosts_here: Hosts, tmp_path: Path) -> None:
    named = {
        "box": TargetSettings("ada@gpu1", engine="process"),
        "plain": TargetSettings("ada@gpu2-rtt20", engine="process"),
        "off": TargetSettings("bare"),
        "gone": TargetSettings("gpu7.invalid"),
        "locked": TargetSettings("nobody@gpu1"),
    }
    settings = Settings(targets=named)
    hosts_here.cut("bare")
    found = ask_targets(list_targets(settings), Project(tmp_path, "cats", "cats", {}), settings)
    assert found["box"].problem is None, found["box"]
    assert {name for name, each in found.items() if each.problem and name in named} == {
        *("off", "gone", "locked")
    }
    assert (found["box"].engine or "").startswith("process, "), found["box"]
    assert found["box"].gpus == ()
    assert (found["box"].disk_free_bytes or 0) > 2**20
    assert (found["box"].round_trip_s or 0) > 0
    assert (found["plain"].engine or "").startswith("process, "), found["plain"]
    assert (found["plain"].round_trip_s or 0) >= 0.02
    assert "does not answer" in (found["off"].problem or "")
    assert "no host of that name" in (found["gone"].problem or "")
    assert "does not let this user in" in (found["locked"].problem or "")
    assert (found["locked"].hint or "").startswith("perdure doctor locked, which may ask you")


def test_settings_are_there_with_and_without_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "perdure").mkdir(parents=True)
    (tmp_path / "config" / "perdure" / "config.toml").write_text('[targets.a]\nhost = "a"\n')
    project, settings = settings_around(tmp_path)
    assert project is None
    assert set(settings.targets) == {"a"}
    root = tmp_path / "cats"
    root.mkdir()
    table = '[tool.perdure]\nformat = 1\npackage = "cats"\n[tool.perdure.targets.b]\nhost = "b"\n'
    (root / "pyproject.toml").write_text(table)
    project, settings = settings_around(root)
    assert project is not None
    assert set(settings.targets) == {"a", "b"}
    (root / "pyproject.toml").write_text(table + "hots = 1\n")
    with pytest.raises(UsageError, match="unknown key"):
        settings_around(root)
