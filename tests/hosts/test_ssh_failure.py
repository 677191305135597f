from __future__ import annotations

from pathlib import Path

import pytest

from perdure.hosts.ssh_failure import configured_hosts, failure


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / ".ssh"
    (folder / "more").mkdir(parents=True)
    (folder / "config").write_text(
        "Include more/*\nHost gpubox gpu-*\n  HostName 10.0.0.1\nhost=login\nHost *\n"
    )
    (folder / "more" / "lab").write_text("Host lab1 lab2\nInclude ../config\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder / "config"


def test_the_names_of_the_configuration_are_found() -> None:
    assert set(configured_hosts()) == {"gpubox", "login", "lab1", "lab2"}
    assert configured_hosts(Path("/no/such/file")) == ()


def test_an_unknown_host_names_the_nearest() -> None:
    said = "ssh: Could not resolve hostname gpubx: Name or service not known"
    error = failure("big", "ada@gpubx", said)
    assert error.message == "cannot reach `big` (`ssh ada@gpubx`): there is no host of that name"
    assert error.hint == "did you mean `gpubox`?"
    assert failure("big", "nothing-like-it", said).hint == "ssh nothing-like-it"


@pytest.mark.parametrize(
    ("said", "reason", "hint"),
    [
        (
            """@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @
Offending ED25519 key in /home/ada/.ssh/known_hosts:3
Host key for [10.0.0.1]:2222 has changed and you have requested strict checking.
Host key verification failed.""",
            "its host key is not the one that is known",
            "known_hosts, line 3): ssh-keygen -R '[10.0.0.1]:2222' -f /home/ada/.ssh/known_hosts",
        ),
        ("Host key verification failed.", "its host key is not known", "compare the key"),
        ("ada@x: Permission denied (publickey).", "does not let this user in", "ssh-copy-id"),
        ("connect to host x port 22: Connection refused", "nothing answers ssh", "ssh gpubox"),
        ("ssh: connect to host x port 22: No route to host", "does not answer", "ssh gpubox"),
        ("kex_exchange_identification: Connection closed", "connection was lost", "ssh gpubox"),
        ("something else\n", "something else", "ssh gpubox"),
        ("", "ssh could not connect", "ssh gpubox"),
    ],
)
def test_what_ssh_says_becomes_one_line(said: str, reason: str, hint: str) -> None:
    error = failure("gpubox", "gpubox", said)
    assert reason in error.message
    assert "\n" not in error.message
    assert hint in (error.hint or "")
    assert error.exit_code == 4
