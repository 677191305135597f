"""The agent over a plain pipe, and what it refuses whoever asks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.errors import HostUnreachable, NoPython
from perdure.model.code import CLUTTER, NEVER
from perdure.sync.channel import Channel, Lost, boot_words
from perdure.sync.far.tree import digest_of
from tests.architecture.source import SRC
from tests.waiting import until

WAIT_S = 120.0
NAMES = (
    "plain.py",
    "with space",
    "q\"uo'te",
    "new\nline",
    "ünïcödé/日本",
    "-rf",
    "a" * 250,
    "$(touch x)",
    b"caf\xe9".decode("utf-8", "surrogateescape"),
)


class Far:
    """An agent, asked directly."""

    def __init__(self, root: Path, mark: str = "one", argv: tuple[str, ...] | None = None) -> None:
        self.root = root
        self.channel = Channel(argv or boot_words(sys.executable))
        hello = {"op": "hello", "root": str(root), "mark": mark, "pull": ["**/*.ipynb"]}
        try:
            self.channel.send({**hello, "never": NEVER, "hidden": sorted(CLUTTER)})
            self.hello = self.answer("hello")
            self.channel.send({"op": "look", "n": 1, "paths": []})
            self.seen = self.answer("seen")
        except BaseException:
            self.channel.close()
            raise

    def answer(self, op: str) -> dict[str, Any]:
        while True:
            frame = self.channel.receive(WAIT_S)
            assert frame is not None
            if frame[0]["op"] == op:
                return frame[0]

    def do(self, *actions: list[Any], blob: bytes = b"") -> dict[str, Any]:
        self.channel.send({"op": "apply", "n": 2, "do": actions}, blob)
        return self.answer("done")

    def put(self, path: str, content: bytes, expected: tuple[str, ...] = ()) -> dict[str, Any]:
        facts = ("f", 0o644, 1_000_000_000, digest_of(content), expected, len(content))
        return self.do(["put", path, *facts], blob=content)

    def scan(self) -> dict[str, Any]:
        """Return what the agent tells by then: some of it may come unasked, before the answer."""
        self.channel.send({"op": "scan", "n": 9})
        found: dict[str, Any] = {}
        while True:
            seen = self.answer("seen")
            found |= seen["changes"]
            if seen["n"] == 9:
                return found


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    made = Far(tmp_path / "root")
    yield made
    made.channel.close()


def kept(root: Path) -> list[bytes]:
    return [p.read_bytes() for p in (root / ".perdure/conflicts").rglob("*") if p.is_file()]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_written_with_its_time_and_permissions(far: Far, name: str) -> None:
    assert far.put(name, b"content")["not"] == []
    found = far.root / name
    assert found.read_bytes() == b"content"
    assert found.stat().st_mtime_ns == 1_000_000_000
    assert found.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/x", "../x", "a/../../x", "a//b", "./a", "", "a/", "a\0b"),
        *(".perdure/x", ".git/hooks/x", "sub/.git/config", "data/x", "results/x"),
    ],
)
def test_what_is_not_in_the_tree_is_refused(far: Far, path: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for action in (["put", path, "f", 0o644, 0, digest_of(b"x"), [], 1], ["delete", path, []]):
        assert [failed[0] for failed in far.do(action, blob=b"x")["not"]] == [path]
    far.channel.send({"op": "get", "path": path, "most": 100})
    assert "why" in far.answer("file")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_that_leads_out_is_neither_made_nor_followed(far: Far, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for target in ("/etc/passwd", "../outside", "a/../../outside"):
        action = ["put", "l", "l", 0, 0, digest_of(target.encode()), [], len(target)]
        assert far.do(action, blob=target.encode())["not"] != []
    (far.root / "way").symlink_to(outside)
    assert far.put("way/x", b"x")["not"] != []
    assert list(outside.iterdir()) == []
    assert (far.root / "way").is_symlink()


def test_a_link_inside_the_tree_gives_way_to_a_folder(far: Far) -> None:
    (far.root / "real").mkdir()
    (far.root / "way").symlink_to("real")
    assert far.put("way/x", b"x")["not"] == []
    assert not (far.root / "way").is_symlink()
    assert list((far.root / "real").iterdir()) == []


def test_devices_and_sockets_are_left_alone(far: Far) -> None:
    os.mkfifo(far.root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(far.root / "s"))
        assert far.put("pipe", b"x")["not"] != []
        assert far.put("s", b"x")["not"] != []
        assert far.put("pipe/below", b"x")["not"] != []
    assert (far.root / "pipe").is_fifo()


def test_what_was_not_expected_is_kept(far: Far) -> None:
    (far.root / "a").write_bytes(b"somebody's")
    answer = far.put("a", b"ours")
    assert answer["kept"][0][0] == "a"
    assert (far.root / answer["kept"][0][1]).read_bytes() == b"somebody's"
    assert (far.root / "a").read_bytes() == b"ours"
    assert far.put("a", b"newer", (digest_of(b"ours"),))["kept"] == []
    assert far.do(["delete", "a", ["other"]])["kept"] != []
    assert sorted(kept(far.root)) == [b"newer", b"somebody's"]


def test_a_folder_in_the_way_is_kept_whole(far: Far) -> None:
    (far.root / "a/b").mkdir(parents=True)
    (far.root / "a/b/c").write_bytes(b"deep")
    assert far.put("a", b"file")["not"] == []
    assert kept(far.root) == [b"deep"]
    assert far.put("a/b", b"folder again", ())["not"] == []
    assert sorted(kept(far.root)) == [b"deep", b"file"]


def test_folders_that_are_empty_go_with_their_last_file(far: Far) -> None:
    far.put("a/b/c", b"x")
    far.put("a/d", b"x")
    far.do(["delete", "a/b/c", [digest_of(b"x")]])
    assert not (far.root / "a/b").exists()
    assert (far.root / "a/d").exists()


def test_two_edits_of_one_size_in_one_tick_are_told_apart(far: Far) -> None:
    """What stat says is the same; a file that fresh is read again."""
    for number in range(20):
        far.put("same", b"%04d" % number, (digest_of(b"edit"), digest_of(b"%04d" % (number - 1))))
        stat = (far.root / "same").stat()
        (far.root / "same").write_bytes(b"edit")
        os.utime(far.root / "same", ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert far.scan()["same"][1] == digest_of(b"edit")


def test_a_newer_session_fences_an_older_one(far: Far) -> None:
    newer = Far(far.root, "two")
    try:
        with pytest.raises(HostUnreachable):
            far.put("a", b"stale")
        assert not (far.root / "a").exists()
        assert newer.put("a", b"fresh")["not"] == []
    finally:
        newer.channel.close()


def test_an_older_session_that_looks_around_leaves_the_drafts_of_a_newer_one(far: Far) -> None:
    newer = Far(far.root, "two")
    try:
        newer.channel.send({"op": "part", "n": 3, "id": 7, "path": "big"}, b"half")
        assert newer.answer("done")["not"] == []
        far.channel.send({"op": "scan", "n": 9})
        with pytest.raises(HostUnreachable):
            far.answer("seen")
        whole = newer.do(["land", "big", 7, 0o644, 1_000_000_000, digest_of(b"half"), (), 4])
        assert whole["not"] == []
        assert (far.root / "big").read_bytes() == b"half"
    finally:
        newer.channel.close()


def test_it_ends_with_its_input(tmp_path: Path) -> None:
    far = Far(tmp_path / "root")
    far.channel.close()
    assert far.channel._process.poll() == 0


def test_parts_become_a_file_only_whole(far: Far) -> None:
    def part(number: int, data: bytes) -> None:
        far.channel.send({"op": "part", "n": 3, "id": number, "path": "big"}, data)
        assert far.answer("done")["not"] == []

    part(7, b"a" * 1000)
    assert not (far.root / "big").exists()
    facts: tuple[Any, ...] = (7, 0o600, 5_000_000_000, digest_of(b"a" * 1000 + b"b"), [], 1001)
    assert far.do(["land", "big", *facts])["not"] != []
    part(8, b"a" * 1000)
    part(8, b"b")
    assert far.do(["land", "big", 8, *facts[1:]])["not"] == []
    assert (far.root / "big").read_bytes() == b"a" * 1000 + b"b"
    assert [p.name for p in far.root.iterdir() if p.name.startswith(".perdure-")] == []


def test_a_draft_of_a_killed_session_is_dealt_with(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a/.perdure-sync-dead-1").write_bytes(b"half of a fi")
    (root / f"a/.perdure-sync-dead-2-{digest_of(b'ours')}-x").write_bytes(b"ours")
    (root / f"a/.perdure-sync-dead-3-{digest_of(b'ours')}-y").write_bytes(b"somebody's")
    far = Far(root)
    far.channel.close()
    assert [place.rpartition("/")[2] for _, place in far.seen["kept"]] == ["y"]
    assert kept(root) == [b"somebody's"]
    assert list((root / "a").iterdir()) == []


def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
    limited += "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    *words, program = boot_words(sys.executable)
    far = Far(tmp_path / "root", argv=(*words, limited + program))
    try:
        far.put("a", b"small")
        failed = far.put("a", b"x" * 10_000, (digest_of(b"small"),))["not"]
        assert failed[0][:2] == ["a", "file too large"]
        assert (far.root / "a").read_bytes() == b"small"
        assert far.put("b", b"fits")["not"] == []
        assert sorted(p.name for p in far.root.iterdir()) == [".perdure", "a", "b"]
    finally:
        far.channel.close()


def test_only_what_comes_back_is_told_unasked(far: Far) -> None:
    (far.root / "made.txt").write_bytes(b"x")
    (far.root / "n.ipynb").write_bytes(b"notebook")
    (far.root / ".ipynb_checkpoints").mkdir()
    (far.root / ".ipynb_checkpoints/n.ipynb").write_bytes(b"checkpoint")
    (far.root / "data").mkdir()
    (far.root / "data/d.ipynb").write_bytes(b"data")
    assert list(far.scan()) == ["n.ipynb"]
    (far.root / "n.ipynb").write_bytes(b"changed")
    assert list(far.answer("seen")["changes"]) == ["n.ipynb"]


def test_a_killed_process_is_noticed(far: Far) -> None:
    far.channel.kill()
    with pytest.raises(Lost):
        far.channel.receive(WAIT_S)


def test_no_python_is_told_apart_from_no_connection(tmp_path: Path) -> None:
    for argv, error in (
        (("sh", "-c", "exec no-such-python3"), NoPython),
        (("sh", "-c", "echo 'Host key verification failed.' >&2; exit 255"), Lost),
    ):
        with pytest.raises(error) as caught:
            Far(tmp_path, argv=argv)
        assert "Python 3.8" in str(caught.value) or "Host key" in str(caught.value)


def test_silence_ends_the_wait_for_an_answer() -> None:
    channel = Channel(("sleep", "60"), connect_s=3)
    try:
        assert channel.receive(0.01) is None
        with pytest.raises(Lost):
            until(lambda: channel.receive(0.01))
    finally:
        channel.kill()
        channel.close()


def pythons() -> list[str]:
    found = sorted((Path.home() / ".pyenv/versions").glob("3.[89].*/bin/python3"))
    named = [shutil.which(name) for name in ("python3.8", "python3.9")]
    candidates = [*map(str, found), *filter(None, named), sys.executable]
    return [
        each
        for each in candidates
        if subprocess.run([each, "-c", ""], capture_output=True).returncode == 0
    ]


@pytest.mark.parametrize("python", pythons())
def test_it_runs_on_the_pythons_that_are_here(python: str, tmp_path: Path) -> None:
    far = Far(tmp_path / "root", argv=boot_words(python))
    assert far.put("a", b"x")["not"] == []
    assert far.scan() == {}
    far.channel.close()


def test_it_needs_nothing_newer_than_python_3_8() -> None:
    program = Path(sys.executable).with_name("vermin")
    folder = str(SRC / "sync" / "far")
    words = [str(program), "-q", "--violations", "--no-tips", "-t=3.8-", folder]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
