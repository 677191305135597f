from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.cli import sweeping
from perdure.cli.commands.sweep import chosen
from perdure.cli.main import main
from perdure.cli.parser import build_parser, parse
from perdure.cli.verbs import find_verb
from perdure.sweeps.holding import is_driven, last_word
from perdure.sweeps.record import folder_of
from tests.cli.command import is_one_error, perdure
from tests.sweeps.conftest import end_all, kill_driver
from tests.waiting import until


@pytest.fixture
def swept(project: Path) -> Iterator[Path]:
    """Return a project whose sweeps are ended afterwards."""
    from perdure.jobs.workspace import locate_workspace

    yield project
    end_all(locate_workspace(project))


def ended(project: Path, name: str) -> None:
    from perdure.jobs.workspace import locate_workspace

    folder = folder_of(locate_workspace(project).project, name)
    until(lambda: not is_driven(folder))


def test_words_and_options_stand_in_any_order() -> None:
    verb = find_verb("sweep")
    assert verb is not None
    words = ["train", "--on", "x", "lr=1,2", "--name=n", "seed=0..4", "--explain", "--", "--e", "3"]
    found = parse(build_parser(verb), words)
    assert (found.words, found.target, found.name) == (["train", "lr=1,2", "seed=0..4"], "x", "n")
    assert found.explain
    assert found.rest == ("--e", "3")


@pytest.mark.parametrize(
    ("words", "has_file", "word", "rest"),
    [
        (("status",), False, "status", ()),
        (("status", "x"), False, "status", ("x",)),
        (("status", "lr=1,2"), False, "", ("status", "lr=1,2")),
        (("status",), True, "", ("status",)),
        (("extend", "x", "seed=5..9"), False, "extend", ("x", "seed=5..9")),
        (("train", "lr=1"), False, "", ("train", "lr=1")),
        ((), True, "", ()),
    ],
)
def test_a_task_may_have_the_name_of_a_word(
    words: tuple[str, ...], has_file: bool, word: str, rest: tuple[str, ...]
) -> None:
    assert chosen(words, has_file) == (word, rest)


def test_a_sweep_from_its_beginning_to_its_picture(swept: Path) -> None:
    begun = perdure(
        *("sweep", "train", "steps=1..3", "seed=0..1", "--name", "first", "--max-running", "2"),
        cwd=swept,
    )
    assert (begun.code, begun.out) == (0, "first\n"), begun
    assert "6 jobs, 2 at a time" in begun.err
    ended(swept, "first")
    status = perdure("sweep", "status", cwd=swept)
    assert "SUCCEEDED" in status.out
    assert "6 succeeded" in status.out
    one = perdure("sweep", "status", "first", cwd=swept)
    assert "6 of 6 jobs ended" in one.out
    assert "LOWEST loss" in one.out
    found = json.loads(perdure("sweep", "results", "--json", cwd=swept).out)
    assert found["states"] == {"SUCCEEDED": 6}
    assert found["trials"][5]["values"] == {"steps": "3", "seed": "1"}
    table = perdure("sweep", "results", "first", "--csv", cwd=swept).out.splitlines()
    assert table[0].startswith("job,trial,steps,seed,state,reason,attempt,loss")
    assert len(table) == 7
    drawn = perdure("sweep", "results", "first", "--plot", "p.svg", cwd=swept)
    assert drawn.code == 0, drawn
    assert (swept / "p.svg").read_text().count("<circle") == 12


def test_its_trials_are_jobs_to_every_verb(swept: Path) -> None:
    begun = perdure("sweep", "train", "steps=1..3", "seed=0..1", "--name", "first", cwd=swept)
    assert begun.code == 0, begun
    ended(swept, "first")
    listed = json.loads(perdure("ps", "-a", "--json", cwd=swept).out)
    assert [job["job"] for job in listed] == [f"first-{n:04d}" for n in range(1, 7)]
    shown = perdure("show", "first-0003", cwd=swept)
    assert "first" in shown.out
    assert perdure("why", "first-0003", "first-0004", cwd=swept).code == 0
    assert "done" in perdure("logs", "first-0001", cwd=swept).out
    again = perdure("rerun", "first-0002", cwd=swept)
    assert again.code == 0, again


def test_explain_counts_first_and_runs_nothing(swept: Path) -> None:
    found = perdure("sweep", "train", "steps=1..1000", "seed=0..9999", "--explain", cwd=swept)
    lines = found.out.splitlines()
    assert lines[0].startswith("10,000,000 jobs, ")
    assert any(line.endswith("  steps=1 seed=3: --steps 1") for line in lines)
    assert not (swept / "results").exists()
    assert not (swept / ".perdure" / "sweeps").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "steps="), "has no values"),
        (("train", "steps=1", "steps=2"), "is there twice"),
        (("train", "lr"), "is no axis"),
        (("trian", "steps=1,2"), "did you mean `train`?"),
        (("train", "seed=a"), "no seed"),
        ((), "name a task"),
        (("train",), "an axis at least"),
        (("train", "steps=1..1000", "seed=0..9999"), "nobody is here to answer"),
        (("train", "steps=1,2", "--max-running", "0"), "1 or more"),
        (("train", "steps=1,2", "--on", "nowhere"), "no target `nowhere`"),
        (("train", "steps=1,2", "--name", "No Name"), "cannot name a job"),
        (("status", "nothing"), "there is no sweep `nothing`"),
        (("train", "steps=1,2", "--max-runing", "3"), "--max-running"),
        (("--file", "nowhere.toml"), "there is no file"),
    ],
)
def test_bad_input_is_one_clear_error(swept: Path, words: tuple[str, ...], said: str) -> None:
    assert is_one_error(perdure("sweep", *words, cwd=swept), 2, said)
    assert not (swept / "results").exists()


def test_a_short_sweep_of_an_axis_that_its_task_does_not_know_says_so(swept: Path) -> None:
    assert perdure("sweep", "train", "stepps=1,2", "--name", "odd", cwd=swept).code == 0
    ended(swept, "odd")
    told = perdure("sweep", "status", "odd", cwd=swept)
    assert told.code == 0
    assert "odd: FAILED" in told.out
    assert "does `train` take `--stepps`?" in told.err


def test_a_file_says_it_all(swept: Path) -> None:
    (swept / "sweep.toml").write_text(
        'task = "train"\nname = "drawn"\narguments = ["--pause", "0"]\nmax_running = 2\n'
        '[axes]\nsteps = "1..9:lin"\nseed = [1, 2]\n'
        '[search]\nkind = "random"\ntrials = 5\n'
    )
    assert perdure("sweep", "--file", "sweep.toml", cwd=swept).out == "drawn\n"
    ended(swept, "drawn")
    found = json.loads(perdure("sweep", "results", "drawn", "--json", cwd=swept).out)
    assert found["states"] == {"SUCCEEDED": 5}
    assert {trial["values"]["seed"] for trial in found["trials"]} <= {"1", "2"}
    more = perdure("sweep", "extend", "drawn", "--trials", "2", cwd=swept)
    assert "2 more jobs, 7 in all" in more.err
    ended(swept, "drawn")


def test_what_is_typed_goes_before_a_file(swept: Path) -> None:
    (swept / "sweep.toml").write_text('on = "nowhere"\nmax_running = 2\n[axes]\nsteps = [1, 2]\n')
    words = ("sweep", "train", "--file", "sweep.toml", "--explain")
    assert is_one_error(perdure(*words, cwd=swept), 2, "no target `nowhere`")
    assert "on local: steps (2)" in perdure(*words, "--on", "local", cwd=swept).out
    here = (*words, "--on", "local", "--max-running")
    assert "3 at a time" in perdure(*here, "3", cwd=swept).out
    assert is_one_error(perdure(*here, "0", cwd=swept), 2, "1 or more")
    assert is_one_error(perdure(*here, "3", "--name", "", cwd=swept), 2, "cannot name a job")


def test_retry_does_what_it_says(swept: Path) -> None:
    assert perdure("sweep", "train", "stepps=1,2", "--name", "bad", cwd=swept).code == 0
    ended(swept, "bad")
    shutil.rmtree(swept / "results" / "bad-0001")
    again = perdure("sweep", "retry", "--failed", "bad", cwd=swept)
    assert again.code == 0, again
    assert "1 job cannot be run again: the run folder is deleted" in again.err
    assert "1 job of `bad` to be run again" in again.err
    ended(swept, "bad")
    trials = json.loads(perdure("sweep", "results", "bad", "--json", cwd=swept).out)["trials"]
    assert [(trial["attempt"], trial["state"]) for trial in trials] == [
        (1, "FAILED"),
        (2, "FAILED"),
    ]
    assert "the first of them bad-0002" in perdure("sweep", "status", "bad", cwd=swept).err


def test_a_stopped_sweep_is_begun_again_only_where_it_is_said(swept: Path) -> None:
    from perdure.jobs.workspace import locate_workspace

    words = ("train", "steps=100000,100001", "--name", "long", "--max-running", "1")
    assert perdure("sweep", *words, "--", "--pause", "0.01", cwd=swept).code == 0
    folder = folder_of(locate_workspace(swept).project, "long")
    assert perdure("sweep", "stop", "long", cwd=swept).code == 0
    before = (folder / "sweep.json").read_bytes()
    nothing = perdure("sweep", "retry", "--failed", "long", cwd=swept)
    assert (nothing.code, nothing.err) == (0, "no job of `long` is to be run again\n")
    assert (folder / "sweep.json").read_bytes() == before
    most = perdure("sweep", "extend", "long", "--max-running", "2", cwd=swept)
    assert most.err == "`long`: 2 at a time; it stays stopped: perdure sweep resume long\n"
    assert not is_driven(folder)
    more = perdure("sweep", "extend", "long", "steps=100002", cwd=swept)
    assert more.err == "`long`: 1 more job, 3 in all; it was stopped, and goes on\n"
    assert is_driven(folder)


def test_all_problems_of_a_file_are_listed_at_once(swept: Path) -> None:
    (swept / "sweep.toml").write_text(
        '[axis]\nx = 1\n[search]\nkind = "best"\ntrials = 0\nsampler = "tpee"\n'
    )
    found = perdure("sweep", "--file", "sweep.toml", "train", cwd=swept)
    assert found.code == 2
    for said in ("did you mean `axes`?", "search.kind", "search.trials", "did you mean `tpe`?"):
        assert said in found.err
    (swept / "sweep.toml").write_text('[axes]\nx = "1,2"\n[search]\nkind = "optuna"\n')
    found = perdure("sweep", "--file", "sweep.toml", "train", cwd=swept)
    assert "search.trials" in found.err
    assert "search.metric" in found.err


def test_a_driver_that_was_killed_is_told_of_and_followed(swept: Path) -> None:
    from perdure.jobs.workspace import locate_workspace

    words = ("train", "steps=100000..100002", "--name", "long", "--max-running", "1")
    assert perdure("sweep", *words, "--", "--pause", "0.01", cwd=swept).code == 0
    folder = folder_of(locate_workspace(swept).project, "long")
    word = last_word(folder)
    assert word is not None
    os.kill(word.pid, signal.SIGKILL)
    until(lambda: not is_driven(folder))
    assert "the driver of the sweep `long` is gone" in perdure("ps", cwd=swept).err
    assert "goes on" in perdure("recover", cwd=swept).err
    assert is_driven(folder)
    stopped = perdure("sweep", "stop", "long", cwd=swept)
    assert stopped.code == 0, stopped
    assert "STOPPED" in perdure("sweep", "status", "long", cwd=swept).out
    assert not is_driven(folder)


def test_a_sweep_whose_axis_nobody_reads_any_more_is_told_of_all_the_same(swept: Path) -> None:
    from perdure.jobs.workspace import locate_workspace

    words = ("train", "steps=1..3", "--name", "old", "--max-running", "2")
    assert perdure("sweep", *words, cwd=swept).code == 0
    assert perdure("sweep", "train", "steps=4", "--name", "new", cwd=swept).code == 0
    ended(swept, "old")
    ended(swept, "new")
    path = folder_of(locate_workspace(swept).project, "old") / "sweep.json"
    path.write_text(path.read_text().replace("1..3", "1..3:as-it-was-once"))
    every = perdure("sweep", "status", cwd=swept)
    assert (every.code, "UNKNOWN (" in every.out, "SUCCEEDED" in every.out) == (0, True, True)
    one = perdure("sweep", "status", "old", cwd=swept)
    assert (one.code, "UNKNOWN (" in one.out, "3 succeeded" in one.out) == (0, True, True), one
    results = perdure("sweep", "results", "old", "--csv", cwd=swept)
    assert results.out.splitlines()[0].startswith("job,trial,steps,state")
    found = json.loads(perdure("sweep", "results", "old", "--json", cwd=swept).out)
    assert (found["count"], found["states"]) == (3, {"SUCCEEDED": 3})
    assert "as-it-was-once" in found["problem"]
    assert perdure("ps", cwd=swept).code == 0
    assert is_one_error(perdure("sweep", "resume", "old", cwd=swept), 2, "as-it-was-once")


def test_a_sweep_that_cannot_be_read_does_not_hide_the_others(swept: Path) -> None:
    from perdure.jobs.workspace import locate_workspace

    for name in ("bad", "good"):
        assert perdure("sweep", "train", "steps=1", "--name", name, cwd=swept).code == 0
        ended(swept, name)
    (folder_of(locate_workspace(swept).project, "bad") / "sweep.json").write_text("{")
    told = perdure("sweep", "status", cwd=swept)
    assert (told.code, "good" in told.out) == (0, True), told
    assert "the sweep `bad` cannot be read" in told.err


def test_ctrl_c_once_it_is_submitted_says_so(
    swept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(swept)
    monkeypatch.setattr(sweeping, "_drive", interrupted)
    assert main(["sweep", "train", "n=1,2", "--name", "mine"]) == 130
    said = capsys.readouterr()
    assert said.out == ""
    assert "`mine` is submitted: perdure sweep stop|resume mine" in said.err


def test_a_driver_without_a_secret_of_its_jobs_is_not_begun(swept: Path) -> None:
    path = swept / "pyproject.toml"
    path.write_text(path.read_text() + '\n[tool.perdure.tasks.secret]\ncommand = "sh secret.sh"\n')
    script = 'while [ ! -e "$1" ]; do sleep 0.05; done; test "$TOKEN" = abc\n'
    (swept / "secret.sh").write_text(script)
    words = ("sweep", "secret", "x=1,2,3", "--name", "tok", "--max-running", "1", "--env", "TOKEN")
    begun = perdure(*words, "--", str(swept / "go"), cwd=swept, env={"TOKEN": "abc"})
    assert begun.code == 0, begun
    folder = swept / ".perdure" / "sweeps" / "tok"
    until((swept / "results" / "tok-0001" / "attempts" / "000001.jsonl").exists)
    kill_driver(folder)
    hint = "start it where it is: TOKEN=... perdure sweep resume tok"
    told = perdure("sweep", "status", "tok", cwd=swept)
    assert told.code == 0, told
    assert "is gone, and no other one begins: the jobs of `tok` get `TOKEN`" in told.err
    assert hint in told.err
    assert hint in perdure("recover", cwd=swept).err
    # Its lost job is not gone on with by itself, without the variable.
    assert [path.name for path in swept.glob("results/tok-0001/attempts/*")] == ["000001.jsonl"]
    assert is_one_error(perdure("sweep", "resume", "tok", cwd=swept), 2, "`TOKEN`", hint)
    assert not is_driven(folder)
    # To stop what is left of it nothing is needed.
    stopped = perdure("sweep", "stop", "tok", cwd=swept)
    assert (stopped.code, "is stopped" in stopped.err) == (0, True), stopped
    assert perdure("sweep", "resume", "tok", cwd=swept, env={"TOKEN": "abc"}).code == 0
    (swept / "go").touch()
    ended(swept, "tok")
    found = json.loads(perdure("sweep", "status", "tok", "--json", cwd=swept).out)
    assert found["states"] == {"SUCCEEDED": 3}
