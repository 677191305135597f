"""`perdure push`, `pull` and `clean` as a user sees them: to a folder as a bucket, a real host."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import is_one_error, perdure
from tests.cli.terminal import on_terminal
from tests.engines.hosts import Hosts

OTHER = "[targets.gpubox]\nhost = 'gpu1'\nroot = '{root}'\n"


@pytest.fixture
def full(project: Path) -> Path:
    """Return a project with data, a notebook and an ignored data file."""
    (project / "data").mkdir()
    (project / "data" / "README.md").write_text("committed")
    (project / "data" / "a file.csv").write_text("1,2\n")
    (project / "notebooks").mkdir()
    (project / "notebooks" / "look.ipynb").write_text("{}")
    return project


@pytest.fixture
def bucket(tmp_path: Path) -> str:
    """Return the address of a folder that serves as a bucket."""
    return f"file://{tmp_path}/bucket"


@pytest.fixture
def gpubox(full: Path, hosts_here: Hosts, user_settings: Path) -> Iterator[Path]:
    """Have the target `gpubox` in the project's own settings; return where projects lie there."""
    root = hosts_here.place("gpu1") / f"cli of {full.parent.name}"
    (full / ".perdure").mkdir()
    (full / ".perdure" / "local.toml").write_text(OTHER.format(root=root))
    yield root
    shutil.rmtree(root, ignore_errors=True)


def test_what_was_pushed_is_told_in_one_line(full: Path, bucket: str) -> None:
    ended = perdure("push", "data", "--on", bucket, cwd=full)
    assert ended.code == 0, ended.err
    assert ended.out == ""
    assert f"pushed data to {bucket}: 2 files, 13 bytes in 0 s" in ended.err
    again = perdure("push", "data", "--on", bucket, cwd=full)
    assert f"pushed data to {bucket}: 0 files, 0 bytes; 2 unchanged" in again.err


def test_a_dry_run_names_the_files_and_moves_nothing(full: Path, bucket: str) -> None:
    ended = perdure("push", "data", "--on", bucket, "--dry-run", cwd=full)
    assert ended.out.splitlines() == ["README.md", "a file.csv"]
    assert "would push data" in ended.err
    assert not (full.parent / "bucket").exists()


def test_json_says_the_same(full: Path, bucket: str) -> None:
    ended = perdure("push", "all", "--on", bucket, "--json", cwd=full)
    words = {each["word"]: each for each in json.loads(ended.out)}
    assert set(words) == {"code", "data", "notebooks"}
    assert words["data"]["files"] == 2
    assert words["data"]["skipped"] == []
    assert words["code"]["files"] >= 4


def test_all_comes_back(full: Path, bucket: str) -> None:
    perdure("push", "all", "--on", bucket, cwd=full)
    shutil.rmtree(full / "data")
    (full / "src" / "cats" / "train.py").unlink()
    ended = perdure("pull", "all", "--on", bucket, cwd=full)
    assert ended.code == 0, ended.err
    assert (full / "data" / "a file.csv").read_text() == "1,2\n"
    assert (full / "src" / "cats" / "train.py").is_file()


def test_code_is_what_live_sync_takes_for_code(full: Path, bucket: str) -> None:
    (full / ".perdureignore").write_text("scratch/\n")
    (full / "scratch").mkdir()
    (full / "scratch" / "notes.py").write_text("mine")
    ended = perdure("push", "code", "--on", bucket, "--dry-run", "-v", cwd=full)
    paths = ended.out.splitlines()
    assert "src/cats/train.py" in paths
    assert "notebooks/look.ipynb" in paths
    assert not [path for path in paths if path.startswith(("data/", "scratch/", ".git/"))]


def test_an_edit_that_is_displaced_is_told(full: Path, bucket: str) -> None:
    perdure("push", "data", "--on", bucket, cwd=full)
    shutil.rmtree(full / ".perdure")
    (full / "data" / "a file.csv").write_text("mine")
    ended = perdure("pull", "data", "--on", bucket, cwd=full)
    assert "edited here: what 1 file had, such as `a file.csv`, is kept in" in ended.err
    kept = next((full / ".perdure" / "conflicts").rglob("a file.csv"))
    assert kept.read_text() == "mine"


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_no_other_side_is_one_error(full: Path, verb: str) -> None:
    assert is_one_error(perdure(verb, "data", cwd=full), 2, "--on", "perdure targets")
    (full / ".perdure").mkdir()
    two = "[targets.a]\nhost = 'a'\n[targets.b]\nhost = 'b'\n"
    (full / ".perdure" / "local.toml").write_text(two)
    assert is_one_error(perdure(verb, "data", cwd=full), 2, "--on", "a, b")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("push", "data", "--on", "nowhere"), 2, "no target `nowhere`"),
        (("push", "data", "--on", "local"), 2, "this machine"),
        (("push", "data", "--on", "ftp://x/y"), 2, "no kind of bucket"),
        (("push", "data", "--on", "s3://"), 2, "names no bucket"),
        (("push", "data", "--on", "s3://user:secret@lab/x"), 2, "neither a user nor a query"),
        (("push", "data", "--on", "az://lab/x?sig=secret"), 2, "neither a user nor a query"),
        (("push", "data", "--on", "file://relative"), 2, "names no folder"),
        (("push", "data", "brave", "--on", "file:///x"), 2, "takes no jobs"),
        (("push", "results", "--on", "file:///x"), 2, "no folder"),
        (("pull", "data", "--on", "file:///no/such/folder"), 2, "there is no folder"),
        (("push", "everything", "--on", "file:///x"), 2, "everything"),
        (("clean", "code"), 2, "never here"),
        (("clean", "all"), 2, "never here"),
        (("clean", "data", "brave"), 2, "takes no jobs"),
    ],
)
def test_bad_input_is_one_error(full: Path, words: tuple[str, ...], code: int, said: str) -> None:
    ended = perdure(*words, cwd=full)
    assert is_one_error(ended, code, said)
    assert "secret" not in ended.err


def test_a_half_pushed_folder_does_not_count(full: Path, bucket: str) -> None:
    perdure("push", "data", "--on", bucket, cwd=full)
    ours = full.parent / "bucket" / "data" / ".perdure"
    (ours / "committed.json").rename(ours / "pushing.json")
    ended = perdure("pull", "data", "--on", bucket, cwd=full)
    assert is_one_error(ended, 3, "has not ended", "perdure push data")


def test_cleaning_asks_and_refuses_where_nobody_answers(full: Path, bucket: str) -> None:
    perdure("push", "data", "--on", bucket, cwd=full)
    ended = perdure("clean", "data", "--on", bucket, cwd=full)
    assert is_one_error(ended, 2, "nobody is here to answer", f"clean data --on {bucket} --yes")
    dry = perdure("clean", "data", "--on", bucket, "--dry-run", cwd=full)
    assert "would delete data" in dry.err
    assert (full.parent / "bucket" / "data" / "a file.csv").exists()
    done = perdure("clean", "data", "--on", bucket, "--yes", "--json", cwd=full)
    assert json.loads(done.out)[0]["deleted"] is True
    assert not (full.parent / "bucket" / "data" / "a file.csv").exists()
    assert "nothing of data to delete" in perdure("clean", "data", "--on", bucket, cwd=full).err


def test_no_is_no_on_a_terminal(full: Path, bucket: str) -> None:
    perdure("push", "data", "--on", bucket, cwd=full)
    with on_terminal("clean", "data", "--on", bucket, "--json", cwd=full) as terminal:
        terminal.wait_for(r"\[y/N\]")
        terminal.type(b"n\n")
        assert terminal.end() == 0
        assert '"deleted": false' in terminal.text
    assert (full.parent / "bucket" / "data" / "a file.csv").exists()
    with on_terminal("clean", "data", "--on", bucket, cwd=full) as terminal:
        terminal.wait_for(r"\[y/N\]")
        terminal.type(b"y\n")
        assert terminal.end() == 0
    assert not (full.parent / "bucket" / "data" / "a file.csv").exists()


def test_cleaning_here_leaves_what_git_has(full: Path) -> None:
    subprocess.run(["git", "-C", str(full), "add", "-f", "data/README.md"], check=True)
    assert is_one_error(perdure("clean", "data", cwd=full), 2, "nobody is here", "--yes")
    assert perdure("clean", "data", "--yes", cwd=full).code == 0
    assert [path.name for path in (full / "data").iterdir()] == ["README.md"]


def test_cleaning_here_does_not_reach_behind_a_link(full: Path, tmp_path: Path) -> None:
    (full / "data").rename(tmp_path / "everybody's")
    (full / "data").symlink_to(tmp_path / "everybody's")
    assert is_one_error(perdure("clean", "data", "--yes", cwd=full), 3, "is a link")
    assert (tmp_path / "everybody's" / "a file.csv").exists()


def test_a_host_takes_and_gives_all_words(full: Path, gpubox: Path) -> None:
    pushed = perdure("push", "all", "--on", "gpubox", cwd=full)
    assert pushed.code == 0, pushed.err
    there = next(gpubox.iterdir())
    assert (there / "data" / "a file.csv").read_text() == "1,2\n"
    assert (there / "src" / "cats" / "train.py").is_file()
    assert not (there / ".git").exists()
    (there / "results" / "brave" / "logs").mkdir(parents=True)
    (there / "results" / "brave" / "logs" / "000001.log").write_text("hello\n")
    (there / "results" / "brave" / "checkpoints" / "g1").mkdir(parents=True)
    (there / "results" / "brave" / "checkpoints" / "g1" / "meta.json").write_text("{}")
    # The only host needs no name.
    pulled = perdure("pull", "results", cwd=full)
    assert pulled.code == 0, pulled.err
    assert "pulled results from gpubox" in pulled.err
    assert (full / "results" / "brave" / "logs" / "000001.log").read_text() == "hello\n"
    assert "`--checkpoints` moves them" in pulled.err
    named = perdure("pull", "results", "brave", "--checkpoints", "--on", "gpubox", cwd=full)
    assert named.code == 0, named.err
    assert (full / "results" / "brave" / "checkpoints" / "g1" / "meta.json").is_file()


def test_cleaning_a_host_asks_and_leaves_jobs_that_are_not_named(full: Path, gpubox: Path) -> None:
    perdure("push", "all", "--on", "gpubox", cwd=full)
    there = next(gpubox.iterdir())
    (there / "results" / "brave").mkdir(parents=True)
    (there / "results" / "brave" / "job.json").write_text("{}")
    ended = perdure("clean", "all", "--on", "gpubox", cwd=full)
    assert is_one_error(ended, 2, "nobody is here to answer", "clean all --on gpubox --yes")
    assert perdure("clean", "all", "--on", "gpubox", "--yes", cwd=full).code == 0
    assert (there / "results" / "brave").is_dir(), "nobody here knows that it has ended"
    assert not (there / "src").exists()
    assert list((there / "data").iterdir()) == []
    named = perdure("clean", "results", "brave", "--on", "gpubox", "--yes", cwd=full)
    assert named.code == 0, named.err
    assert list((there / "results").iterdir()) == []
