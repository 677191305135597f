from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from perdure.errors import StorageError, UsageError
from perdure.jobs import snapshot
from perdure.jobs.snapshot import Tree, make_snapshot, read_tree, remove_tree, verify
from perdure.model.project import Project
from perdure.model.report import silent
from tests.jobs.projects import commit_all, make_project


class Reports(list[str]):
    def __call__(self, message: str, *, done: int | None = None, total: int | None = None) -> None:
        self.append(message)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def taken(project: Project) -> Path:
    return make_snapshot(project, read_tree(project, silent, store=True))


def drafts(project: Project) -> list[Path]:
    return list(project.state.rglob(".tmp-*"))


@pytest.fixture
def project(root: Path) -> Project:
    made = make_project(root, {"train.py": "1", "src/a b/$(x)\n.py": "2", "run.sh": "3"})
    (root / "run.sh").chmod(0o755)
    (root / "src" / "link.py").symlink_to("../train.py")
    commit_all(root)
    return made


def test_a_snapshot_is_the_tree_by_contents(project: Project) -> None:
    folder = taken(project)
    found = contents(folder)
    assert found["train.py"] == "1"
    assert found["src/a b/$(x)\n.py"] == "2"
    assert (folder / "src" / "link.py").readlink() == Path("../train.py")
    assert stat.S_IMODE((folder / "run.sh").stat().st_mode) == 0o555
    assert stat.S_IMODE((folder / "train.py").stat().st_mode) == 0o444
    assert stat.S_IMODE((folder / "src").stat().st_mode) == 0o555
    assert folder.name == read_tree(project, silent, store=False).digest
    assert drafts(project) == []


def test_data_and_results_are_the_projects_own(project: Project) -> None:
    folder = taken(project)
    for name in ("data", "results"):
        assert (folder / name).resolve() == (project.root / name).resolve()
        assert (folder / name).is_dir()


def test_equal_trees_share_a_snapshot_and_equal_files_their_contents(project: Project) -> None:
    first = taken(project)
    assert taken(project) == first
    (project.root / "train.py").write_text("changed")
    second = taken(project)
    assert second != first
    assert (first / "run.sh").samefile(second / "run.sh")
    assert (first / "train.py").read_text() == "1"


def test_the_digest_knows_names_modes_links_and_contents(project: Project) -> None:
    def digest() -> str:
        return read_tree(project, silent, store=False).digest

    seen = {digest()}
    train = project.root / "train.py"
    train.chmod(0o755)
    seen.add(digest())
    train.write_text("2")
    seen.add(digest())
    train.rename(project.root / "other.py")
    seen.add(digest())
    link = project.root / "src" / "link.py"
    link.unlink()
    link.symlink_to("../run.sh")
    seen.add(digest())
    assert len(seen) == 5


def test_reading_without_storing_writes_nothing(project: Project) -> None:
    read_tree(project, silent, store=False)
    assert not project.state.exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "src/../../outside", ".."])
def test_a_link_that_leads_out_is_left_out_with_a_warning(project: Project, target: str) -> None:
    (project.root / "bad").symlink_to(target)
    reports = Reports()
    tree = read_tree(project, reports, store=True)
    assert "bad" not in tree.entries
    expected = f"warning: `bad` is left out: a link that leads out of the project, to `{target}`"
    assert reports == [expected]


def test_a_link_into_data_stays(project: Project) -> None:
    (project.root / "set").symlink_to("data/set")
    (project.root / "data").mkdir()
    (project.root / "data" / "set").write_text("found")
    assert (taken(project) / "set").read_text() == "found"


def test_a_pipe_is_left_out_and_nothing_hangs(root: Path) -> None:
    project = make_project(root, {"train.py": "1"})
    os.mkfifo(root / "pipe")
    assert set(read_tree(project, silent, store=True).entries) == {"pyproject.toml", "train.py"}


def test_a_file_that_vanishes_is_left_out(project: Project) -> None:
    (project.root / "train.py").unlink()
    tree = read_tree(project, silent, store=True)
    assert "train.py" not in tree.entries
    assert "run.sh" in tree.entries


def test_a_large_file_is_refused_by_name(project: Project) -> None:
    with (project.root / "weights.pt").open("wb") as file:
        file.truncate((snapshot.LARGEST_MIB << 20) + 1)
    with pytest.raises(UsageError, match=r"`weights\.pt` \(50 MiB\)") as caught:
        read_tree(project, silent, store=True)
    assert "put what is over 50 MiB under data/" in str(caught.value.hint)
    assert "weights.pt" not in read_tree(project, silent, store=False).entries


def test_a_file_that_cannot_be_read_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root reads everything, so the refusal is made up.
    opened = Path.open

    def refusing(self: Path, *arguments: object, **named: object) -> object:
        if self.name == "train.py":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return opened(self, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refusing)
    with pytest.raises(StorageError, match=r"`train\.py` cannot be read: permission denied"):
        read_tree(project, silent, store=True)


def test_a_file_that_changes_while_it_is_read_is_read_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project.root / "train.py"
    path.write_text("a" * 100)
    asked: list[int] = []
    fstat = os.fstat

    def changing(fd: int) -> os.stat_result:
        found = fstat(fd)
        if Path(f"/proc/self/fd/{fd}").readlink().name == "train.py":
            asked.append(fd)
            if len(asked) == 1:
                path.write_text("b" * 100)
                os.utime(path, ns=(1, 1))
        return found

    monkeypatch.setattr(os, "fstat", changing)
    tree = read_tree(project, silent, store=True)
    monkeypatch.undo()
    assert len(asked) == 4
    assert tree == read_tree(project, silent, store=True)
    assert (make_snapshot(project, tree) / "train.py").read_text() == "b" * 100


def test_a_file_that_never_stands_still_is_one_clear_error(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    fstat = os.fstat
    times = iter(range(1, 10**6))

    def changing(fd: int) -> os.stat_result:
        os.utime(fd, ns=(0, next(times)))
        return fstat(fd)

    monkeypatch.setattr(os, "fstat", changing)
    with pytest.raises(StorageError, match="changes faster than it can be read"):
        read_tree(project, silent, store=True)


def test_contents_that_were_written_to_are_stored_anew(project: Project) -> None:
    first = taken(project)
    (first / "train.py").chmod(0o644)
    (first / "train.py").write_text("X")
    remove_tree(first)
    assert (taken(project) / "train.py").read_text() == "1"


def test_a_changed_snapshot_is_noticed(project: Project) -> None:
    tree = read_tree(project, silent, store=True)
    folder = make_snapshot(project, tree)
    verify(folder, tree)
    folder.chmod(0o755)
    (folder / "run.sh").unlink()
    with pytest.raises(StorageError, match=r"(?s)`run\.sh` is missing"):
        verify(folder, tree)


def test_many_who_take_the_same_snapshot_get_one(project: Project) -> None:
    found: list[Path] = []
    ready = threading.Barrier(8)

    def take() -> None:
        ready.wait()
        found.append(taken(project))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert drafts(project) == []


def test_a_disk_that_is_full_leaves_nothing_half_made(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = read_tree(project, silent, store=True)

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(OSError, match="No space left"):
        make_snapshot(project, tree)
    assert drafts(project) == []
    assert list((project.state / "snapshots").iterdir()) == []


def test_a_file_system_without_links_gets_copies(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    tree = read_tree(project, silent, store=True)
    folder = make_snapshot(project, tree)
    assert contents(folder)["train.py"] == "1"
    verify(folder, tree)


def test_a_tree_is_read_as_it_was_written(project: Project) -> None:
    (project.root / os.fsdecode(b"not utf-8 \xff.py")).write_text("")
    tree = read_tree(project, silent, store=False)
    assert Tree.from_json(tree.to_json()) == tree
    for text in ("", "[]", "{", "3"):
        with pytest.raises(ValueError, match=r"."):
            Tree.from_json(text)


def test_removing_what_is_read_only_and_what_is_not_there(project: Project, root: Path) -> None:
    folder = taken(project)
    (project.root / "results").mkdir(exist_ok=True)
    (project.root / "results" / "kept").write_text("")
    remove_tree(folder)
    remove_tree(folder)
    assert not folder.exists()
    assert (project.root / "results" / "kept").exists()
