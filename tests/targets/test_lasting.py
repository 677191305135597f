from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from perdure.errors import MissingProgram, PerdureError, TimeoutExpired
from perdure.targets import lasting
from perdure.targets.protocol import Errand
from tests.waiting import PATIENCE_S, until

FOREVER = "while :; do sleep 0.05; done"


def errand(script: str, *words: str, after: tuple[str, ...] = ()) -> Errand:
    return Errand(("sh", "-c", script, "sh", *words), dict(os.environ), after=after)


def heard(folder: Path) -> tuple[list[str], dict[str, Any]]:
    """Return all lines that a command says, and how it ended."""
    lines: list[str] = []
    said: dict[str, Any] = {"at": 0}
    while "end" not in said:
        said = lasting.heard(os.fspath(folder), said["at"], PATIENCE_S)
        lines += said["lines"]
    return lines, said["end"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "lasting" / "it's $(one)"
    lasting.prepare(os.fspath(path))
    return path


def test_a_command_is_begun_once_and_heard_to_its_end(folder: Path, tmp_path: Path) -> None:
    script = 'echo begun >>"$1"; cat; echo a >&2; echo "b \u00e9" >&2; printf c >&2; exit 3'
    trace = tmp_path / "trace"
    for _ in range(2):
        lasting.begin(folder, errand(script, str(trace)), b"in\n", PATIENCE_S)
    lines, end = heard(folder)
    assert lines == ["a", "b \u00e9", "c"]
    done = lasting.completed(end, ("sh",), 1.0)
    assert (done.returncode, done.stdout, done.text) == (3, b"in\n", "in")
    # Its end is told again to those who lost the answer.
    lasting.begin(folder, errand(script, str(trace)), b"in\n", PATIENCE_S)
    assert heard(folder) == (lines, end)
    assert trace.read_text() == "begun\n"
    lasting.end(os.fspath(folder))
    assert not folder.exists()
    # A network that was cut brings what was sent before, long after that.
    with pytest.raises(PerdureError, match="ended before it began"):
        lasting.begin(folder, errand(script, str(trace)), b"in\n", PATIENCE_S)
    assert (folder.exists(), trace.read_text()) == (False, "begun\n")


def test_what_is_said_is_heard_at_once(folder: Path) -> None:
    lasting.begin(folder, errand("echo up >&2; " + FOREVER), b"", PATIENCE_S)
    said = lasting.heard(os.fspath(folder), 0, PATIENCE_S)
    assert said == {"lines": ["up"], "at": 3}
    assert lasting.heard(os.fspath(folder), 3, 0.0) == {"lines": [], "at": 3}
    lasting.end(os.fspath(folder))


def test_one_that_is_ended_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    trace, cleared = tmp_path / "trace", tmp_path / "cleared"
    script = f'trap "" TERM; echo $$ >"$1"; {FOREVER}'
    lasting.begin(folder, errand(script, str(trace), after=("touch", str(cleared))), b"", 1000.0)
    until(lambda: trace.is_file() and trace.read_text().endswith("\n"))
    lasting.end(os.fspath(folder))
    assert cleared.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(trace.read_text()), 0)
    lasting.end(os.fspath(folder))


def test_one_that_takes_too_long_is_ended_there(folder: Path, tmp_path: Path) -> None:
    cleared = tmp_path / "cleared"
    lasting.begin(folder, errand(FOREVER, after=("touch", str(cleared))), b"", 0.2)
    _, end = heard(folder)
    assert cleared.exists()
    with pytest.raises(TimeoutExpired, match=r"did not end within 0\.2 s"):
        lasting.completed(end, ("sh",), 0.2)


def test_one_whose_machine_went_is_not_taken_for_done(folder: Path) -> None:
    lasting.begin(folder, errand(f"echo $$ >&2; {FOREVER}"), b"", PATIENCE_S)
    said = lasting.heard(os.fspath(folder), 0, PATIENCE_S)
    os.kill(int((folder / "runner").read_text()), signal.SIGKILL)
    os.kill(int(said["lines"][0]), signal.SIGKILL)
    _, end = heard(folder)
    with pytest.raises(PerdureError, match="ended before it was done"):
        lasting.completed(end, ("sh",), 1.0)


def test_no_such_program_is_told(folder: Path) -> None:
    lasting.begin(folder, Errand(("no-such-program",), {}), b"", PATIENCE_S)
    _, end = heard(folder)
    with pytest.raises(MissingProgram, match="no such file"):
        lasting.completed(end, ("no-such-program",), 1.0)


def test_more_than_one_answer_holds_is_heard_in_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting, "_MOST_BYTES", 16)
    script = "import sys; sys.stderr.write(''.join(f'{n}\\n' for n in range(50)) + 'x' * 40)"
    lasting.begin(folder, Errand((sys.executable, "-c", script), {}), b"", PATIENCE_S)
    lines, end = heard(folder)
    assert "".join(lines) == "".join(str(n) for n in range(50)) + "x" * 40
    assert end["code"] == 0


def test_what_nobody_came_back_for_is_cleared_after_a_week(folder: Path) -> None:
    old = folder.with_name("old")
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    lasting.prepare(os.fspath(folder))
    lasting.begin(folder, errand("true"), b"", PATIENCE_S)
    assert not old.exists()
    assert heard(folder)[1]["code"] == 0
