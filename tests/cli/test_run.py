"""`perdure run` as its user meets it: real jobs, real signals, a real terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import LIMIT_S, MAIN, Ended, is_one_error, perdure
from tests.cli.terminal import CTRL_C, on_terminal

LONG = ("--steps", "100000", "--pause", "0.01")


@pytest.fixture(autouse=True)
def nothing_left_running(project: Path) -> Iterator[None]:
    yield
    perdure("kill", "--all", "--yes", cwd=project)


def jobs(project: Path) -> list[dict[str, object]]:
    found = json.loads(perdure("ps", "-a", "--json", cwd=project).out)
    assert isinstance(found, list)
    return found


def only_job(project: Path) -> dict[str, object]:
    (job,) = jobs(project)
    return job


def run(project: Path, *words: str) -> Ended:
    return perdure("run", *words, cwd=project)


def test_a_followed_job_shows_what_it_prints_and_ends_with_its_code(project: Path) -> None:
    ended = run(project, "--name", "first", "--seed", "7", "train")
    assert ended.code == 0, ended.err
    assert ended.out == "hello from the training\ndone\n"
    assert "job `first`: train" in ended.err
    assert "first: SUCCEEDED" in ended.err
    assert "\x1b" not in ended.err
    assert only_job(project)["state"] == "SUCCEEDED"


def test_a_crash_ends_with_the_jobs_own_code(project: Path) -> None:
    ended = run(project, "crash")
    assert ended.code == 9
    assert ended.out == "oh no\n"
    assert "FAILED" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ("--epochs", "3", "-d", "--help"),
        ("$(touch x)", "`y`", "a b", "'\"", "a\nb", "", "猫", "--", "-"),
    ],
)
def test_the_tasks_arguments_reach_it_untouched(project: Path, words: tuple[str, ...]) -> None:
    assert run(project, "echo", *words).out == f"{list(words)!r}\n"
    assert run(project, "--", "python", "-c", "import sys; print(sys.argv[1:])", *words).out == (
        f"{list(words)!r}\n"
    )


def test_detached_it_prints_its_name_and_runs_on(project: Path) -> None:
    ended = run(project, "-d", "--name", "left-alone", "train", *LONG)
    assert (ended.code, ended.out, ended.err) == (0, "left-alone\n", "")
    assert only_job(project)["state"] in ("STARTING", "RUNNING")


def test_a_variable_is_passed_on_and_its_value_is_not_recorded(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    show = "import os; print(os.environ['TOKEN'], os.environ['MODE'])"
    ended = run(project, "--env", "TOKEN", "--env", "MODE=a=b", "--", "python", "-c", show)
    assert ended.out == "s3cret a=b\n"
    record = perdure("show", "--json", "@last", cwd=project).out
    assert "s3cret" not in record
    assert '"MODE": "a=b"' in record


def test_explain_prints_what_would_be_executed_and_executes_nothing(project: Path) -> None:
    ended = run(project, "--explain", "--seed", "7", "train", "--steps", "3")
    assert ended.code == 0, ended.err
    assert "--seed 7" in ended.out
    assert ended.out.rstrip().endswith("-m cats.train --steps 3")
    assert not (project / "results").exists()
    assert jobs(project) == []


def started(project: Path, *words: str) -> subprocess.Popen[bytes]:
    """Return a followed job that has said its first words."""
    process = subprocess.Popen(
        [*MAIN, "run", *words],
        cwd=project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def ended(process: subprocess.Popen[bytes]) -> Ended:
    out, err = process.communicate(timeout=LIMIT_S)
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_interrupts_and_resume_goes_on(project: Path, number: int) -> None:
    process = started(project, "--name", "long", "train", *LONG)
    process.send_signal(number)
    stopped = ended(process)
    assert stopped.code == 75, stopped.err
    assert "interrupting `long`" in stopped.err
    assert "long: INTERRUPTED" in stopped.err
    assert "perdure resume long" in stopped.err
    status = only_job(project)
    assert status["state"] == "INTERRUPTED"
    again = perdure("resume", "-d", "long", cwd=project)
    assert (again.code, again.out) == (0, "long\n")
    assert is_one_error(perdure("resume", "long", cwd=project), 3, "already running", "long")


def test_the_second_signal_kills_what_does_not_listen(project: Path) -> None:
    process = started(project, "--name", "deaf", "stubborn")
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    while b"interrupting" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    killed = ended(process)
    assert killed.code == 130, killed.err
    assert "killing `deaf`" in killed.err
    assert only_job(project)["state"] == "CANCELLED"


def test_a_terminal_shows_a_moving_line_and_takes_ctrl_c(project: Path) -> None:
    with on_terminal("run", "--name", "seen", "train", *LONG, cwd=project) as terminal:
        terminal.wait_for("hello from the training\r\n")
        terminal.wait_for(r"\r\x1b\[Kseen  running")
        terminal.wait_for(r"step \d+")
        terminal.type(CTRL_C)
        terminal.wait_for("interrupting `seen`")
        assert terminal.end() == 75
        assert "seen: INTERRUPTED" in terminal.text
        # Nothing of the moving line is left behind.
        last = terminal.text.rstrip("\r\n").split("\x1b[K")[-1]
        assert last.endswith("go on: perdure resume seen")


def test_ctrl_c_twice_on_a_terminal_kills(project: Path) -> None:
    with on_terminal("run", "--name", "deaf", "stubborn", cwd=project) as terminal:
        terminal.wait_for("try me")
        terminal.type(CTRL_C)
        terminal.wait_for("Ctrl-C again kills it")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
    assert only_job(project)["state"] == "CANCELLED"


def test_the_job_outlives_its_terminal(project: Path) -> None:
    with on_terminal("run", "--name", "on", "train", *LONG, cwd=project) as terminal:
        terminal.wait_for("hello from the training")
        terminal.hang_up()
        assert terminal.end() == -signal.SIGHUP
    status = only_job(project)
    assert status["state"] == "RUNNING"
    followed = subprocess.Popen(
        [*MAIN, "logs", "-f", "on"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert perdure("interrupt", "on", cwd=project).code == 0
    assert ended(followed).code == 0
    assert only_job(project)["state"] == "INTERRUPTED"


def test_a_job_whose_supervisor_dies_is_lost_and_recovered(project: Path) -> None:
    process = started(project, "--name", "unlucky", "train", *LONG)
    supervisor = supervisor_of(project / "results" / "unlucky")
    os.kill(supervisor, signal.SIGKILL)
    lost = ended(process)
    assert is_one_error(lost, 1, "`unlucky` is lost", "perdure recover")
    listed = perdure("ps", cwd=project)
    assert "LOST" in listed.out
    assert "perdure recover" in listed.err
    recovered = perdure("recover", cwd=project)
    assert recovered.code == 0, recovered.err
    assert "`unlucky` runs again" in recovered.err
    assert only_job(project)["state"] in ("STARTING", "RUNNING")


def test_what_was_killed_and_did_not_hear_is_left_until_somebody_names_it(project: Path) -> None:
    process = started(project, "--name", "deaf", "train", *LONG)
    folder = project / "results" / "deaf"
    os.kill(supervisor_of(folder), signal.SIGKILL)
    ended(process)
    (folder / "CANCEL").touch()  # whole processes later than its last event
    left = perdure("recover", cwd=project)
    assert left.code == 0, left.err
    assert "`deaf` was killed, and is left: perdure kill deaf" in left.err
    assert only_job(project)["state"] == "LOST"
    assert perdure("resume", "-d", "deaf", cwd=project).code == 0
    assert only_job(project)["state"] in ("STARTING", "RUNNING")
    assert not (folder / "CANCEL").exists()


def supervisor_of(folder: Path) -> int:
    """Return the process that holds a run folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"--run-dir" in words and os.fsencode(folder) in words:
                return int(entry.name)
    raise LookupError(folder)
