"""The development container on real engines, of a small image: brought up, entered, ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.development import image as images
from perdure.development.change import Wanted, change_between
from perdure.development.lifecycle import make, remove, start, stop, wanted_now
from perdure.development.standing import (
    State,
    installed_by_hand,
    look,
    open_session,
    running_inside,
)
from perdure.development.wishes import NONE, Wishes
from perdure.errors import ConflictError, EnvironmentFailed
from perdure.model.image import Image
from perdure.model.report import silent
from tests.cli.command import is_one_error, perdure
from tests.development.yard import CONTENTS, Yard, make_yard
from tests.engines.engines import RealEngine
from tests.engines.small import USER_ID, small_image
from tests.waiting import until


@pytest.fixture
def yard(engine: RealEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """Return a project with each engine in turn."""
    yield from make_yard(engine, tmp_path, monkeypatch)


@pytest.fixture
def old_yard(
    old_engine: RealEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Yard]:
    """Return a project with the oldest engine: for what no engine does in a way of its own."""
    yield from make_yard(old_engine, tmp_path, monkeypatch)


def test_up_shell_stop_and_down(yard: Yard) -> None:
    session = yard.session
    assert look(session).state is State.ABSENT
    yard.up()
    standing = look(session)
    assert (standing.state, standing.contents) == (State.RUNNING, CONTENTS)
    assert change_between(standing, wanted_now(session, NONE, report=silent)) is None
    assert yard.said("sh", "-c", "id -u; pwd; echo $HOME").split() == [
        str(USER_ID),
        "/project/code",
        "/home/perdure",
    ]
    assert yard.run("sh", "-c", "exit 7") == 7
    assert yard.run("sh", "-c", 'touch ~/kept results/made data/made "/project/code/a b"') == 0
    assert running_inside(session) == ()
    stop(session, standing, report=silent)
    assert look(session).state is State.STOPPED
    start(session, look(session), report=silent)
    assert yard.said("sh", "-c", "ls ~/kept /project/results").split() == [
        "/home/perdure/kept",
        "/project/results:",
        "made",
    ]
    log = yard.engine.docker("logs", session.container)
    assert [line.split()[1] for line in log.splitlines()] == ["up,", "stopping", "stopped", "up,"]
    remove(session, look(session), report=silent)
    assert look(session).state is State.ABSENT
    # What was done as the user is the user's, and so is all that perdure made for it.
    of_others = [p for p in session.project.root.rglob("*") if p.lstat().st_uid != USER_ID]
    assert of_others == []


def test_what_was_installed_by_hand_is_known_running_or_not(yard: Yard) -> None:
    yard.up()
    assert not installed_by_hand(yard.session)
    made = "/opt/dev/lib/python3.11/site-packages/six-1.17.0.dist-info"
    yard.said("sh", "-c", f"mkdir -p {made}; touch /var/lib/dpkg/info/cowsay.list", root=True)
    for _ in range(2):
        found = installed_by_hand(yard.session)
        assert found.told() == "pip: six 1.17.0; apt: cowsay"
        stop(yard.session, look(yard.session), report=silent)


SAVING = """\
import signal, sys, time
def save(number, frame):
    time.sleep(0.5)
    open('/project/results/saved', 'w').write('x')
    sys.exit()
signal.signal(signal.SIGTERM, save)
open('/project/results/ready', 'w')
time.sleep(60)
"""


def test_what_runs_in_it_is_named_and_may_save(yard: Yard) -> None:
    yard.up()
    session, results = yard.session, yard.session.project.results
    yard.engine.docker("exec", "--detach", session.container, "python", "-c", SAVING)
    until((results / "ready").exists)
    (command,) = running_inside(session)
    assert command.startswith("python -c")
    stop(session, look(session), report=silent)
    assert (results / "saved").read_text() == "x"


def test_what_does_not_end_is_ended(old_yard: Yard) -> None:
    old_yard.up()
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    old_yard.engine.docker("exec", "--detach", old_yard.session.container, "python", "-c", stubborn)
    until(lambda: bool(running_inside(old_yard.session)))
    stop(old_yard.session, look(old_yard.session), report=silent, grace_s=0.5)
    assert look(old_yard.session).state is State.STOPPED


def test_a_container_that_is_paused_goes_on(old_yard: Yard) -> None:
    old_yard.up()
    old_yard.engine.docker("pause", old_yard.session.container)
    assert look(old_yard.session).state is State.PAUSED
    start(old_yard.session, look(old_yard.session), report=silent)
    assert look(old_yard.session).state is State.RUNNING
    old_yard.engine.docker("pause", old_yard.session.container)
    stop(old_yard.session, look(old_yard.session), report=silent, grace_s=1)
    assert look(old_yard.session).state is State.STOPPED


def test_a_token_reaches_the_container_and_nothing_else(
    old_yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2 $(x)")
    session = open_session(old_yard.session.workspace)
    wishes = Wishes(variables=("TOKEN", "MODE=a b"))
    make(session, wishes, look(session), report=silent)
    assert old_yard.said("sh", "-c", "echo $TOKEN/$MODE") == "hunter2 $(x)/a b"
    labels = old_yard.engine.docker(
        "inspect", "--format", "{{json .Config.Labels}}", session.container
    )
    assert "hunter2" not in labels
    # Without a wish, nothing of this process's environment is seen there.
    monkeypatch.setenv("UNASKED", "x")
    assert "UNASKED" not in old_yard.said("env")
    assert look(session).wishes == wishes


def test_gits_identity_is_passed_on_when_asked_for(
    old_yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = A. Nother\n")
    config.chmod(0o644)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    session = open_session(old_yard.session.workspace)
    make(session, Wishes(git=True), look(session), report=silent)
    assert "A. Nother" in old_yard.said("sh", "-c", 'cat "$GIT_CONFIG_GLOBAL"')
    assert old_yard.run("sh", "-c", '! echo x >> "$GIT_CONFIG_GLOBAL"') == 0


def test_replacing_keeps_the_home_and_the_old_one_until_the_image_is_there(
    old_yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_yard.up()
    before = old_yard.engine.docker("inspect", "--format", "{{.Id}}", old_yard.session.container)
    old_yard.said("sh", "-c", "echo ls > ~/.bash_history")
    change = change_between(look(old_yard.session), Wanted("another", {"pip six": "1.18"}, NONE))
    assert change is not None
    assert change.details == ("pip six 1.17.0 -> 1.18",)

    def failing(*_: object, report: object) -> tuple[Image, Mapping[str, str]]:
        raise EnvironmentFailed("a step failed")

    with monkeypatch.context() as patch:
        patch.setattr(images, "build_image", failing)
        with pytest.raises(EnvironmentFailed):
            old_yard.up()
    assert look(old_yard.session).state is State.RUNNING
    old_yard.up()
    after = old_yard.engine.docker("inspect", "--format", "{{.Id}}", old_yard.session.container)
    assert after != before
    assert old_yard.said("sh", "-c", "cat ~/.bash_history") == "ls"


def test_a_data_folder_elsewhere_is_seen(old_yard: Yard, tmp_path: Path) -> None:
    project = old_yard.session.project
    big = tmp_path / "big, disk"
    (big / "inner").mkdir(parents=True)
    (big / "inner" / "set.csv").write_text("1")
    project.data.rmdir()
    project.data.symlink_to(big)
    old_yard.up()
    for path in ("/project/data/inner/set.csv", "data/inner/set.csv", f"{big}/inner/set.csv"):
        assert old_yard.said("cat", path) == "1"


def test_a_container_that_cannot_start_leaves_none_behind(yard: Yard) -> None:
    with pytest.raises(EnvironmentFailed, match="GPU"):
        yard.up(Wishes(gpus="all"))
    assert look(yard.session).state is State.ABSENT


def test_a_container_of_that_name_that_is_not_ours(old_yard: Yard) -> None:
    small = small_image(old_yard.engine)
    old_yard.engine.docker("create", "--name", old_yard.session.container, small.reference, "true")
    with pytest.raises(ConflictError, match="not this project's"):
        look(old_yard.session)


def test_an_engine_elsewhere_sees_no_folders_of_this_machine(
    old_yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.development import standing

    far = replace(old_yard.session.engine, endpoint="ssh://gpu.invalid")
    monkeypatch.setattr(standing, "find_engine", lambda settings: far)
    with pytest.raises(EnvironmentFailed, match="does not see this machine's folders"):
        open_session(old_yard.session.workspace)


@pytest.mark.parametrize("verb", ["up", "shell", "stop", "down", "logs"])
def test_without_an_engine_no_hint_leads_to_jobs(tmp_path: Path, verb: str) -> None:
    root = tmp_path / "x"
    root.mkdir()
    (root / "pyproject.toml").write_text(
        '[project]\nname = "x"\n[tool.perdure]\nformat = 1\npackage = "x"\n'
    )
    nothing = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "DOCKER_CONTEXT": ""}
    ended = perdure(verb, cwd=root, env=nothing)
    assert is_one_error(ended, 4, "no container engine answers", "systemctl start docker")
    assert "--on local" not in ended.err
    empty = perdure(verb, cwd=root, env={"PATH": str(tmp_path)})
    assert is_one_error(empty, 4, "no container engine", "install Docker or Podman")
    assert "--on local" not in empty.err
