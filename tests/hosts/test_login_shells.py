"""What stands between ssh and a command there: the login shell, its start files, the Python."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure.errors import HostUnreachable, NoPython
from perdure.hosts import local, question
from perdure.hosts.side.channel import search_words
from perdure.hosts.side.survey import survey
from perdure.hosts.ssh import Ssh
from perdure.hosts.ssh_words import line
from tests.engines.hosts import Hosts

HOSTILE = [
    *("a b", "it's", '"', "$(touch x)", "`x`", "new\nline", "-n", "ü\u2028", "\\", "*", ""),
    *("a\\", "\\'", "!!", "!x", "=ls", "~", "%1", "{a,b}", "[x]", "^a^b", "a;b", "#", "\t", "\x01"),
    *("%s", "\\0101", "$HOME", "<x>", "a&b", "@", "\udcff"),
]
SHELLS = ["sh", "dash", "bash", "zsh", "fish", "tcsh", "csh"]
MADE = "# of the tests\n"


def give(host: str, home: Path, files: dict[str, str]) -> None:
    """Write start files of ada's, which belong to her."""
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MADE + text)
        os.chown(path, 1000, 1000)


@pytest.fixture
def ada(hosts_here: Hosts) -> Iterator[Callable[..., Ssh]]:
    """Return what makes ada's login shell on gpu1 another one, with start files of hers."""
    passwd = hosts_here.state / "gpu1" / "etc" / "passwd"
    before, home = passwd.read_text(), hosts_here.home("gpu1", "ada")
    written: list[str] = []

    def login(shell: str = "/bin/bash", home_there: str = "/home/ada", **files: str) -> Ssh:
        old, new = "ada:x:1000:1000::/home/ada:/bin/bash", f"ada:x:1000:1000::{home_there}:{shell}"
        assert old in before
        # In place: it is mounted there.
        passwd.write_text(before.replace(old, new))
        found = {name.replace("_", "."): text for name, text in files.items()}
        written.extend(found)
        give("gpu1", home, found)
        return Ssh("gpu1", "ada@gpu1")

    yield login
    passwd.write_text(before)
    for name in written:
        (home / name).unlink(missing_ok=True)
    Ssh("gpu1", "ada@gpu1").disconnect()


@pytest.mark.parametrize("shell", SHELLS)
def test_words_pass_any_login_shell(ada: Callable[..., Ssh], shell: str) -> None:
    program = shutil.which(shell, path="/bin:/usr/bin")
    if program is None:
        pytest.skip(f"{shell} is not installed here: scripts/apt {shell}")
    host = ada(program)
    words = ["printf", "[%s]\\n", *HOSTILE]
    wanted = b"".join(b"[%s]\n" % os.fsencode(word) for word in HOSTILE)
    done = local.run(host.command(words), timeout_s=120)
    assert done.stdout == wanted, done.complaint
    assert host.run(words, timeout_s=120).stdout == wanted
    assert host.run_plainly(words, 20, {"A": "it's\n\\"}, "/srv", None).stdout == wanted
    assert local.run(host.command(["sh", "-c", "exit 7"]), timeout_s=120).returncode == 7


def test_a_greeting_is_skipped(ada: Callable[..., Ssh]) -> None:
    host = ada(_bashrc="echo Welcome to gpu1; printf 'no end of line'; echo oh dear >&2; sleep 1\n")
    assert host.call(survey, "~")["user"] == "ada"


@pytest.mark.parametrize("start", ["exec sh", "cat >/dev/null", "exec cat"])
def test_a_shell_that_goes_its_own_way_is_sent_nothing(
    ada: Callable[..., Ssh], start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.hosts.side import channel

    host = ada(_bashrc=f"{start}\n")
    with pytest.raises(HostUnreachable, match="does not run what it is given") as told:
        channel.Channel(
            host.command(channel.boot_words()), lambda *_: HostUnreachable("x"), open_s=2
        )
    assert "bashrc" in (told.value.hint or "")


def test_an_account_that_may_not_log_in_is_told(ada: Callable[..., Ssh]) -> None:
    with pytest.raises(HostUnreachable, match="runs no command: This account is currently not"):
        ada("/usr/sbin/nologin").call(question.answer)


def test_a_home_that_is_not_there_is_no_hindrance(ada: Callable[..., Ssh], hosts: Hosts) -> None:
    # sshd looks for the keys there, so it is taken away once there is a connection.
    host = ada()
    host.connect()
    home = hosts.home("gpu1", "ada")
    home.rename(home.with_name("ada-away"))
    try:
        hosts.run("gpu1", "sh", "-c", "true")
        facts = host.call(survey, "~/perdure")
    finally:
        home.with_name("ada-away").rename(home)
    assert facts["disk_free_bytes"] > 0


@pytest.mark.parametrize(
    "python3",
    [
        "exit 42",
        "exit 1",
        "echo No module named encodings >&2; exit 1",
        "kill -SEGV $$",
        "echo 'pyenv: python3: command not found' >&2; exit 127",
    ],
)
def test_another_python_is_found_where_the_first_is_none(
    ada: Callable[..., Ssh], hosts: Hosts, python3: str
) -> None:
    own = hosts.state / "gpu1" / "bin" / "python3"
    own.write_text(f"#!/bin/sh\n{python3}\n")
    own.chmod(0o755)
    try:
        assert ada().call(survey, "~")["python"].startswith("3.")
    finally:
        own.unlink()


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.13"])
def test_real_pythons_of_all_ages(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.hosts.side.channel import Channel, boot_words

    found = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python3"))
    if not found:
        pytest.skip(f"Python {version} is not installed here")

    def opened(words: tuple[str, ...]) -> bool:
        Channel(words, lambda code, said: HostUnreachable(f"{code} {said}")).close()
        return True

    words = boot_words(str(found[-1]))
    if version < "3.9" and len(version) == 3:
        with pytest.raises(NoPython):
            opened(words)
        monkeypatch.setenv("PATH", f"{found[-1].parent}:/usr/bin:/bin")
        assert opened(search_words())
    else:
        assert opened(words)


def test_words_that_every_shell_takes_are_left_as_they_are() -> None:
    assert line(["ls", "-l", "a b", "$x"]) == "exec ls -l 'a b' '$x'"
    coded = line(["a", "it's\n"])
    assert coded.startswith("""exec sh -c 'eval "$(printf %b "exec a """)
    assert not set(coded.removeprefix("exec sh -c ")[1:-1]) & set("'!\n")
    assert "\\\\" not in coded
