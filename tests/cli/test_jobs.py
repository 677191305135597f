"""The verbs that look at jobs, compare them and tidy up, on real ones."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.cli.commands.drill import KINDS
from perdure.drill.plan import Kind
from tests.cli.command import MAIN, perdure
from tests.cli.terminal import CTRL_C, on_terminal
from tests.jobs.projects import alive
from tests.waiting import until

LONG = ("train", "--steps", "100000", "--pause", "0.01")


@pytest.fixture
def done(project: Path) -> Path:
    """Return a project with a job `first`, interrupted once and then finished."""
    with on_terminal("run", "--name", "first", "--seed", "3", *LONG, cwd=project) as terminal:
        terminal.wait_for(r"step \d+")
        terminal.type(CTRL_C)
        assert terminal.end() == 75
    return project


@pytest.fixture(autouse=True)
def nothing_left_running(project: Path) -> Iterator[None]:
    yield
    perdure("kill", "--all", "--yes", cwd=project)


def test_show_and_logs_tell_of_every_attempt(done: Path) -> None:
    with on_terminal("resume", "first", cwd=done) as terminal:
        terminal.wait_for(r"attempt 2 goes on from step \d+")
        # What the first attempt printed was seen before.
        assert "attempt 1 stopped" not in terminal.text
        terminal.type(CTRL_C)
        assert terminal.end() == 75
    told = perdure("show", "@last", cwd=done).out
    assert told.startswith("first: INTERRUPTED\n")
    assert "seed:        3\n" in told
    assert "attempt 1: " in told
    assert "  notice: ctrl-c, 30 s to stop\n" in told
    assert "  goes on from step " in told
    assert "result: weights " in told
    known = json.loads(perdure("show", "fir", "--json", cwd=done).out)
    assert known["record"]["seed"] == 3
    assert len(known["attempts"]) == 2
    assert known["status"]["state"] == "INTERRUPTED"
    logs = perdure("logs", "first", cwd=done)
    assert logs.out.count("hello from the training\n") == 2
    assert logs.err == "--- attempt 1 ---\n--- attempt 2 ---\n"


def test_logs_of_a_job_that_never_began_are_what_its_scheduler_said(project: Path) -> None:
    perdure("run", "--name", "brief", "--", "true", cwd=project)
    run_dir = project / "results" / "brief"
    for name in ("attempts", "logs"):
        shutil.rmtree(run_dir / name)
    (run_dir / "gen-000001").unlink()
    (run_dir / "slurm.log").write_text("".join(f"line {n}\n" for n in range(100)))
    logs = perdure("logs", "brief", cwd=project)
    assert logs.out.splitlines() == [f"line {n}" for n in range(50, 100)]
    assert "no attempt of `brief` has begun: perdure show brief\n--- slurm.log ---\n" in logs.err


def test_training_that_knows_nothing_of_perdure_begins_again(project: Path) -> None:
    for words in (("run", "--name", "blind", "unaware"), ("resume", "blind")):
        with on_terminal(*words, cwd=project) as terminal:
            terminal.wait_for("working")
            terminal.type(CTRL_C)
            assert terminal.end() == 75
    assert "began again" in perdure("show", "blind", cwd=project).out


def test_rerun_and_why(project: Path) -> None:
    assert perdure("run", "--name", "one", "--seed", "3", "train", cwd=project).code == 0
    again = perdure("rerun", "one", cwd=project)
    assert again.code == 0, again.err
    assert "identical: weights " in again.out
    same = perdure("why", "one", "@last", cwd=project)
    assert same.out.startswith("nothing differs")
    assert "same result" in same.out
    (project / "src" / "cats" / "extra.py").write_text("x = 1\n")
    assert perdure("run", "--name", "two", "train", "--steps", "4", cwd=project).code == 0
    other = perdure("why", "one", "two", cwd=project).out
    for word in ("WHAT", "src/cats/extra.py", "--steps 4", "seed", "not the same result"):
        assert word in other
    told = json.loads(perdure("why", "--json", "one", "two", cwd=project).out)
    assert {"code", "seed", "arguments"} == {each["aspect"] for each in told["differences"]}


def test_a_rerun_that_comes_to_something_else_says_so(project: Path) -> None:
    assert perdure("run", "--name", "noisy", "train", "--noise", cwd=project).code == 0
    again = perdure("rerun", "noisy", cwd=project)
    assert again.code == 7, again
    assert "did not come to what `noisy` came to" in again.err
    assert "hint: perdure why noisy" in again.err


def test_attach_opens_a_shell_where_the_job_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert perdure("run", "--name", "one", "train", cwd=project).code == 0
    where = perdure("attach", "one", "--", "python", "-c", "import cats; print(cats.__file__)")
    assert where.code == 2  # not in a project
    shown = perdure(
        "attach", "one", "--", "python", "-c", "import cats; print(cats.__file__)", cwd=project
    )
    assert "/.perdure/snapshots/" in shown.out
    assert perdure("attach", "one", "--", "sh", "-c", "exit 5", cwd=project).code == 5
    monkeypatch.setenv("SHELL", "/bin/sh")
    with on_terminal("attach", "one", cwd=project) as terminal:
        terminal.wait_for("leaving it leaves the job be")
        terminal.type(b"echo $((6 * 7)); exit 3\n")
        terminal.wait_for("42")
        assert terminal.end() == 3


def test_what_is_attached_ends_with_perdure(project: Path) -> None:
    assert perdure("run", "--name", "one", "train", cwd=project).code == 0
    pid = project / "pid"
    words = ("sh", "-c", 'echo $$ >"$0.new"; mv "$0.new" "$0"; exec sleep 1000', str(pid))
    attached = subprocess.Popen([*MAIN, "attach", "one", "--", *words], cwd=project)
    until(pid.exists)
    attached.terminate()
    assert attached.wait(60) == 130
    until(lambda: not alive(int(pid.read_text())))


def test_clean_asks_first_and_deletes_what_has_ended(done: Path) -> None:
    assert perdure("run", "--name", "one", "train", cwd=done).code == 0
    results = done / "results"
    young = perdure("clean", "results", "--older-than", "1d", "--yes", cwd=done)
    assert "no job to delete" in young.err
    with on_terminal("clean", "results", cwd=done) as terminal:
        terminal.wait_for(r"delete 1 job .*: one\? \[y/N\]")
        terminal.type(b"n\n")
        assert terminal.end() == 0
    assert (results / "one").is_dir()
    with on_terminal("clean", "results", cwd=done) as terminal:
        terminal.wait_for(r"\[y/N\]")
        terminal.type(b"y\n")
        assert terminal.end() == 0
    # The interrupted one could go on: it is deleted when it is named.
    assert [path.name for path in results.iterdir()] == ["first"]
    assert perdure("clean", "results", "first", "--yes", cwd=done).code == 0
    assert list(results.iterdir()) == []


def test_clean_tells_a_program_what_it_would_delete_and_what_it_did(done: Path) -> None:
    assert perdure("run", "--name", "one", "train", cwd=done).code == 0
    dry = json.loads(perdure("clean", "results", "--json", "--dry-run", cwd=done).out)
    assert (dry["deleted"], dry["jobs"]) == (False, ["one"])
    assert dry["bytes"] > 0
    with on_terminal("clean", "results", "--json", cwd=done) as terminal:
        terminal.wait_for(r"\[y/N\]")
        terminal.type(b"n\n")
        assert terminal.end() == 0
        assert '"deleted": false' in terminal.text
    assert (done / "results" / "one").is_dir()
    real = json.loads(perdure("clean", "results", "--json", "--yes", cwd=done).out)
    assert (real["deleted"], real["jobs"]) == (True, ["one"])


def test_clean_asks_before_it_deletes_what_no_job_needs(done: Path) -> None:
    assert perdure("clean", "results", "first", "--yes", cwd=done).code == 0
    unnamed = done / ".perdure" / "snapshots" / ("0" * 64)
    unnamed.mkdir(parents=True)
    with on_terminal("clean", "results", cwd=done) as terminal:
        terminal.wait_for(r"delete 1 snapshot that no job needs\? \[y/N\]")
        terminal.type(b"n\n")
        assert terminal.end() == 0
    assert unnamed.is_dir()
    assert perdure("clean", "results", "--yes", cwd=done).code == 0
    assert not unnamed.exists()


def test_a_job_that_has_ended_was_not_killed(project: Path) -> None:
    assert perdure("run", "--name", "one", "train", cwd=project).code == 0
    ended = perdure("kill", "one", cwd=project)
    assert (ended.code, "`one` had ended: SUCCEEDED" in ended.err) == (0, True), ended


def test_kill_all_asks_first(project: Path) -> None:
    assert perdure("run", "-d", "--name", "a", *LONG, cwd=project).code == 0
    with on_terminal("kill", "--all", cwd=project) as terminal:
        terminal.wait_for(r"kill 1 job\? \[y/N\]")
        terminal.type(b"\n")
        assert terminal.end() == 0
    assert json.loads(perdure("ps", "--json", cwd=project).out)[0]["state"] != "CANCELLED"
    assert "killed `a`" in perdure("kill", "a", cwd=project).err
    assert "no job runs" in perdure("kill", "--all", cwd=project).err


@pytest.mark.parametrize("columns", [20, 40, 200])
def test_ps_fits_its_terminal_and_watches_until_ctrl_c(project: Path, columns: int) -> None:
    assert perdure("run", "--name", "one", "train", cwd=project).code == 0
    with on_terminal("ps", cwd=project, columns=columns) as terminal:
        assert terminal.end() == 0
        lines = terminal.text.splitlines()
    assert len(lines) == 2
    assert "one" in lines[1]
    with on_terminal("ps", "-w", cwd=project, columns=columns) as terminal:
        terminal.wait_for("one")
        terminal.type(CTRL_C)
        assert terminal.end() == 0


def test_completion_is_a_script_each_shell_can_read(project: Path) -> None:
    bash = perdure("completion", "bash").out
    assert subprocess.run(["bash", "-n"], input=bash, text=True, check=False).returncode == 0
    assert "perdure ps --names jobs" in bash
    assert perdure("completion", "zsh").out.startswith("#compdef perdure")
    assert "complete perdure" in perdure("completion", "tcsh").out
    assert perdure("ps", "--names", "tasks", cwd=project).out.split() == [
        "crash",
        "echo",
        "stubborn",
        "train",
        "unaware",
    ]
    nowhere = perdure("ps", "--names", "jobs", cwd=project.parent)
    assert (nowhere.code, nowhere.out, nowhere.err) == (0, "", "")


COMPLETE = """
source /dev/stdin
COMP_WORDS=(perdure run tr) COMP_CWORD=2
_shtab_perdure
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes_the_tasks_of_the_project(project: Path) -> None:
    bash = perdure("completion", "bash").out
    bin_folder = project.parent / "bin"
    bin_folder.mkdir()
    (bin_folder / "perdure").write_text('#!/bin/sh\nexec python -m perdure.cli.main "$@"\n')
    (bin_folder / "perdure").chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", f'PATH="{bin_folder}:$PATH"\n{COMPLETE}'],
        input=bash,
        text=True,
        capture_output=True,
        cwd=project,
        check=False,
    )
    assert done.stdout.split() == ["train"], done.stderr


def test_new_makes_a_project_and_asks_two_questions_at_most(tmp_path: Path) -> None:
    made = perdure("new", "cats", cwd=tmp_path)
    assert made.code == 0, made.err
    assert "made `cats`" in made.err
    assert "train" in perdure("ps", "--names", "tasks", cwd=tmp_path / "cats").out.split()
    with on_terminal("new", "dogs", cwd=tmp_path) as terminal:
        terminal.wait_for("what is it about")
        terminal.type(b"Dogs' faces\n")
        terminal.wait_for("who writes it")
        terminal.type(b"\n")
        assert terminal.end() == 0
    assert "Dogs' faces" in (tmp_path / "dogs" / "README.md").read_text()
    again = perdure("new", "cats", cwd=tmp_path)
    assert again.code == 3


def test_the_kinds_of_the_drill_are_those_it_knows() -> None:
    assert tuple(kind.value for kind in Kind) == KINDS
