from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import perdure
from tests.cli.terminal import CTRL_C, on_terminal
from tests.waiting import until


def carrying(folder: Path) -> list[int]:
    """Return the processes whose environment names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if os.fsencode(folder) in environment:
                found.append(int(entry.name))
    return found


def test_a_drill_says_that_the_training_is_exact(project: Path) -> None:
    drilled = perdure(
        "drill", "train", "-n", "2", "--kinds", "term,kill", "--", "--steps", "20", cwd=project
    )
    assert drilled.code == 0, drilled.err
    assert drilled.out.startswith("2/2 bit-exact; ")
    assert "two uninterrupted runs" in drilled.err


@pytest.fixture
def nothing_left_running(project: Path) -> Iterator[None]:
    yield
    for pid in carrying(project / ".perdure"):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("nothing_left_running")
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", ["ctrl-c", "term", "hang-up"])
def test_a_drill_that_is_stopped_leaves_nothing_running(project: Path, how: str) -> None:
    with on_terminal("drill", "unaware", "-n", "1", cwd=project) as terminal:
        terminal.wait_for("two uninterrupted runs")
        until(lambda: carrying(project / ".perdure"), told=lambda: terminal.text)
        if how == "ctrl-c":
            terminal.type(CTRL_C)
        elif how == "term":
            terminal.process.send_signal(signal.SIGTERM)
        else:
            terminal.hang_up()
        assert terminal.end() == 130
    # They were killed; the system takes a moment to let go of them.
    until(lambda: not carrying(project / ".perdure"))
