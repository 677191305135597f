"""Projects brought up to a newer template, with real git; the template is a small one made here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.errors import ConflictError, NewerFormatError, UsageError
from perdure.project import history, template
from perdure.project.record import RECORD, read_record
from perdure.project.template import Answers, create_project
from perdure.project.upgrade import Kind, Upgraded, Yours, plan_upgrade, upgrade
from perdure.project.wheel import Wheel

HOSTILE = "a \"quote\", 'another' $(x) `y` {{ name }} é"
TRAIN = "first\n\n\nmiddle of {{ package }}\n\n\nlast\n"

Release = Callable[..., None]


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-C", str(folder), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, message: str = "edit") -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """Return what makes a next version of the template: files by name, None to take one away."""
    folder = tmp_path / "template"
    shipped = {"src/PACKAGE/train.py": TRAIN, "README.md": "# {{ name }}\n{{ description }}\n"}
    shipped["pyproject.toml"] = (
        '[project]\nname = "{{ name }}"\nrequires-python = "=={{ python }}.*"\n\n'
        '[tool.perdure]\nformat = 1\npackage = "{{ package }}"\n'
    )
    shipped["dot_gitignore"] = "results/*\n"

    def write(**files: str | None) -> None:
        for name, text in files.items():
            file = folder / f"{name}.jinja"
            file.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                file.unlink()
            else:
                file.write_text(text)

    def newer(*, wheel: bytes = b"PK 1", **files: str | None) -> None:
        monkeypatch.setattr(template, "VERSION", template.VERSION + 1)
        made = Wheel(f"perdure-{template.VERSION}-py3-none-any.whl", wheel)
        monkeypatch.setattr(template, "own_wheel", lambda: made)
        write(**files)

    write(**shipped)
    monkeypatch.setattr(template, "_TEMPLATE", folder)
    newer()
    return newer


@pytest.fixture
def project(tmp_path: Path, release: Release) -> Path:
    folder = tmp_path / "a folder $(x) é" / "cats"
    create_project(folder, Answers("cats", "cats", HOSTILE))
    return folder


def brought_up(folder: Path) -> Upgraded:
    return upgrade(plan_upgrade(folder))


def test_a_new_project_is_up_to_date(tmp_path: Path) -> None:
    create_project(tmp_path / "cats", Answers("cats", "cats"))
    assert plan_upgrade(tmp_path / "cats").changes == ()


def test_a_newer_template_is_merged_and_the_edits_are_kept(project: Path, release: Release) -> None:
    train = project / "src" / "cats" / "train.py"
    train.write_text(train.read_text().replace("last", "my last"))
    (project / "mine.txt").write_text("mine")
    mine = commit(project)
    release(
        **{"src/PACKAGE/train.py": TRAIN.replace("first", "new first"), "docs/new.md": "{{ name }}"}
    )
    ended = brought_up(project)
    assert ended.conflicts == ()
    assert train.read_text() == "new first\n\n\nmiddle of cats\n\n\nmy last\n"
    assert (project / "docs" / "new.md").read_text() == "cats"
    assert (project / "mine.txt").read_text() == "mine"
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "rev-parse", "HEAD") == ended.commit
    parents = git(project, "log", "-1", "--format=%P").split()
    assert parents == [mine, git(project, "rev-parse", history.TEMPLATE_REF)]
    assert [path.name for path in (project / "vendor").iterdir()] == [template.own_wheel().name]  # type: ignore[union-attr]


def test_the_second_time_there_is_nothing_to_do(project: Path, release: Release) -> None:
    release(**{"README.md": "new"})
    ended = brought_up(project)
    record = read_record(project)
    assert record.version == template.VERSION
    assert record.base == git(project, "rev-parse", history.TEMPLATE_REF)
    assert plan_upgrade(project).changes == ()
    assert git(project, "rev-parse", "HEAD") == ended.commit


def test_versions_follow_each_other(project: Path, release: Release) -> None:
    for number in range(3):
        release(**{"README.md": f"{number}"})
        assert brought_up(project).commit
        assert (project / "README.md").read_text() == f"{number}"
    assert git(project, "merge-base", "HEAD", read_record(project).base or "") != ""


def test_conflicts_are_gits_own_and_end_with_a_commit(project: Path, release: Release) -> None:
    readme = project / "README.md"
    readme.write_text("mine\n")
    before = commit(project)
    release(**{"README.md": "theirs\n", "new.md": "new"})
    ended = brought_up(project)
    assert ended == Upgraded(None, ("README.md",))
    assert "<<<<<<< HEAD\nmine\n" in readme.read_text()
    assert "UU README.md" in git(project, "status", "--porcelain")
    with pytest.raises(ConflictError, match="a merge is not finished"):
        brought_up(project)
    readme.write_text("both\n")
    git(project, "add", "README.md")
    git(project, "commit", "-q", "--no-edit")
    assert git(project, "log", "-1", "--format=%s").startswith("Merge Perdure's template")
    assert len(git(project, "log", "-1", "--format=%P").split()) == 2
    assert git(project, "rev-parse", "HEAD~1") == before
    assert plan_upgrade(project).changes == ()
    assert (project / "new.md").read_text() == "new"


def test_a_merge_that_is_called_off_leaves_nothing(project: Path, release: Release) -> None:
    (project / "README.md").write_text("mine\n")
    before = commit(project)
    release(**{"README.md": "theirs\n", "new.md": "new"})
    brought_up(project)
    git(project, "merge", "--abort")
    assert git(project, "rev-parse", "HEAD") == before
    assert git(project, "status", "--porcelain") == ""
    # And the base is still the old one: the next try finds the same.
    assert {change.name for change in plan_upgrade(project).changes} >= {"README.md", "new.md"}
    assert brought_up(project).conflicts == ("README.md",)


def test_what_both_took_away_or_only_one_changed(project: Path, release: Release) -> None:
    (project / "src" / "cats" / "train.py").rename(project / "src" / "cats" / "learn.py")
    (project / ".gitignore").unlink()
    commit(project)
    release(**{"src/PACKAGE/train.py": TRAIN.replace("first", "new first"), "dot_gitignore": None})
    assert brought_up(project).conflicts == ()
    # Git follows what was renamed.
    assert (project / "src" / "cats" / "learn.py").read_text().startswith("new first")
    assert not (project / "src" / "cats" / "train.py").exists()
    assert not (project / ".gitignore").exists()


def test_the_plan_names_both_sides_and_changes_nothing(project: Path, release: Release) -> None:
    (project / "README.md").write_text("mine\n")
    (project / "new.md").write_text("mine too\n")
    (project / ".gitignore").unlink()
    commit(project)
    objects = sorted(path for path in (project / ".git").rglob("*") if path.is_file())
    release(**{"README.md": "x", "new.md": "x", "dot_gitignore": "x", "src/PACKAGE/train.py": None})
    changes = {change.name: (change.kind, change.yours) for change in plan_upgrade(project).changes}
    assert changes.pop("vendor/perdure-2-py3-none-any.whl") == (Kind.REMOVED, Yours.SAME)
    assert changes.pop("vendor/perdure-3-py3-none-any.whl") == (Kind.ADDED, Yours.GONE)
    assert changes == {
        "README.md": (Kind.CHANGED, Yours.EDITED),
        "new.md": (Kind.ADDED, Yours.THERE),
        ".gitignore": (Kind.CHANGED, Yours.GONE),
        "src/cats/train.py": (Kind.REMOVED, Yours.SAME),
    }
    assert sorted(path for path in (project / ".git").rglob("*") if path.is_file()) == objects
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("staged", [False, True])
def test_uncommitted_changes_are_refused(staged: bool, project: Path, release: Release) -> None:
    release(**{"README.md": "new"})
    (project / "README.md").write_text("mine")
    if staged:
        git(project, "add", "-A")
    before = git(project, "status", "--porcelain")
    with pytest.raises(ConflictError, match=r"uncommitted changes: `README.md`"):
        brought_up(project)
    assert git(project, "status", "--porcelain") == before


def test_an_untracked_file_in_the_way_is_refused_and_kept(project: Path, release: Release) -> None:
    release(**{"new.md": "new"})
    (project / "new.md").write_text("mine")
    (project / "other.md").write_text("in nobody's way")
    before = git(project, "rev-parse", "HEAD")
    with pytest.raises(ConflictError, match=r"in the way: `new.md`"):
        brought_up(project)
    assert (project / "new.md").read_text() == "mine"
    assert git(project, "rev-parse", "HEAD") == before
    (project / "new.md").unlink()
    assert brought_up(project).commit


def test_a_clone_has_all_it_needs(project: Path, release: Release, tmp_path: Path) -> None:
    (project / "README.md").write_text("mine")
    commit(project)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project), str(clone))
    assert git(clone, "for-each-ref", "refs/perdure") == ""
    release(**{"src/PACKAGE/train.py": TRAIN + "more\n"})
    assert brought_up(clone).commit
    assert (clone / "src/cats/train.py").read_text().endswith("last\nmore\n")
    assert (clone / "README.md").read_text() == "mine"


def squashed(project: Path, clone: Path) -> None:
    """Make a clone whose one commit has what the project has now, and nothing from before."""
    git(project, "checkout", "-q", "--orphan", "fresh")
    commit(project, "all at once")
    shutil.copytree(project, clone, ignore=shutil.ignore_patterns(".git"))
    git(clone, "init", "-q")
    commit(clone, "all at once")


def test_a_rewritten_history_is_joined(project: Path, release: Release, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    squashed(project, clone)
    release(**{"README.md": "new"})
    assert brought_up(clone).commit
    assert (clone / "README.md").read_text() == "new"
    assert "Say where this project's template came from" in git(clone, "log", "--format=%s")
    release(**{"README.md": "newer"})
    assert brought_up(clone).commit
    assert git(clone, "log", "--format=%s").count("Say where") == 1


def test_a_text_that_nobody_has_any_more_is_compared_by_hand(
    project: Path, release: Release, tmp_path: Path
) -> None:
    (project / "README.md").write_text("mine\n")
    (project / "src" / "cats" / "train.py").unlink()
    clone = tmp_path / "clone"
    squashed(project, clone)
    release(**{"README.md": "theirs\n", "src/PACKAGE/train.py": "new"})
    plan = plan_upgrade(clone)
    assert plan.lost == {"README.md", "src/cats/train.py"}
    assert upgrade(plan).conflicts == ("README.md",)
    assert "mine" in (clone / "README.md").read_text()
    assert not (clone / "src" / "cats" / "train.py").exists()


def test_a_lost_text_that_the_template_still_has_is_rendered(
    project: Path, release: Release, tmp_path: Path
) -> None:
    (project / "README.md").write_text("mine\n")
    clone = tmp_path / "clone"
    squashed(project, clone)
    release(**{"new.md": "new"})
    plan = plan_upgrade(clone)
    assert plan.lost == frozenset()
    assert upgrade(plan).commit
    assert (clone / "README.md").read_text() == "mine\n"


def test_a_shallow_clone_is_told_to_fetch(project: Path, release: Release, tmp_path: Path) -> None:
    (project / "README.md").write_text("mine\n")
    commit(project)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth=1", project.as_uri(), str(clone))
    release(**{"README.md": "theirs\n"})
    with pytest.raises(ConflictError, match=r"lacks the history.*`README.md`") as caught:
        plan_upgrade(clone)
    assert caught.value.hint == "git fetch --unshallow"
    git(clone, "fetch", "-q", "--unshallow")
    assert brought_up(clone).conflicts == ("README.md",)


def test_a_project_inside_a_larger_repository(release: Release, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    git(tmp_path, "init", "-q", str(whole))
    (whole / "README.md").write_text("of the whole")
    project = whole / "a part" / "cats"
    create_project(project, Answers("cats", "cats"))
    with pytest.raises(UsageError, match="not committed yet"):
        plan_upgrade(project)
    commit(whole)
    release(**{"README.md": "of the part"})
    assert brought_up(project).commit
    assert (project / "README.md").read_text() == "of the part"
    assert (whole / "README.md").read_text() == "of the whole"
    assert plan_upgrade(project).changes == ()
    assert git(whole, "status", "--porcelain") == ""
    release(**{"README.md": "of the part again"})
    assert brought_up(project).commit


def test_a_project_made_without_git(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        create_project(tmp_path / "cats", Answers("cats", "cats"))
    with pytest.raises(UsageError, match="in no git repository") as caught:
        plan_upgrade(tmp_path / "cats")
    assert "git init" in (caught.value.hint or "")
    git(tmp_path / "cats", "init", "-q")
    commit(tmp_path / "cats")
    release(**{"README.md": "new"})
    assert brought_up(tmp_path / "cats").commit


def test_a_users_git_settings_have_no_say(
    project: Path, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("pre-commit", "commit-msg", "pre-merge-commit", "prepare-commit-msg"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    config = tmp_path / "config"
    config.write_text(
        f"[core]\nhooksPath = {hooks}\n[merge]\nff = only\nverifySignatures = true\n"
        "[commit]\ngpgSign = true\n[user]\nuseConfigOnly = true\n[advice]\nx = 1\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "somewhere-else"))
    release(**{"README.md": "new"})
    assert brought_up(project).commit
    monkeypatch.delenv("GIT_DIR")
    assert git(project, "log", "-1", "--format=%an") == "perdure"


def test_the_python_of_the_project_stays(project: Path, release: Release) -> None:
    file = project / RECORD
    here = read_record(project).answers.python
    file.write_text(file.read_text().replace(f'python = "{here}"', 'python = "3.99"'))
    commit(project)
    release(**{"README.md": "{{ python }}"})
    brought_up(project)
    assert (project / "README.md").read_text() == "3.99"
    assert read_record(project).answers.python == "3.99"


def test_a_newer_template_than_this_perdures_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "VERSION", 1)
    with pytest.raises(NewerFormatError, match=r"has version 2 of the template.*brings version 1"):
        plan_upgrade(project)


def test_a_record_of_the_first_perdures_goes_by_its_commit(
    project: Path, release: Release, tmp_path: Path
) -> None:
    file = project / RECORD
    text = file.read_text()
    file.write_text(text[: text.index("# What was rendered")])
    commit(project)
    release(**{"README.md": "new"})
    git(project, "update-ref", "-d", history.TEMPLATE_REF)
    clone = tmp_path / "clone"
    squashed(project, clone)
    with pytest.raises(ConflictError, match="not in its history any more"):
        plan_upgrade(clone)
    git(project, "checkout", "-q", "main")
    assert brought_up(project).commit
    assert read_record(project).files


def test_a_repository_with_longer_names(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    create_project(tmp_path / "cats", Answers("cats", "cats"))
    assert {len(blob) for blob in read_record(tmp_path / "cats").files.values()} == {64}
    release(**{"README.md": "new"})
    assert brought_up(tmp_path / "cats").commit
    assert plan_upgrade(tmp_path / "cats").changes == ()


def test_without_a_right_to_the_repository_git_is_quoted(tmp_path: Path, project: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(project / ".git", 1234, 1234)
    os.chown(project, 1234, 1234)
    with pytest.raises(UsageError, match="dubious ownership"):
        plan_upgrade(project)
