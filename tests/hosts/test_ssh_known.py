"""The name that the key of a host has in known_hosts: ssh's own, not the user's for the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.hosts.ssh_known import forgetting, known_as, name_of


@pytest.mark.parametrize(
    ("configuration", "name"),
    [
        ("hostname 10.0.0.1\nport 22", "10.0.0.1"),
        ("hostname 10.0.0.1\nport 2222", "[10.0.0.1]:2222"),
        ("hostname 10.0.0.1\nport 2222\nhostkeyalias gpu two", "gpu two"),
        ("", "gpubox"),
    ],
)
def test_a_key_goes_by_its_alias_else_by_host_and_port(configuration: str, name: str) -> None:
    assert name_of(configuration, "ada@gpubox") == name


def test_ssh_itself_is_asked_where_it_did_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("Host odd\n  HostName 127.0.0.1\n  Port 2222\n")
    (tmp_path / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{config}" "$@"\n')
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert known_as("ada@odd") == "[127.0.0.1]:2222"
    assert forgetting("odd", "") == ("", "ssh-keygen -R '[127.0.0.1]:2222'")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert known_as("ada@odd") == "odd"


def test_only_another_file_than_the_usual_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    said = "Offending RSA key in {}:7\nHost key for gpu2 has changed and you have requested"
    usual, other = tmp_path / ".ssh" / "known_hosts", tmp_path / "of the lab"
    assert forgetting("x", said.format(usual)) == (f"{usual}, line 7", "ssh-keygen -R gpu2")
    assert forgetting("x", said.format(other)) == (
        f"{other}, line 7",
        f"ssh-keygen -R gpu2 -f '{other}'",
    )
