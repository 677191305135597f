"""A real host that is full, forbids, lacks programs, or what is sent does not hold still."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from pathlib import Path

import pytest

from perdure.errors import ConflictError, EnvironmentFailed, StorageError, UsageError
from perdure.hosts.ssh import Ssh
from perdure.moving import transport
from perdure.moving.errand import alone
from perdure.moving.far import Far
from tests.engines.hosts import Hosts
from tests.moving.trees import HOSTILE, Project, content, other, pull, push


def test_two_at_once_are_refused(project: Project, far: Far) -> None:
    errand = project.errand("gpu1", pushing=True)
    with alone(errand), pytest.raises(ConflictError, match="another perdure"):
        push(project, far)


def test_no_space_there_is_one_clear_error_and_nothing_is_visible(
    project: Project, hosts_here: Hosts, way: str
) -> None:
    small = hosts_here.small("gpu1")
    far = Far(Ssh("gpu1", "gpu1"), f"{small}/project")
    (project.data / "large").write_bytes(os.urandom(80 << 20))
    try:
        with pytest.raises(StorageError, match=r"needs 80 MiB on `gpu1`, where .. MiB are free"):
            push(project, far)
        assert hosts_here.run("gpu1", "ls", "-A", f"{small}/project/data").out == ""
    finally:
        hosts_here.run("gpu1", "rm", "-rf", f"{small}/project")


def test_a_disk_that_gets_full_meanwhile_is_one_clear_error_and_it_goes_on_later(
    project: Project, hosts_here: Hosts, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    small = hosts_here.small("gpu1")
    far = Far(Ssh("gpu1", "gpu1"), f"{small}/project")
    (project.data / "large").write_bytes(os.urandom(40 << 20))
    hosts_here.run("gpu1", "dd", "if=/dev/zero", f"of={small}/else", "bs=1M", "count=40")
    try:
        with monkeypatch.context() as patched:
            patched.setattr("perdure.moving.far._free", lambda said: 1 << 40)
            with pytest.raises(StorageError, match=r"(?i)no space left"):
                push(project, far)
        assert hosts_here.run("gpu1", "ls", "-A", f"{small}/project/data").out == ""
        hosts_here.run("gpu1", "rm", f"{small}/else")
        pushed = push(project, far)
        assert pushed.files == len(HOSTILE) + 2
        assert pushed.sent_bytes < pushed.bytes or way == "tar"
        found = hosts_here.run("gpu1", "sha256sum", f"{small}/project/data/large").out
        digest = hashlib.sha256((project.data / "large").read_bytes()).hexdigest()
        assert found.split()[0] == digest
    finally:
        hosts_here.run("gpu1", "sh", "-c", f"rm -rf {small}/project {small}/else")


def test_no_permission_there_is_one_clear_error(project: Project, hosts_here: Hosts) -> None:
    far = Far(Ssh("gpu1", "ada@gpu1"), "/root/forbidden")
    with pytest.raises(StorageError, match=r"(?i)permission denied") as refused:
        push(project, far)
    assert "ssh gpu1" in str(refused.value.hint)


def test_an_unknown_host_is_one_clear_error(project: Project, hosts_here: Hosts) -> None:
    with pytest.raises(EnvironmentFailed, match="gpu7"):
        push(project, Far(Ssh("gpu7", "gpu7"), "/srv/x"))


def test_nothing_there_is_one_clear_error(project: Project, far: Far) -> None:
    with pytest.raises(UsageError, match="`gpu1` has no folder") as missing:
        pull(project, far)
    assert missing.value.hint == "perdure push data --on gpu1"


def test_a_host_without_python_will_do(
    project: Project, hosts_here: Hosts, tmp_path: Path, way: str
) -> None:
    root = hosts_here.place("bare") / uuid.uuid4().hex
    far = Far(Ssh("bare", "bare"), str(root))
    try:
        push(project, far)
        assert content(root / "data") == content(project.data)
        there = other(tmp_path)
        pull(there, far)
        assert content(there.data) == content(project.data)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_a_host_without_rsync_will_do(
    project: Project, hosts_here: Hosts, far: Far, folder: Path
) -> None:
    hidden = hosts_here.state / "gpu1" / "bin" / "rsync"
    hidden.write_text("#!/bin/sh\nexit 127\n")
    hidden.chmod(0o755)
    try:
        push(project, far)
    finally:
        hidden.unlink()
    assert content(folder / "data") == content(project.data)


def test_a_file_that_grows_while_it_is_sent_is_sent_again(
    project: Project, far: Far, folder: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    growing = project.data / "growing"
    growing.write_bytes(b"1")
    real, rounds = transport.to_there, list[int]()

    def growing_once(*given: object) -> int:
        sent = real(*given)  # type: ignore[arg-type]
        if not rounds:
            growing.write_bytes(b"1 and 2")
        rounds.append(sent)
        return sent

    monkeypatch.setattr("perdure.moving.push.to_there", growing_once)
    pushed = push(project, far)
    assert len(rounds) == 2
    assert pushed.skipped == ()
    assert (folder / "data" / "growing").read_bytes() == b"1 and 2"


def test_a_file_that_never_rests_is_sent_as_it_is_and_told(
    project: Project, far: Far, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = project.data / "growing"
    growing.write_bytes(b"1")
    real = transport.to_there

    def always(*given: object) -> int:
        sent = real(*given)  # type: ignore[arg-type]
        growing.write_bytes(growing.read_bytes() + b"+")
        return sent

    monkeypatch.setattr("perdure.moving.push.to_there", always)
    pushed = push(project, far)
    assert [each.example for each in pushed.skipped] == ["growing"]
    assert "push again" in pushed.skipped[0].why
    assert (folder / "data" / "growing").read_bytes() == b"1++"
    monkeypatch.undo()


def test_what_an_older_attempt_left_is_not_put_into_place(
    project: Project, far: Far, folder: Path, way: str
) -> None:
    left = folder / ".perdure" / "moving" / "data"
    (left / "stale").mkdir(parents=True)
    (left / "stale" / "half").write_bytes(b"half of a file that is gone")
    (left / "plain.bin").write_bytes(b"half of an older version, longer than the one of now")
    push(project, far)
    assert content(folder / "data") == content(project.data)
