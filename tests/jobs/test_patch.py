from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from perdure.jobs.listing import list_code
from perdure.jobs.patch import Revision, read_revision
from perdure.jobs.snapshot import make_snapshot, read_tree
from perdure.model.code import NEVER
from perdure.model.project import Project
from perdure.model.report import silent
from tests.jobs.projects import commit_all, git, make_project

FILES = {
    "train.py": "one\ntwo\n",
    "gone.py": "deleted later\n",
    "run.sh": "#!/bin/sh\n",
    "sp ace/\u00e9 $(x).py": "x\n",
    "data/README": "about the data\n",
}


def edit(root: Path) -> None:
    """Change everything a tree can change in, uncommitted and untracked."""
    (root / "train.py").write_text("one\nTWO\nno newline at the end")
    (root / "gone.py").unlink()
    (root / "run.sh").chmod(0o755)
    (root / "sp ace" / "\u00e9 $(x).py").write_text("y\n")
    (root / "new dir").mkdir()
    (root / "new dir" / "a\tb\n'\".py").write_text("untracked\n")
    (root / "binary.bin").write_bytes(bytes(range(256)) * 8)
    (root / "empty").write_text("")
    (root / "link").symlink_to("train.py")
    (root / "ignored.log").write_text("ignored")
    (root / "data" / "README").write_text("data is no code")
    (root / "results" / "job").mkdir(parents=True)
    (root / "results" / "job" / "x").write_text("")


def revision_of(project: Project) -> tuple[Revision, Path]:
    tree = read_tree(project, silent, store=True)
    folder = make_snapshot(project, tree)
    return read_revision(
        project.root, folder, tree.entries, scratch=project.state, report=silent
    ), folder


def state_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return kind and contents of every file that counts as code."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if name.parts[0] in NEVER or (path.is_dir() and not path.is_symlink()):
            continue
        executable = int(path.lstat().st_mode & 0o100 != 0 and not path.is_symlink())
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        found[str(name)] = (executable, content)
    return found


def applied(root: Path, revision: Revision, aside: Path) -> Path:
    """Return a checkout of the commit with the patch applied to it."""
    assert revision.commit is not None
    git(root, "clone", "-q", "--no-checkout", str(root), str(aside))
    git(aside, "checkout", "-q", revision.commit)
    if revision.patch:
        subprocess.run(
            ["git", "apply", "--index", "--whitespace=nowarn", "-"],
            input=revision.patch,
            cwd=aside,
            check=True,
        )
    return aside


def test_a_clean_tree_has_no_patch(root: Path) -> None:
    project = make_project(root, FILES)
    commit = commit_all(root)
    assert revision_of(project)[0] == Revision(commit, b"")
    assert not revision_of(project)[0].dirty


def test_the_patch_leads_from_the_commit_to_the_snapshot(root: Path, tmp_path: Path) -> None:
    project = make_project(root, FILES)
    commit_all(root)
    edit(root)
    revision, folder = revision_of(project)
    assert revision.dirty
    assert state_of(applied(root, revision, tmp_path / "aside")) == state_of(folder)
    assert b"ignored.log" not in revision.patch
    assert b"data is no code" not in revision.patch


def test_a_project_below_the_top_of_its_repository(root: Path, tmp_path: Path) -> None:
    (root / "other").mkdir(parents=True)
    (root / "other" / "x.py").write_text("1\n")
    project = make_project(root / "pro ject", FILES)
    commit_all(root)
    edit(project.root)
    (root / "other" / "x.py").write_text("2\n")
    revision, folder = revision_of(project)
    aside = applied(root, revision, tmp_path / "aside")
    assert state_of(aside / "pro ject") == state_of(folder)
    assert (aside / "other" / "x.py").read_text() == "1\n"


def test_a_project_that_was_never_committed_in_its_repository(root: Path, tmp_path: Path) -> None:
    root.mkdir()
    (root / "README").write_text("")
    commit_all(root)
    project = make_project(root / "new", {"train.py": "1\n"})
    revision, folder = revision_of(project)
    assert state_of(applied(root, revision, tmp_path / "aside") / "new") == state_of(folder)


def test_a_file_that_is_tracked_and_ignored_is_code(root: Path, tmp_path: Path) -> None:
    project = make_project(root, FILES)
    commit_all(root)
    (root / "kept.log").write_text("1\n")
    git(root, "add", "--force", "kept.log")
    git(root, "commit", "-q", "-m", "kept")
    (root / "kept.log").write_text("2\n")
    revision, folder = revision_of(project)
    assert state_of(applied(root, revision, tmp_path / "aside")) == state_of(folder)


@pytest.mark.parametrize(
    "setting", ["diff.noprefix=true", "diff.mnemonicPrefix=true", "color.diff=always"]
)
def test_a_users_settings_do_not_change_the_patch(root: Path, setting: str) -> None:
    project = make_project(root, FILES)
    commit_all(root)
    edit(root)
    before = revision_of(project)[0]
    git(root, "config", *setting.split("=", 1))
    assert revision_of(project)[0] == before


def test_the_repository_is_only_read(root: Path) -> None:
    project = make_project(root, FILES)
    commit_all(root)
    edit(root)
    git(root, "add", "train.py")
    (root / "train.py").write_text("more\n")

    def repository() -> dict[str, bytes]:
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in (root / ".git").rglob("*")
            if path.is_file()
        }

    before = repository()
    revision_of(project)
    assert repository() == before
    assert list(project.state.glob(".patch-*")) == []


def test_a_live_tree_leaves_out_what_git_ignores(root: Path) -> None:
    project = make_project(root, FILES)
    commit_all(root)
    edit(root)
    project.state.mkdir()
    paths = set(list_code(root).paths) - {"binary.bin"}
    live = read_revision(root, root, paths, scratch=project.state, report=silent)
    assert b"+TWO" in live.patch
    assert b"untracked" in live.patch
    assert b"deleted later" in live.patch
    assert b"ignored.log" not in live.patch
    assert b"binary.bin" not in live.patch
    assert b"results/" not in live.patch


def test_a_file_becomes_a_folder_and_a_folder_a_file(root: Path, tmp_path: Path) -> None:
    project = make_project(root, {"a": "1\n", "b/c": "2\n"})
    commit_all(root)
    (root / "a").unlink()
    (root / "a").mkdir()
    (root / "a" / "x").write_text("3\n")
    (root / "b" / "c").unlink()
    (root / "b").rmdir()
    (root / "b").write_text("4\n")
    revision, folder = revision_of(project)
    assert state_of(applied(root, revision, tmp_path / "aside")) == state_of(folder)


def test_no_git_and_no_commit_yet(root: Path) -> None:
    project = make_project(root, FILES)
    nothing = Revision(None, b"")
    assert revision_of(project)[0] == nothing
    git(root, "init", "-q")
    assert revision_of(project)[0] == nothing
    assert nothing.dirty


def test_a_repository_that_breaks_costs_the_patch_only(root: Path) -> None:
    project = make_project(root, FILES)
    commit = commit_all(root)
    tree = git(root, "rev-parse", "HEAD^{tree}").strip()
    (root / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    reports: list[str] = []

    def report(message: str, *, done: int | None = None, total: int | None = None) -> None:
        reports.append(message)

    (root / "train.py").write_text("edited")
    project.state.mkdir()
    revision = read_revision(root, root, [], scratch=project.state, report=report)
    assert revision.commit == commit
    assert len(reports) == 1
    assert "not recorded as a patch" in reports[0]


def test_a_folder_with_a_colon_in_its_name(tmp_path: Path) -> None:
    project = make_project(tmp_path / 'a:b "c"', FILES)
    commit_all(project.root)
    (project.root / "train.py").write_text("edited\n")
    assert b"+edited" in revision_of(project)[0].patch
