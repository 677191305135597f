"""What is passed on to a container, and only when it is asked for."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.development.wishes import AGENT, GIT_CONFIG, NONE, Wishes, pass_on
from perdure.errors import UsageError
from perdure.images.mounts import Mount

ALL = Wishes("cuda", "2", ssh_agent=True, git=True, variables=("TOKEN", "MODE=a b"), mirrors=True)


def test_wishes_survive_their_label() -> None:
    assert Wishes.from_label(ALL.to_label()) == ALL
    assert Wishes.from_label(NONE.to_label()) == NONE


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", "null", '{"variables": 3}'])
def test_a_label_that_is_not_ours_says_nothing(text: str) -> None:
    assert Wishes.from_label(text) == NONE


def test_a_container_made_before_there_were_mirrors_has_none() -> None:
    label = json.loads(ALL.to_label())
    del label["mirrors"]
    assert Wishes.from_label(json.dumps(label)) == replace(ALL, mirrors=False)
    assert "--mirrors" in ALL.options()


def test_nothing_is_passed_on_unasked(tmp_path: Path) -> None:
    environ = {"SSH_AUTH_SOCK": str(tmp_path), "TOKEN": "secret", "HOME": str(tmp_path)}
    passed = pass_on(NONE, environ)
    assert (passed.mounts, passed.words) == ((), ())
    assert not passed.environ


def test_a_token_is_in_no_word_and_in_no_label() -> None:
    wishes = Wishes(variables=("TOKEN",))
    passed = pass_on(wishes, {"TOKEN": "secret"})
    assert passed.words == ("--env", "TOKEN")
    assert passed.environ == {"TOKEN": "secret"}
    assert "secret" not in wishes.to_label()
    assert wishes.options() == ("--env TOKEN",)


def test_a_variable_with_its_value_is_given_as_it_is() -> None:
    assert pass_on(Wishes(variables=("A=$(x) 'b'=",)), {}).words == ("--env", "A=$(x) 'b'=")
    # Its value is not for a message.
    assert Wishes(variables=("A=hush",)).options() == ("--env A",)


@pytest.mark.parametrize("item", ["", "=x", "NOT_SET"])
def test_a_variable_that_cannot_be_is_refused(item: str) -> None:
    with pytest.raises(UsageError):
        pass_on(Wishes(variables=(item,)), {})


def test_the_agent_is_mounted_at_a_place_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        passed = pass_on(Wishes(ssh_agent=True), {"SSH_AUTH_SOCK": str(path)})
    assert passed.mounts == (Mount(str(path), AGENT, read_only=False),)
    assert passed.words == ("--env", f"SSH_AUTH_SOCK={AGENT}")


@pytest.mark.parametrize("path", [None, "/nowhere/agent", "."])
def test_no_agent_is_an_error(path: str | None) -> None:
    with pytest.raises(UsageError, match="no agent runs here"):
        pass_on(Wishes(ssh_agent=True), {"SSH_AUTH_SOCK": path} if path else {})


def test_gits_configuration_is_read_only(tmp_path: Path) -> None:
    (tmp_path / ".gitconfig").write_text("[user]\n")
    passed = pass_on(Wishes(git=True), {"HOME": str(tmp_path)})
    assert passed.mounts == (Mount(str(tmp_path / ".gitconfig"), GIT_CONFIG, read_only=True),)
    other = tmp_path / "git" / "config"
    other.parent.mkdir()
    (tmp_path / ".gitconfig").rename(other)
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    assert pass_on(Wishes(git=True), environ).mounts[0].source == str(other)
    with pytest.raises(UsageError, match=r"there is no `.*gone`"):
        pass_on(Wishes(git=True), {"GIT_CONFIG_GLOBAL": str(tmp_path / "gone")})
