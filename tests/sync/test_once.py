"""One tree brought up to date once, over a plain pipe."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.errors import ConflictError, StorageError, TimeoutExpired
from perdure.sync.channel import boot_words
from perdure.sync.exchange import Exchange
from perdure.sync.far.frames import Header
from perdure.sync.once import Destination, Summary, preview, synchronise
from perdure.sync.plan import Do
from perdure.sync.rules import Rules
from tests.sync.people import contents

LIMIT_S = 120.0


class Trees:
    """A project here, and where it goes."""

    def __init__(self, folder: Path) -> None:
        self.here, self.there, self.state = (folder / name for name in ("here", "there", "state"))
        self.here.mkdir()
        self.destination = Destination(boot_words(sys.executable), str(self.there))

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.here / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def sync(self, rules: Rules = Rules()) -> Summary:  # noqa: B008 - a frozen value
        return synchronise(
            self.here, self.destination, state=self.state, rules=rules, timeout_s=LIMIT_S
        )

    def skipped(self, rules: Rules = Rules()) -> dict[str, str]:  # noqa: B008 - a frozen value
        return {each.path: each.why for each in self.sync(rules).skipped}


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path)


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True)


def test_it_is_there_as_it_is_here(trees: Trees) -> None:
    trees.write(a="1", src__b="2")
    (trees.here / "run").write_text("#!/bin/sh\n")
    (trees.here / "run").chmod(0o755)
    (trees.here / "link").symlink_to("src/b")
    os.utime(trees.here / "a", ns=(5, 5_000_000_123))
    assert trees.sync().sent == 4
    assert contents(trees.there, aside=False) == contents(trees.here, aside=False)
    assert (trees.there / "run").stat().st_mode & 0o777 == 0o755
    assert (trees.there / "a").stat().st_mtime_ns == 5_000_000_123
    assert trees.sync().sent == 0


def test_what_somebody_puts_into_an_empty_place_meanwhile_is_kept(
    trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.write(a="ours", b="2", n_dot_ipynb="ours")
    take = Exchange.handle
    asked: list[object] = []

    def handle(exchange: Exchange, header: Header, data: bytes) -> None:
        if header["op"] == "hello":
            asked.append(header["empty"])
            (trees.there / "a").write_text("somebody's")
            (trees.there / "b").mkdir()
            (trees.there / "b" / "c").write_text("somebody's")
            (trees.there / "n.ipynb").write_text("somebody's")
        take(exchange, header, data)

    monkeypatch.setattr(Exchange, "handle", handle)
    done = trees.sync()
    assert contents(trees.there, aside=False) == contents(trees.here, aside=False)
    assert {each.path for each in done.kept} == {"a", "b", "n.ipynb"}
    assert {*contents(trees.there, aside=True).values()} == {b"somebody's"}
    monkeypatch.setattr(Exchange, "handle", take)
    assert trees.sync().sent == 0
    assert asked == [True]


def test_permissions_alone_are_brought_there_too(trees: Trees) -> None:
    trees.write(a="1")
    trees.sync()
    (trees.here / "a").chmod(0o755)
    trees.sync()
    assert (trees.there / "a").stat().st_mode & 0o777 == 0o755
    assert trees.sync().sent == 0


def test_what_is_there_already_is_not_sent(trees: Trees) -> None:
    """As after the state was lost, or a project was cloned anew."""
    trees.write(a="1", src__b="2")
    trees.sync()
    shutil.rmtree(trees.state)
    done = trees.sync()
    assert (done.sent, done.kept) == (0, ())
    (trees.here / "a").unlink()
    assert trees.sync().deleted == 1


@pytest.mark.parametrize("damage", ["text", "other database", "newer"])
def test_a_damaged_state_is_begun_anew(trees: Trees, damage: str) -> None:
    trees.write(a="1")
    trees.sync()
    file = trees.state / "state.db"
    file.unlink()
    if damage == "text":
        file.write_text("no database")
    else:
        database = sqlite3.connect(file)
        database.execute(f"pragma user_version = {99 if damage == 'newer' else 0}")
        database.execute("create table base (something int)")
        database.close()
    trees.write(a="2")
    trees.sync()
    assert (trees.there / "a").read_text() == "2"


def test_an_edit_there_gives_way_and_is_kept(trees: Trees) -> None:
    trees.write(a="1", b="1")
    trees.sync()
    (trees.there / "a").write_text("there")
    (trees.there / "b").write_text("there too")
    trees.write(a="here")
    (trees.here / "b").unlink()
    done = trees.sync()
    assert {each.path for each in done.kept} == {"a", "b"}
    texts = {each.path: (trees.there / each.place).read_text() for each in done.kept}
    assert texts == {"a": "there", "b": "there too"}
    assert (trees.there / "a").read_text() == "here"
    assert not (trees.there / "b").exists()


def test_notebooks_come_back_and_code_does_not(trees: Trees) -> None:
    trees.write(n_dot_ipynb="1", code="1")
    trees.sync()
    (trees.there / "n.ipynb").write_text("run there")
    (trees.there / "new.ipynb").write_text("made there")
    (trees.there / "made.py").write_text("of no concern")
    assert trees.sync().fetched == 2
    assert (trees.here / "n.ipynb").read_text() == "run there"
    assert (trees.here / "new.ipynb").read_text() == "made there"
    assert not (trees.here / "made.py").exists()


def test_a_notebook_deleted_there_is_kept_here(trees: Trees) -> None:
    trees.write(n_dot_ipynb="work", code="1")
    trees.sync()
    (trees.there / "n.ipynb").unlink()
    done = trees.sync()
    assert not (trees.here / "n.ipynb").exists()
    assert (trees.here / done.kept[0].place).read_text() == "work"


def test_an_emptied_root_there_deletes_nothing_here(trees: Trees) -> None:
    trees.write(n_dot_ipynb="work", code="1")
    trees.sync()
    shutil.rmtree(trees.there)
    assert trees.sync().removed == 0
    assert contents(trees.there, aside=False) == contents(trees.here, aside=False)


@pytest.mark.parametrize("left", [0, 60])
def test_deletions_that_look_like_an_accident_wait_for_a_word(trees: Trees, left: int) -> None:
    for number in range(200):
        trees.write(**{f"f{number}": "x"})
    trees.sync()
    for path in sorted(trees.here.iterdir())[left:]:
        path.unlink()
    with pytest.raises(ConflictError, match="would be deleted there"):
        trees.sync()
    assert len(contents(trees.there, aside=False)) == 200
    trees.sync(Rules(deletes_much=True))
    assert len(contents(trees.there, aside=False)) == left


def test_what_git_ignores_stays_here(trees: Trees) -> None:
    git(trees.here, "init", "-q")
    trees.write(_dot_gitignore="*.log\n!keep.log\n/build/\n", a="1", build__x="x", x_dot_log="x")
    trees.write(keep_dot_log="kept", data__d="d", results__r="r", _dot_perdureignore="big*\n")
    trees.write(bigger="x", sub__data__x="code")
    done = trees.sync()
    expected = {".gitignore", ".perdureignore", "a", "keep.log", "sub/data/x"}
    assert contents(trees.there, aside=False).keys() == expected
    why = {each.path: each.why for each in done.skipped}
    assert why["build"] == why["x.log"] == "git ignores it"
    assert why["data"] == why[".git"] == "is never part of the code"
    assert ".perdureignore" in why["bigger"]
    assert done.warning is None


def test_a_file_that_becomes_ignored_is_not_deleted_there(trees: Trees) -> None:
    git(trees.here, "init", "-q")
    trees.write(a="1", b="2")
    trees.sync()
    trees.write(_dot_gitignore="b\n")
    assert trees.sync().deleted == 0
    assert (trees.there / "b").exists()
    (trees.here / "b").unlink()
    assert trees.sync().deleted == 1


def test_a_repository_inside_has_its_own_rules(trees: Trees) -> None:
    git(trees.here, "init", "-q")
    trees.write(inner__a="1", inner__b="2", inner___dot_gitignore="b\n")
    git(trees.here / "inner", "init", "-q")
    trees.sync()
    assert contents(trees.there, aside=False).keys() == {"inner/a", "inner/.gitignore"}


def test_without_git_what_tools_make_stays_here(trees: Trees) -> None:
    trees.write(a="1", __pycache____a="x", _dot_venv__lib="x")
    (trees.here / ".venv").mkdir(exist_ok=True)
    (trees.here / ".venv/lib").write_text("x")
    assert trees.sync().warning is not None
    assert "a" in contents(trees.there, aside=False)
    assert ".venv/lib" not in contents(trees.there, aside=False)


def test_what_is_no_code_is_told_with_the_reason(trees: Trees) -> None:
    trees.write(a="1", large="x" * 2000)
    os.mkfifo(trees.here / "pipe")
    (trees.here / "out").symlink_to("/etc/passwd")
    (trees.here / "up").symlink_to("../elsewhere")
    why = trees.skipped(Rules(largest_bytes=1000))
    assert "perdure push data" in why["large"]
    assert "neither" in why["pipe"]
    assert "out of the project" in why["out"]
    assert "out of the project" in why["up"]
    assert contents(trees.there, aside=False).keys() == {"a"}


def test_a_file_that_grows_too_large_stays_as_it_was(trees: Trees) -> None:
    trees.write(a="small")
    trees.sync(Rules(largest_bytes=1000))
    trees.write(a="x" * 2000)
    trees.sync(Rules(largest_bytes=1000))
    assert (trees.there / "a").read_text() == "small"


def test_a_file_becomes_a_folder_and_a_folder_a_file(trees: Trees) -> None:
    trees.write(a="file", b__x="in a folder", c__d__e="deep")
    trees.sync()
    (trees.here / "a").unlink()
    shutil.rmtree(trees.here / "b")
    shutil.rmtree(trees.here / "c")
    trees.write(a__x="folder now", b="file now", c="file now")
    trees.sync()
    assert contents(trees.there, aside=False) == contents(trees.here, aside=False)
    assert contents(trees.there, aside=True) == {}


def test_a_folder_that_becomes_a_link_is_not_followed(trees: Trees) -> None:
    trees.write(real__x="1", way__x="2")
    trees.sync()
    shutil.rmtree(trees.here / "way")
    (trees.here / "way").symlink_to("real")
    trees.sync()
    assert (trees.there / "way").is_symlink()
    assert contents(trees.there, aside=False) == contents(trees.here, aside=False)


def test_ten_thousand_files_in_one_folder(trees: Trees) -> None:
    (trees.here / "many").mkdir()
    for number in range(10_000):
        (trees.here / "many" / f"{number}").touch()
    assert trees.sync().sent == 10_000
    assert len(os.listdir(trees.there / "many")) == 10_000  # noqa: PTH208 - only how many
    assert trees.sync().sent == 0


def test_a_large_file_is_there_whole(trees: Trees) -> None:
    (trees.here / "large").write_bytes(os.urandom(3_000_000))
    trees.sync()
    assert contents(trees.there, aside=False) == contents(trees.here, aside=False)
    (trees.here / "large").touch()
    assert trees.sync().sent == 0


def test_a_file_that_cannot_be_written_there_is_named(trees: Trees) -> None:
    trees.write(a="1", pipe__x="2")
    trees.there.mkdir()
    os.mkfifo(trees.there / "pipe")
    with pytest.raises(StorageError, match=r"pipe/x.* cannot be written there"):
        trees.sync()
    assert (trees.there / "a").read_text() == "1"


def test_a_root_that_cannot_be_made_is_named(trees: Trees) -> None:
    trees.there.write_text("a file")
    with pytest.raises(StorageError, match="cannot write to"):
        trees.sync()


def test_an_unreadable_file_is_told_and_not_deleted_there(trees: Trees) -> None:
    trees.write(a="1", b="2")
    trees.sync()
    (trees.here / "a").unlink()
    (trees.here / "a").mkdir()
    (trees.here / "a").rmdir()
    trees.write(a="3")
    (trees.here / "a").chmod(0o000)
    if os.access(trees.here / "a", os.R_OK):
        pytest.skip("root reads everything")
    assert "cannot be read" in trees.skipped()["a"]
    assert (trees.there / "a").read_text() == "1"


def test_what_would_be_done_is_told_and_not_done(trees: Trees) -> None:
    trees.write(a="1", b="1", c="1")
    trees.sync()
    trees.write(a="2", d="new")
    (trees.here / "b").unlink()
    (trees.there / "a").write_text("there")
    (trees.here / "c").touch()
    actions, _ = preview(trees.here, trees.destination, state=trees.state, timeout_s=LIMIT_S)
    found = {action.path: (action.do, action.displaces) for action in actions}
    assert found == {"a": (Do.PUT, True), "b": (Do.DELETE, False), "d": (Do.PUT, False)}
    assert (trees.there / "a").read_text() == "there"
    assert (trees.there / "b").exists()


def test_a_limit_that_is_too_short_is_an_error(trees: Trees) -> None:
    trees.write(a="1")
    silent = Destination(("sleep", "60"), "/x")
    with pytest.raises(TimeoutExpired):
        synchronise(trees.here, silent, state=trees.state, timeout_s=0.3)


def test_times_an_hour_apart_do_not_matter(trees: Trees) -> None:
    """What is compared are contents, and what each side's own clock says of its own files."""
    trees.write(a="1", b="1")
    trees.sync()
    for path in (trees.there / "a", trees.here / "b"):
        stat = path.stat()
        os.utime(path, (stat.st_atime + 3600, stat.st_mtime + 3600))
    done = trees.sync()
    assert (done.sent, done.kept) == (0, ())
    (trees.there / "a").write_text("2")
    os.utime(trees.there / "a", (1, 1))
    assert trees.sync().kept[0].path == "a"


def test_a_sync_of_the_same_pair_waits_for_the_other(trees: Trees, tmp_path: Path) -> None:
    trees.write(a="1")
    program = "import sys, json; from pathlib import Path; "
    program += "from perdure.sync.once import *; a = json.loads(sys.argv[1]); "
    program += "synchronise(Path(a[0]), Destination(tuple(a[1]), a[2]), "
    program += "state=Path(a[3]), timeout_s=120)"
    argv = list(trees.destination.argv)
    given = json.dumps([str(trees.here), argv, str(trees.there), str(trees.state)])
    running = [subprocess.Popen([sys.executable, "-c", program, given]) for _ in range(3)]
    assert [each.wait(60) for each in running] == [0, 0, 0]
    assert (trees.there / "a").read_text() == "1"
