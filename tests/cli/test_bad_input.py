"""What a user can get wrong: one clear error with a hint, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import is_one_error, perdure

LONG = ("train", "--steps", "100000", "--pause", "0.01")


@pytest.fixture
def done(project: Path) -> Path:
    """Return a project with one job that has ended, `done-one`."""
    ended = perdure("run", "--name", "done-one", "train", cwd=project)
    assert ended.code == 0, ended.err
    return project


@pytest.fixture
def kill_all(project: Path) -> Iterator[None]:
    yield
    perdure("kill", "--all", "--yes", cwd=project)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".perdure" not in path.parts
    }


def test_no_project(tmp_path: Path) -> None:
    for words in (("ps",), ("run", "train"), ("show", "@last"), ("lock",), ("drill", "train")):
        assert is_one_error(perdure(*words, cwd=tmp_path), 2, "no project here", "perdure new")


def test_all_problems_of_pyproject_at_once(project: Path) -> None:
    file = project / "pyproject.toml"
    text = file.read_text().replace("[tool.perdure.tasks]", 'grace = 3\n[tool.perdure.taks]\na="b"')
    file.write_text(text)
    ended = perdure("run", "train", cwd=project)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert "tool.perdure.grace" in ended.err
    assert "tool.perdure.taks" in ended.err
    assert "did you mean `tasks`?" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.usefixtures("kill_all")
def test_a_slip_in_pyproject_keeps_nobody_from_stopping_a_job(project: Path) -> None:
    for job in ("first", "second"):
        assert perdure("run", "-d", "--name", job, *LONG, cwd=project).code == 0
    file = project / "pyproject.toml"
    text = file.read_text()
    file.write_text(text.replace("format = 1", "format = "))
    assert is_one_error(perdure("run", "train", cwd=project), 2, "not valid TOML")
    for verb in ("show", "logs", "interrupt"):
        ended = perdure(verb, "first", cwd=project)
        assert ended.code == 0, ended.err
    assert perdure("why", "first", "second", cwd=project).code == 0
    assert "killed `second`" in perdure("kill", "--all", "--yes", cwd=project).err
    file.write_text(text)


@pytest.mark.usefixtures("kill_all")
def test_one_job_that_cannot_be_killed_does_not_keep_the_others(project: Path) -> None:
    for job in ("first", "second"):
        assert perdure("run", "-d", "--name", job, *LONG, cwd=project).code == 0
    # Its host is one that nobody knows, and so cannot be asked.
    file = project / "results" / "first" / "job.json"
    before = file.read_text()
    file.write_text(json.dumps({**json.loads(before), "target": "nowhere"}))
    ended = perdure("kill", "--all", "--yes", cwd=project)
    file.write_text(before)
    assert is_one_error(ended, 2, "killed `second`", "nowhere")


def test_a_task_that_does_not_exist(project: Path) -> None:
    before = files_of(project)
    assert is_one_error(perdure("run", "trian", cwd=project), 2, "`trian`", "did you mean `train`?")
    assert is_one_error(perdure("run", "--", cwd=project), 2, "perdure run")
    assert is_one_error(perdure("run", cwd=project), 2, "name a task")
    assert is_one_error(perdure("drill", "trian", "-n", "1", cwd=project), 2, "`train`")
    assert files_of(project) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--name", "../x"), 2, ("`../x` cannot name a job",)),
        (("--name", "-"), 2, ("cannot name a job",)),
        (("--name", "A b"), 2, ("cannot name a job",)),
        (("--env", "NOT_SET_ANYWHERE"), 2, ("NOT_SET_ANYWHERE", "export")),
        (("--env", "=x"), 2, ("names no variable",)),
        (("--env", "A B=x"), 2, ("`--env A B=x` names no variable",)),
        (("--env", "1A"), 2, ("names no variable",)),
        (("--on", "loca"), 2, ("no target `loca`", "did you mean `local`?")),
        (("--variant", "cuda"), 4, ("no variant `cuda`",)),
        (("--watch", "ibm"), 2, ("`--watch ibm` is not one of",)),
        (("--seed", "x"), 2, ("whole number",)),
    ],
)
def test_options_that_cannot_be(
    project: Path, words: tuple[str, ...], code: int, said: tuple[str, ...]
) -> None:
    assert is_one_error(perdure("run", *words, "train", cwd=project), code, *said)
    assert not list((project / "results").glob("*"))


@pytest.mark.parametrize("verb", ["show", "logs", "resume", "attach", "interrupt", "kill", "rerun"])
def test_a_job_that_does_not_exist(project: Path, verb: str) -> None:
    assert is_one_error(perdure(verb, "nobody", cwd=project), 2, "there is no job `nobody`")


def test_job_names_that_mean_none_or_several(done: Path) -> None:
    assert perdure("run", "--name", "done-two", "train", cwd=done).code == 0
    several = perdure("show", "done", cwd=done)
    assert is_one_error(several, 2, "2 jobs", "done-one", "done-two")
    assert is_one_error(perdure("show", "", cwd=done), 2, "no job")
    assert is_one_error(perdure("kill", cwd=done), 2, "--all")
    assert is_one_error(perdure("kill", "--all", "done-one", cwd=done), 2, "--all")
    # The second name is wrong: the first job is left alone.
    assert is_one_error(perdure("interrupt", "done-one", "x", cwd=done), 2, "`x`")
    taken = perdure("run", "--name", "done-one", "train", cwd=done)
    assert is_one_error(taken, 3, "`done-one`", "perdure show done-one")


def test_what_has_ended_cannot_be_stopped_or_resumed(done: Path) -> None:
    assert is_one_error(perdure("interrupt", "@last", cwd=done), 3, "not running")
    assert is_one_error(perdure("resume", "@last", cwd=done), 3, "perdure rerun done-one")
    assert is_one_error(perdure("recover", "@last", cwd=done), 2, "was not lost")
    assert perdure("recover", cwd=done).err == "no job was lost\n"
    assert perdure("kill", "@last", cwd=done).code == 0
    assert "SUCCEEDED" in perdure("ps", cwd=done).out


@pytest.mark.usefixtures("kill_all")
def test_a_second_resume_of_a_running_job(project: Path) -> None:
    assert perdure("run", "-d", "--name", "busy", *LONG, cwd=project).code == 0
    ended = perdure("resume", "busy", cwd=project)
    assert is_one_error(ended, 3, "already running", "perdure logs -f busy")
    assert is_one_error(perdure("clean", "results", "busy", cwd=project), 3, "perdure kill busy")


def test_a_run_folder_from_a_newer_perdure(done: Path) -> None:
    file = done / "results" / "done-one" / "job.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99, "news": 1}))
    before = files_of(done / "results")
    for verb in ("show", "resume", "logs", "rerun"):
        assert is_one_error(perdure(verb, "done-one", cwd=done), 6, "newer perdure")
    listed = perdure("ps", "-a", cwd=done)
    assert listed.code == 0
    assert "UNKNOWN" in listed.out
    assert files_of(done / "results") == before


@pytest.mark.usefixtures("kill_all")
def test_a_job_whose_record_is_damaged_can_be_killed(project: Path) -> None:
    assert perdure("run", "-d", "--name", "busy", *LONG, cwd=project).code == 0
    (project / "results" / "busy" / "job.json").write_text("{")
    assert is_one_error(perdure("show", "busy", cwd=project), 1, "perdure kill busy")
    assert "killed `busy`" in perdure("kill", "busy", cwd=project).err
    (project / "results" / "busy" / "job.json").unlink()
    ended = perdure("show", "busy", cwd=project)
    assert is_one_error(ended, 2, "there is no job `busy`", "perdure ps -a")


def test_a_run_folder_that_is_torn(done: Path) -> None:
    (done / "results" / "done-one" / "job.json").write_text("{")
    assert perdure("show", "done-one", cwd=done).code == 1
    assert "UNKNOWN" in perdure("ps", "-a", cwd=done).out


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="Linux has a folder root cannot write")
def test_an_unwritable_folder(project: Path) -> None:
    (project / "results").symlink_to("/sys/kernel")
    ended = perdure("run", "train", cwd=project)
    assert ended.code == 5
    assert "cannot write" in ended.err
    assert "Traceback" not in ended.err


def test_results_that_are_no_folder(project: Path) -> None:
    (project / "results").write_text("mine")
    ended = perdure("run", "train", cwd=project)
    assert ended.code == 5
    assert "Traceback" not in ended.err
    assert (project / "results").read_text() == "mine"


@pytest.mark.parametrize("in_its_place", ["file", "loop", "nowhere"])
def test_something_else_in_the_place_of_perdures_own_folder(
    project: Path, in_its_place: str
) -> None:
    state = project / ".perdure"
    if in_its_place == "file":
        state.write_text("mine")
    else:
        state.symlink_to(".perdure" if in_its_place == "loop" else "/nowhere/at/all")
    for words in (("run", "train"), ("drill", "train", "-n", "1"), ("lock",)):
        ended = perdure(*words, cwd=project)
        assert is_one_error(ended, 5, ".perdure"), words
    assert state.is_symlink() or state.read_text() == "mine"


def without(program: str, tmp_path: Path) -> str:
    """Return a PATH that has every program but one; Python's own folder is left as it is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    own, *places = os.environ["PATH"].split(os.pathsep)
    assert not Path(own, program).exists()
    for place in reversed(places):
        for path in Path(place).glob("*") if Path(place).is_dir() else ():
            link = folder / path.name
            if path.name != program:
                link.unlink(missing_ok=True)
                link.symlink_to(path)
    return f"{own}{os.pathsep}{folder}"


def test_no_git_is_told_and_does_no_harm(project: Path, tmp_path: Path) -> None:
    ended = perdure("run", "train", cwd=project, env={"PATH": without("git", tmp_path)})
    assert ended.code == 0, ended.err
    assert "no git on this machine" in ended.err


def test_a_program_that_is_not_there(project: Path) -> None:
    ended = perdure("run", "--", "no-such-program", cwd=project)
    assert ended.code == 4
    assert "no program `no-such-program`" in ended.err
    assert "Traceback" not in ended.err


def test_nobody_to_ask(done: Path) -> None:
    ended = perdure("clean", "results", cwd=done)
    assert is_one_error(ended, 2, "done-one", "perdure clean results --yes")
    assert (done / "results" / "done-one" / "job.json").is_file()


@pytest.mark.parametrize("name", ["a b", "../$(x)", "code", "-x", "", "1", "torch"])
def test_names_no_project_can_have(tmp_path: Path, name: str) -> None:
    ended = perdure("new", "--yes", "--", name, cwd=tmp_path)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == []
