"""A repository made a project: planned as files with their texts, then written, never committed."""

from __future__ import annotations

import shlex
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import ConflictError, StorageError, UsageError
from perdure.hosts import local
from perdure.project import adoption, template
from perdure.project.decode import decode_project
from perdure.project.find import PROJECT_FILE, perdure_table
from perdure.project.history import git
from perdure.project.imported import read_imported
from perdure.project.survey import Layout, find_layout, find_tasks
from perdure.project.validate import read_toml

IGNORE_FILE = ".gitignore"
_DATA = "# Data\n\nData sets go here. Git ignores all but this file: note where each comes from.\n"
_RESULTS = "# Results\n\nOne folder a job, made by `perdure run`; git ignores them.\n"
Undo = Callable[[], object]
# What git is not to see: the lines for it, and a file that they would hide.
_IGNORED = (
    (("results/*", "!results/README.md"), "results/job/job.json"),
    (("data/*", "!data/README.md"), "data/some.bin"),
    ((".perdure/",), ".perdure/some"),
    ((".venv/",), ".venv/some"),
    (("__pycache__/",), "__pycache__/some.pyc"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """A file to make (`before` is None) or to change, and why."""

    name: str
    before: bytes | None
    after: bytes
    why: str


@dataclass(frozen=True, slots=True)
class Adoption:
    """What making a project of `root` comes to; no changes: it is one already."""

    root: Path
    layout: Layout
    tasks: Mapping[str, tuple[str, ...]]
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


def plan_adoption(root: Path, package: str | None = None) -> Adoption:
    """Return what has to be written so that `root` is a project. Reads files, changes nothing.

    Raises:
        UsageError: there is nothing to adopt, or something keeps it from being a project.
        ConflictError: a file to be changed has uncommitted changes.
    """
    root = root.absolute()
    if root.exists() and not root.is_dir():
        raise UsageError(f"`{root}` is no folder", hint="perdure adopt DIR")
    if not root.is_dir():
        raise UsageError(f"there is no folder `{root}`", hint="perdure new NAME")
    file = root / PROJECT_FILE
    document = read_toml(file) if file.is_file() else {}
    if perdure_table(document) is not None:
        return Adoption(root, Layout("", ""), {})
    imported = read_imported(root)
    name = adoption.name_for(document, imported, root.name)
    layout = find_layout(root, name, package)
    tasks = find_tasks(root, layout)
    if not layout.folder and not tasks:
        raise UsageError(f"there is no Python program in `{root}`", hint="perdure new NAME")
    wheel = template.own_wheel()
    facts = adoption.Facts(name, layout, tasks, imported, wheel.name if wheel else None, _python())
    declared = _declared(file, document, facts)
    changes = [declared, *_ignores(root), *_folders(root)]
    if wheel:
        vendored = f"vendor/{wheel.name}"
        changes += _new(root, vendored, wheel.content, "this perdure, which no index has")
    _refuse_uncommitted(root, changes)
    notes = (*adoption.notes(document, facts), *_notes_of_git(root, wheel is not None))
    return Adoption(root, layout, tasks, tuple(changes), notes)


def adopt(plan: Adoption) -> None:
    """Write what was planned: all of it, or nothing. A file that has come meanwhile stays.

    Raises:
        ConflictError: a file is there, or is not as it was when this was planned.
        StorageError: one cannot be written.
    """
    undo: list[Undo] = []
    try:
        for change in plan.changes:
            _write(plan.root, change, undo)
    except BaseException as error:
        for step in reversed(undo):
            step()
        if isinstance(error, OSError):
            reason = (error.strerror or str(error)).lower()
            raise StorageError(f"cannot write in `{plan.root}`: {reason}") from error
        raise


def command_line(words: tuple[str, ...]) -> str:
    """Return a command as a person writes it in a terminal."""
    return shlex.join(words)


def _declared(file: Path, document: Mapping[str, object], facts: adoption.Facts) -> Change:
    """Return pyproject.toml with the project's tables, once perdure can read it so."""
    before = file.read_bytes() if file.is_file() else None
    text = adoption.declare(before.decode() if before is not None else None, document, facts)
    # Whatever the tables around it hold: what is written can be read, or nothing is written.
    try:
        decode_project(tomllib.loads(text), file.parent)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"`{file}` is written so that no table can be added at its end: {error}",
            hint="write its `tool` as tables, `[tool.NAME]`, then perdure adopt",
        ) from error
    why = "`[tool.perdure]`: the package and the tasks"
    why += (
        f"; dependencies from {', '.join(facts.imported.files)}" if facts.imports(document) else ""
    )
    return Change(PROJECT_FILE, before, text.encode(), why)


def _ignores(root: Path) -> list[Change]:
    """Return the change that hides data, results and caches from git, where they are not yet."""
    lines: list[str] = []
    for wanted, example in _IGNORED:
        folder = example.partition("/")[0]
        if folder == "data" and ((root / folder).is_symlink() or _tracked(root, folder)):
            continue
        if git_ignores(root, example) is not True:
            lines += wanted
    file = root / IGNORE_FILE
    before = file.read_bytes() if file.is_file() else None
    present = (before or b"").decode("utf-8", "replace")
    lines = [line for line in lines if line not in present.splitlines()]
    if not lines:
        return []
    end = "\r\n" if "\r\n" in present else "\n"
    gap = "" if not present else end if present.endswith("\n") else 2 * end
    added = gap + end.join(["# Data and results stay on the machines they are on.", *lines]) + end
    why = "data, results and caches stay out of git"
    return [Change(IGNORE_FILE, before, (before or b"") + added.encode(), why)]


def _folders(root: Path) -> list[Change]:
    """Return a word in each folder that is not there; one that is, is left as it is."""
    texts = {"data": _DATA, "results": _RESULTS}
    return [
        change
        for name, text in texts.items()
        if not (root / name).is_symlink() and not (root / name).exists()
        for change in _new(root, f"{name}/README.md", text.encode(), f"the folder of {name}")
    ]


def _new(root: Path, name: str, content: bytes, why: str) -> list[Change]:
    file = root / name
    if file.is_file() and file.read_bytes() == content:
        return []
    if file.exists() or file.is_symlink():
        raise ConflictError(f"`{file}` is in the way", hint=f"git mv {name} elsewhere, then again")
    return [Change(name, None, content, why)]


def _write(root: Path, change: Change, undo: list[Undo]) -> None:
    """Write one file, after adding the steps that take it back."""
    file = root / change.name
    if change.before is None:
        made = [folder for folder in file.parents if folder != root and not folder.exists()]
        made = [folder for folder in made if folder.is_relative_to(root)]
        file.parent.mkdir(parents=True, exist_ok=True)
        undo += [folder.rmdir for folder in reversed(made)]
        try:
            with file.open("xb") as fresh:
                undo.append(file.unlink)
                fresh.write(change.after)
        except FileExistsError as error:
            raise ConflictError(f"`{file}` is there by now", hint="perdure adopt, again") from error
        return
    if file.read_bytes() != change.before:
        raise ConflictError(f"`{file}` was changed meanwhile", hint="perdure adopt, again")
    # In place: a link stays one, and the file keeps its mode and owner.
    before = change.before
    undo.append(lambda: file.write_bytes(before))
    file.write_bytes(change.after)


def _refuse_uncommitted(root: Path, changes: list[Change]) -> None:
    """Return if git shows what is going to be changed here, and only that.

    Raises:
        ConflictError: it would show other changes too.
    """
    names = [change.name for change in changes if change.before is not None]
    told = _ask_git(root, "diff", "--name-only", "--relative", "-z", "HEAD", "--", *names)
    edited = told.text.strip("\0").split("\0") if told and told.returncode == 0 else [""]
    if names and edited != [""]:
        listed = ", ".join(f"`{name}`" for name in edited)
        raise ConflictError(
            f"{listed} has uncommitted changes, among which this one could not be told",
            hint="git commit, or git stash; then again",
        )


def _notes_of_git(root: Path, brings_wheel: bool) -> list[str]:
    notes = []
    inside = _ask_git(root, "rev-parse", "--is-inside-work-tree")
    if inside is None or inside.text != "true":
        return [
            "no git repository: nothing keeps the files as they were, and no job knows its commit"
        ]
    if _tracked(root, "results"):
        notes.append("git has files in results/: they stay, and new ones beside them are ignored")
    if _tracked(root, "data"):
        notes.append("git has files in data/: the folder is left as it is")
    if brings_wheel and git_ignores(root, "vendor/perdure.whl"):
        notes.append("git ignores vendor/*.whl: `git add -f vendor`")
    return notes


def git_ignores(root: Path, name: str) -> bool | None:
    """Return whether git would ignore such a file, None where there is no repository."""
    told = _ask_git(root, "check-ignore", "-q", "--no-index", name)
    return None if told is None or told.returncode > 1 else told.returncode == 0


def _tracked(root: Path, folder: str) -> bool:
    told = _ask_git(root, "ls-files", "-z", "--", folder)
    return told is not None and told.returncode == 0 and bool(told.stdout)


def _ask_git(root: Path, *words: str) -> local.Completed | None:
    from perdure.errors import MissingProgram

    try:
        return git(root, *words)
    except MissingProgram:
        return None


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
