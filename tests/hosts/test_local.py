from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.errors import EnvironmentFailed, MissingProgram, PerdureError, TimeoutExpired
from perdure.hosts import local
from perdure.hosts.local import run, run_attached, spawn_detached
from tests.waiting import until

HOSTILE = ["a b", "'", '"', "$(touch no)", "`x`", "a\nb", "\u00e9", "*", "", "-n", ";", "\\"]
PYTHON = sys.executable


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_arguments_arrive_as_they_are() -> None:
    done = run(["printf", r"%s\0", *HOSTILE], timeout_s=120)
    assert done.stdout.decode().split("\0")[:-1] == HOSTILE
    assert done.argv == ("printf", r"%s\0", *HOSTILE)


def test_any_exit_code_is_an_answer() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=120)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert (done.text, done.complaint) == ("out", "err")
    assert run(["sh", "-c", "kill -9 $$"], timeout_s=120).returncode == -signal.SIGKILL


def test_bytes_pass_in_and_out_unchanged_both_ways_at_once() -> None:
    data = os.urandom(3_000_000)
    assert run(["cat"], stdin=data, timeout_s=120).stdout == data
    assert run(["cat"], stdin=b"", timeout_s=120).stdout == b""
    assert run(["cat"], timeout_s=120).stdout == b""  # nothing to read is an end, not a wait


def test_who_does_not_read_is_no_error() -> None:
    assert run(["true"], stdin=b"x" * 3_000_000, timeout_s=120).returncode == 0
    done = run(["sh", "-c", "head -c 1; echo"], stdin=b"y" * 3_000_000, timeout_s=120)
    assert done.stdout == b"y\n"


def test_environment_and_folder_are_those_given(tmp_path: Path) -> None:
    done = run(
        ["/bin/sh", "-c", 'pwd; echo "$A-$HOME"'], env={"A": "b c"}, cwd=tmp_path, timeout_s=9
    )
    assert done.text == f"{tmp_path}\nb c-"


def test_a_command_has_no_terminal_of_ours() -> None:
    done = run([PYTHON, "-c", "import os; print(os.getsid(0) == os.getpid())"], timeout_s=120)
    assert done.text == "True"


def test_the_time_limit_kills_the_whole_group(tmp_path: Path) -> None:
    told = tmp_path / "pids"
    script = f"sleep 3600 & echo $$ $! > {told}; echo almost there >&2; wait"
    with pytest.raises(TimeoutExpired, match=r"did not end within 0\.5 s") as caught:
        run(["sh", "-c", script], timeout_s=0.5)
    assert caught.value.hint == "almost there"
    for pid in told.read_text().split():
        until(lambda: not alive(int(pid)))  # noqa: B023 - called at once


def test_a_command_that_ignores_sigterm_is_killed_all_the_same(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    script = f"trap '' TERM; echo $$ > {told}; while :; do sleep 0.1; done"
    with pytest.raises(TimeoutExpired):
        run(["sh", "-c", script], timeout_s=0.3)
    assert not alive(int(told.read_text()))


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    told = tmp_path / "pid"

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    script = f"echo $$ > {told}; echo line >&2; sleep 60"
    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", script], timeout_s=120, on_line=stop)
    until(lambda: not alive(int(told.read_text())))


def test_what_is_left_running_on_purpose_is_not_waited_for() -> None:
    done = run(["sh", "-c", "sleep 3600 & echo $!"], timeout_s=120)
    left = int(done.text)
    assert alive(left)
    os.kill(left, signal.SIGKILL)


def test_output_written_just_before_the_end_is_not_lost() -> None:
    for _ in range(20):
        done = run(["sh", "-c", "sleep 5 & printf 0123456789; kill -9 $$"], timeout_s=120)
        assert done.stdout == b"0123456789"


def test_lines_of_standard_error_come_as_they_are_written(tmp_path: Path) -> None:
    gate, lines = tmp_path / "gate", []

    def hear(line: str) -> None:
        lines.append(line)
        gate.touch()

    wait = f"while [ ! -e {gate} ]; do sleep 0.01; done"
    script = f"echo first >&2; {wait}; printf 'a\\rb\\n\\nc\\377' >&2"
    done = run(["sh", "-c", script], timeout_s=120, on_line=hear)
    assert lines == ["first", "a", "b", "c\ufffd"]
    assert done.stderr.startswith(b"first\n")


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    not_executable = tmp_path / "file"
    not_executable.write_text("")
    for program in ("no-such-program", str(tmp_path / "missing"), str(not_executable)):
        with pytest.raises(MissingProgram) as caught:
            run([program, "argument"], timeout_s=1)
        assert caught.value.program == program
        assert f"`{program}`" in caught.value.message
        assert isinstance(caught.value, EnvironmentFailed)


def test_a_missing_folder_is_not_mistaken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(PerdureError, match="there is no such folder") as caught:
        run(["true"], cwd=tmp_path / "missing", timeout_s=1)
    assert not isinstance(caught.value, MissingProgram)


def test_an_attached_command_has_our_streams(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_attached(["sh", "-c", "echo hello; exit 5"]) == 5
    assert capfd.readouterr().out == "hello\n"
    with pytest.raises(MissingProgram):
        run_attached(["no-such-program"])


def test_ctrl_c_is_the_attached_commands_own_affair(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    inner = f"trap 'exit 7' INT; touch {ready}; while :; do sleep 0.05; done"
    program = (
        "import sys; from perdure.hosts.local import run_attached\n"
        f"sys.exit(run_attached(['sh', '-c', {inner!r}]))"
    )
    process = subprocess.Popen([PYTHON, "-c", program], start_new_session=True)
    until(ready.exists)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 7


def test_a_detached_command_survives_and_appends_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    script = "import os, sys; print(os.getsid(0) == os.getpid(), sys.stdin.read() == '')"
    pid = spawn_detached([PYTHON, "-c", script], log=log, cwd=tmp_path)
    until(lambda: local.exit_code_of(pid) is not None)
    assert local.exit_code_of(pid) == 0
    assert log.read_text() == "before\nTrue True\n"
    assert not Path(f"/proc/{pid}").exists()  # no zombie is left


def test_a_detached_command_outlives_its_starter(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from perdure.hosts.local import spawn_detached\n"
        f"print(spawn_detached(['sleep', '60'], log=Path({str(tmp_path / 'log')!r})))"
    )
    done = run([PYTHON, "-c", program], timeout_s=120)
    pid = int(done.text)
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_detached_command_that_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(MissingProgram):
        spawn_detached(["no-such-program"], log=tmp_path / "log")
    assert local.exit_code_of(1) is None


def test_killing_a_group_that_is_gone_is_right() -> None:
    process = subprocess.Popen(["true"], start_new_session=True)
    process.wait()
    local.kill_group(process.pid)
