"""Commands as streams."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from perdure.errors import MissingProgram, TimeoutExpired
from perdure.hosts import piped


def test_what_a_command_writes_is_read_by_pieces() -> None:
    program = "import sys; sys.stdout.write('x' * 3_000_000); sys.stderr.write('said'); sys.exit(3)"
    with piped.reading([sys.executable, "-c", program], stall_s=20) as process:
        pieces = []
        while data := process.read():
            pieces.append(len(data))
        done = process.finish(20)
    assert (sum(pieces), done.returncode, done.complaint) == (3_000_000, 3, "said")
    assert len(pieces) > 1


def test_a_command_is_fed_more_than_its_pipe_holds() -> None:
    program = "import sys; print(len(sys.stdin.buffer.read()))"
    with piped.feeding([sys.executable, "-c", program], stall_s=20) as process:
        for _ in range(5):
            assert process.write(b"y" * 1_000_000) == 1_000_000
        assert process.finish(20).text == "5000000"


def test_a_command_that_wants_no_more_says_why() -> None:
    program = "import sys; sys.stderr.write('full'); sys.exit(4)"
    with piped.feeding([sys.executable, "-c", program], stall_s=20) as process:
        with pytest.raises(BrokenPipeError):
            process.write(b"y" * 100_000_000)
        done = process.finish(20)
    assert (done.returncode, done.complaint) == (4, "full")


def test_a_command_that_stands_still_is_given_up_and_killed(tmp_path: Path) -> None:
    program = f"import os, time; open({str(tmp_path / 'id')!r}, 'w').write(str(os.getpid()))\n"
    program += "print('', flush=True); time.sleep(60)"
    with piped.reading([sys.executable, "-c", program], stall_s=1.0) as process:
        assert process.read() == b"\n"
        with pytest.raises(TimeoutExpired, match="stood still for 1 s"):
            process.read()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "id").read_text()), 0)


def test_a_command_that_does_not_end_is_given_up() -> None:
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        pytest.raises(TimeoutExpired, match="did not end within"),
        piped.feeding(argv, stall_s=20) as process,
    ):
        process.finish(0.05)


def test_a_program_that_is_not_there_is_named() -> None:
    with (
        pytest.raises(MissingProgram, match="no-such-program"),
        piped.reading(["no-such-program"], stall_s=1),
    ):
        pass
