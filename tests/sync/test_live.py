"""Sessions that keep a tree as it is here, in a process of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from perdure.errors import ConflictError, PerdureError, StorageError
from perdure.sync import hints, session
from perdure.sync.channel import boot_words
from perdure.sync.ensure import ensure
from perdure.sync.far.inotify import Inotify
from perdure.sync.hints import Watchfiles
from perdure.sync.live import Live as Kept
from perdure.sync.once import Destination
from perdure.sync.rules import Rules
from perdure.sync.scan import View
from perdure.sync.state import State
from perdure.sync.trees import Trees
from tests.sync.people import contents
from tests.waiting import until

WAIT_S = 120.0
TARGET = "far"


class Live:
    """A session in the background, between two folders."""

    def __init__(self, folder: Path) -> None:
        self.here, self.there = folder / "here", folder / "there"
        self.here.mkdir()
        (self.here / "src").mkdir()
        (self.here / "src/a.py").write_text("1")
        self.destination = Destination(boot_words(sys.executable), str(self.there))

    def start(self, rules: Rules = Rules()) -> None:  # noqa: B008 - a frozen value
        session.start(self.here, TARGET, self.destination, rules=rules, timeout_s=WAIT_S)

    def barrier(self) -> bool | None:
        return session.barrier(self.here, TARGET, WAIT_S)

    def agent(self) -> int:
        """Return the process at the other end of the pipe."""
        pid = self.pid()
        found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
        return int(found.stdout.split()[0])

    def pid(self) -> int:
        found = session.status(self.here, TARGET)
        assert found is not None
        return int(found["pid"])


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    # The name of a socket is short, which a folder of pytest's is not.
    runtime = tempfile.mkdtemp(prefix="ps-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    made = Live(tmp_path)
    yield made
    session.stop(made.here, TARGET)
    shutil.rmtree(runtime)


def text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def test_a_save_is_there_without_a_word(live: Live) -> None:
    live.start()
    assert live.barrier() is True
    (live.here / "src/a.py").write_text("2")
    until(lambda: text(live.there / "src/a.py") == "2")
    draft = live.here / "src/.a.py.tmp"
    draft.write_text("3")
    draft.replace(live.here / "src/a.py")
    until(lambda: text(live.there / "src/a.py") == "3")
    (live.here / "deep/new/folder").mkdir(parents=True)
    (live.here / "deep/new/folder/b.py").write_text("b")
    until(lambda: text(live.there / "deep/new/folder/b.py") == "b")
    (live.here / "src/a.py").unlink()
    until(lambda: not (live.there / "src").exists())
    (live.here / "deep/new").rename(live.here / "moved")
    until(lambda: text(live.there / "moved/folder/b.py") == "b")
    until(lambda: not (live.there / "deep").exists())
    assert live.barrier() is True
    assert contents(live.there, aside=False) == contents(live.here, aside=False)


def test_a_notebook_saved_there_comes_back(live: Live) -> None:
    live.start()
    assert live.barrier() is True
    (live.there / "n.ipynb").write_text("1")
    until(lambda: text(live.here / "n.ipynb") == "1")
    (live.there / "n.ipynb").write_text("2")
    until(lambda: text(live.here / "n.ipynb") == "2")
    (live.here / "n.ipynb").write_text("3")
    until(lambda: text(live.there / "n.ipynb") == "3")


def test_the_other_end_may_be_killed_at_any_time(live: Live) -> None:
    live.start()
    assert live.barrier() is True
    for number in range(5):
        os.kill(live.agent(), signal.SIGKILL)
        (live.here / "src/a.py").write_text(f"after kill {number}")
        assert live.barrier() is True
        assert text(live.there / "src/a.py") == f"after kill {number}"
    assert not (live.there / ".perdure/conflicts").exists()


def test_this_end_may_be_killed_too(live: Live) -> None:
    live.start()
    assert live.barrier() is True
    (live.here / "src/a.py").write_text("2")
    until(lambda: text(live.there / "src/a.py") == "2")
    os.kill(live.pid(), signal.SIGKILL)
    until(lambda: session.status(live.here, TARGET) is None)
    (live.here / "src/a.py").write_text("3")
    live.start()
    assert live.barrier() is True
    assert text(live.there / "src/a.py") == "3"
    assert not (live.there / ".perdure/conflicts").exists()


def test_there_is_one_session_for_a_pair(live: Live) -> None:
    live.start()
    first = live.pid()
    live.start()
    assert live.pid() == first
    assert session.stop(live.here, TARGET) is True
    assert session.status(live.here, TARGET) is None
    assert session.stop(live.here, TARGET) is False
    assert live.barrier() is None


def test_only_its_user_can_ask_a_session(live: Live) -> None:
    live.start()
    socket = session.Session(live.here, TARGET).socket
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700


def test_whoever_needs_the_code_there_asks_who_has_the_channel(live: Live) -> None:
    done = ensure(live.here, TARGET, live.destination, timeout_s=WAIT_S)
    assert done is not None
    assert done.sent == 1
    live.start()
    (live.here / "src/a.py").write_text("2")
    assert ensure(live.here, TARGET, live.destination, timeout_s=WAIT_S) is None
    assert text(live.there / "src/a.py") == "2"


def test_a_session_says_what_keeps_it(live: Live) -> None:
    live.start()
    assert live.barrier() is True
    (live.there / "pipe").unlink(missing_ok=True)
    os.mkfifo(live.there / "pipe")
    (live.here / "pipe").write_text("no pipe here")
    with pytest.raises(StorageError, match="pipe"):
        ensure(live.here, TARGET, live.destination, timeout_s=WAIT_S)
    (live.there / "pipe").unlink()
    assert live.barrier() is True
    for path in (live.here / "src/a.py", live.here / "pipe"):
        path.unlink()
    with pytest.raises(ConflictError, match="2 files"):
        ensure(live.here, TARGET, live.destination, timeout_s=WAIT_S)
    assert text(live.there / "src/a.py") == "1"


def test_a_session_that_cannot_begin_says_why(live: Live) -> None:
    live.there.write_text("a file")
    with contextlib.suppress(PerdureError):
        live.start()
    assert live.barrier() is not True
    log = session.Session(live.here, TARGET).log
    until(lambda: "cannot write to" in (text(log) or ""))
    assert session.status(live.here, TARGET) is None


def test_a_session_ends_with_its_project(live: Live) -> None:
    live.start()
    assert live.barrier() is True
    pid = live.pid()
    shutil.rmtree(live.here)
    until(lambda: not Path(f"/proc/{pid}").exists() or "zombie" in state_of(pid))
    assert text(live.there / "src/a.py") == "1"


def state_of(pid: int) -> str:
    return (Path(f"/proc/{pid}") / "status").read_text()


@pytest.mark.parametrize("kind", [Inotify, Watchfiles], ids=["inotify", "watchfiles"])
def test_hints_name_what_changed(kind: type[hints.Hints], tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "a").mkdir()
    (root / "a/b").write_text("1")
    told = Inotify(str(root)) if kind is Inotify else Watchfiles(root)
    try:
        told.watch({"", "a"})
        found: set[str] = set()

        def heard() -> bool:
            # One that has not begun to look by now does so a little later.
            (root / "a/b").write_text("2")
            (root / "c").unlink(missing_ok=True)
            (root / "c").symlink_to("a")
            found.update(told.read() or ())
            return {"a/b", "c"} <= found

        until(heard, every_s=0.1)
    finally:
        told.close()


def test_whoever_waits_may_find_the_other_end_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends between two looks at it: the question itself is what cannot be sent."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "a.py").write_text("1")
    told, answers = list[str](), list[bool]()
    trees = Trees(here, State(tmp_path / "state.db"), Rules(), "live1", told.append)
    destination = Destination(boot_words(sys.executable), str(tmp_path / "there"))
    kept = Kept(trees, destination, hints.watch_tree(here))
    asked = kept.exchange.look_there

    def look_there() -> int:
        if not any("lost" in line for line in told):
            channel = kept.exchange.channel
            assert channel is not None
            os.kill(channel.pid, signal.SIGKILL)
            until(lambda: Path(f"/proc/{channel.pid}/stat").read_text().split()[2] == "Z")
        return asked()

    monkeypatch.setattr(kept.exchange, "look_there", look_there)
    while not kept.is_connected:
        kept.step([], WAIT_S)
    kept.wait(answers.append, WAIT_S)
    while not answers:
        kept.step([], WAIT_S)
    kept.close()
    assert answers == [True]
    assert [line for line in told if "the connection was lost" in line]
    assert text(tmp_path / "there/a.py") == "1"


def test_who_waits_from_the_beginning_waits_for_one_look_at_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "a.py").write_text("1")
    answers: list[bool] = []
    trees = Trees(here, State(tmp_path / "state.db"), Rules(), "live1", lambda _: None)
    destination = Destination(boot_words(sys.executable), str(tmp_path / "there"))
    kept = Kept(trees, destination, hints.watch_tree(here))
    looked: list[str] = []
    everything = trees.scanner.everything

    def look_here(known: Iterable[str]) -> View:
        looked.append("here")
        return everything(known)

    monkeypatch.setattr(trees.scanner, "everything", look_here)
    monkeypatch.setattr(kept.exchange, "look_there", lambda: looked.append("there"))
    monkeypatch.setattr("perdure.sync.live._FIRST_LOOK_S", float("inf"))
    kept.wait(answers.append, WAIT_S)
    while not answers:
        kept.step([], WAIT_S)
    assert (answers, looked) == ([True], ["here"])
    assert text(tmp_path / "there/a.py") == "1"
    # What came between that look and the first word of the watch is found, however soon it is.
    (here / "b.py").write_text("2")
    monkeypatch.setattr(kept, "_take_hints", lambda: None)
    until(lambda: kept.step([], 0.01) == [] and text(tmp_path / "there/b.py") == "2")
    kept.close()


def test_a_question_that_is_there_is_taken_before_a_comparison_begins(tmp_path: Path) -> None:
    """Else both sides would be looked at once more for whoever started the session and waits."""
    (tmp_path / "here").mkdir()
    trees = Trees(tmp_path / "here", State(tmp_path / "state.db"), Rules(), "live1", lambda _: None)
    destination = Destination(boot_words(sys.executable), str(tmp_path / "there"))
    kept = Kept(trees, destination, hints.watch_tree(tmp_path / "here"))
    hears, says = os.pipe()
    os.write(says, b"?")
    begun = []
    for ready in ([hears], []):
        assert kept.step([hears], 0) == ready
        begun.append(kept.exchange.channel is not None)
        os.read(hears, 1 if ready else 0)
    assert begun == [False, True]
    kept.close()
    os.close(hears)
    os.close(says)
