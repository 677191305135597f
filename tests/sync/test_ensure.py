"""Code that is kept alike for a container or for notebooks, by the one session that there is."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pytest

from perdure.development import code as development
from perdure.development.standing import Session as Development
from perdure.errors import StorageError, TimeoutExpired
from perdure.hosts.engine import Engine
from perdure.hosts.host import Host
from perdure.jobs.workspace import Workspace
from perdure.model.project import Project
from perdure.model.settings import Settings, TargetSettings
from perdure.services import code as services
from perdure.services.spot import Spot
from perdure.sync import ensure, session
from perdure.sync.channel import boot_words
from perdure.sync.once import Destination, alone
from perdure.sync.rules import DEFAULT, Rules
from perdure.sync.session import Session
from perdure.targets.place import Place
from tests.sync.test_live import WAIT_S, text
from tests.waiting import until

TARGET = "gpu1"
NOTES = Rules(pull=("notes/*.md",))


@dataclass(frozen=True)
class Beside:
    """A host whose Python is this one: another machine for whoever asks."""

    name: str = TARGET
    is_here: bool = False

    def python(self, words: Sequence[str]) -> tuple[str, ...]:
        return (sys.executable, *words[1:])


class Kept:
    """A project here and its place there; `told` is what was reported."""

    def __init__(self, folder: Path) -> None:
        self.here, self.there = folder / "here", folder / "there"
        self.here.mkdir()
        (self.here / "a.py").write_text("1")
        self.destination = Destination(boot_words(sys.executable), str(self.there))
        self.told: list[str] = []
        project = Project(self.here, "here", "", {}, pull=NOTES.pull)
        self.workspace = Workspace(project, Settings())
        self.place = Place(cast(Host, Beside()), str(self.there), self.here)

    @property
    def session(self) -> Session:
        return Session(self.here, TARGET)

    def report(self, message: str, *, done: int | None = None, total: int | None = None) -> None:
        self.told.append(message)

    def keep(self, name: str, rules: Rules = DEFAULT, timeout_s: float = WAIT_S) -> Path:
        """Return the mark that a session would be ended by, after the code was kept alike."""
        mark = self.session.folder / name
        ensure.keep(
            self.session,
            self.destination,
            rules=rules,
            mark=mark,
            report=self.report,
            timeout_s=timeout_s,
        )
        return mark


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    made = Kept(tmp_path)
    yield made
    session.stop(made.here, TARGET)


def test_a_session_serves_all_and_ends_with_the_one_it_was_started_for(kept: Kept) -> None:
    first = kept.keep("first", NOTES)
    assert text(kept.there / "a.py") == "1"
    (kept.here / "a.py").write_text("2")
    second = kept.keep("second", NOTES)
    assert text(kept.there / "a.py") == "2"
    assert (first.exists(), second.exists()) == (True, False)
    ensure.leave(kept.here, TARGET, second)
    assert session.runs(kept.here, TARGET)
    (kept.there / "notes").mkdir()
    (kept.there / "notes" / "last.md").write_text("made there")
    ensure.leave(kept.here, TARGET, first)
    assert text(kept.here / "notes" / "last.md") == "made there"
    assert not session.runs(kept.here, TARGET)


def test_one_that_began_with_other_patterns_is_told_of(kept: Kept) -> None:
    kept.keep("first")
    assert len(kept.told) == 1
    kept.keep("second", NOTES)
    assert "perdure sync stop --on gpu1" in kept.told[-1]


def test_a_session_that_ends_at_once_says_why(kept: Kept) -> None:
    kept.there.write_text("no folder")
    with pytest.raises(StorageError, match=r"not up to date: .*file exists") as told:
        kept.keep("first")
    assert told.value.hint == "perdure doctor gpu1"
    assert not session.runs(kept.here, TARGET)


def test_a_sync_that_is_being_done_once_is_let_finish(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than whoever types `sync --watch` waits for it.
    done = threading.Event()
    with alone(kept.session.folder, timeout_s=WAIT_S):

        def keep() -> None:
            kept.keep("first")
            done.set()

        thread = threading.Thread(target=keep)
        thread.start()
        assert not done.wait(6.0)
    thread.join(WAIT_S)
    assert done.is_set()
    assert session.runs(kept.here, TARGET)


def test_one_that_is_busy_is_not_taken_for_none(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keep("first")
    found = session.status(kept.here, TARGET)
    assert found is not None
    monkeypatch.setattr(session, "_ASK_S", 0.1)
    os.kill(found["pid"], signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutExpired, match="did not answer"):
            session.status(kept.here, TARGET)
        with pytest.raises(StorageError, match="did not answer"):
            kept.keep("second", timeout_s=0.1)
    finally:
        os.kill(found["pid"], signal.SIGCONT)
    monkeypatch.undo()
    until(lambda: session.barrier(kept.here, TARGET, WAIT_S) is True)


def test_a_container_and_notebooks_get_what_the_project_pulls(kept: Kept) -> None:
    up = Development(kept.workspace, cast(Engine, None), kept.place, Settings())
    development.keep_code(up, kept.report)
    found = session.status(kept.here, TARGET)
    assert found is not None
    assert found["pull"] == list(NOTES.pull)
    development.leave_code(up)
    assert not session.runs(kept.here, TARGET)

    spot = Spot(kept.workspace, TARGET, kept.place, in_image=False)
    services.keep_code(spot, "jupyter", kept.report)
    found = session.status(kept.here, TARGET)
    assert found is not None
    assert found["pull"] == list(NOTES.pull)
    services.leave_code(kept.workspace.project, TARGET, "jupyter")
    assert not session.runs(kept.here, TARGET)


def test_who_brings_the_code_themselves_is_left_alone(kept: Kept) -> None:
    own = TargetSettings(TARGET, sync="none")
    workspace = Workspace(kept.workspace.project, Settings(targets=MappingProxyType({TARGET: own})))
    development.keep_code(
        Development(workspace, cast(Engine, None), kept.place, Settings()), kept.report
    )
    assert not session.runs(kept.here, TARGET)
    assert not kept.there.exists()
