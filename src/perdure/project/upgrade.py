"""A project brought up to the installed perdure's template: a three-way merge, and git's own.

The template as it was rendered for the project, the template rendered now, and the project: the
first is rebuilt from the record, the second becomes a commit on top of it, and `git merge` does the
rest. Nothing is fetched. See docs/decisions/0004-the-base-of-an-upgrade.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from perdure.errors import ConflictError, NewerFormatError
from perdure.model.report import Report, silent
from perdure.project import history, repository, template
from perdure.project.record import RECORD, TemplateRecord, blob_id, read_record, record_text
from perdure.project.repository import Repository


class Kind(Enum):
    """What became of a file of the template since the project was made."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


class Yours(Enum):
    """What became of the project's own copy, as it was last committed."""

    SAME = "as it was"
    EDITED = "edited"
    GONE = "gone"
    THERE = "there already"


@dataclass(frozen=True, slots=True)
class Change:
    """A file that the template has otherwise than the project's record."""

    name: str
    kind: Kind
    yours: Yours


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What would be merged: `base` and `fresh` are blob ids and contents by name.

    `lost` are files whose content of then nobody has any more: two people's additions to git.
    """

    repository: Repository
    record: TemplateRecord
    base: Mapping[str, str]
    fresh: Mapping[str, bytes]
    changes: tuple[Change, ...]
    lost: frozenset[str] = frozenset()

    @property
    def version(self) -> int:
        """Return the version of the template that the project is brought up to."""
        return template.VERSION


@dataclass(frozen=True, slots=True)
class Upgraded:
    """How the merge ended: its commit, or the files that git could not merge by itself."""

    commit: str | None
    conflicts: tuple[str, ...]


def plan_upgrade(root: Path) -> Upgrade:
    """Return what the installed template would change in the project. Changes nothing.

    Raises:
        UsageError: the project has no record, or no git repository with a commit.
        NewerFormatError: the project has a newer template than this perdure.
        ConflictError: the base is not in this clone.
    """
    record = read_record(root)
    if record.version > template.VERSION:
        raise NewerFormatError(
            f"the project has version {record.version} of the template, and this perdure brings "
            f"version {template.VERSION}",
            hint="pip install --upgrade 'perdure[cli]'",
        )
    found = repository.open_repository(root)
    base = dict(record.files) or repository.files_of(found, _old_base(found, record))
    fresh = template.render(record.answers, template.own_wheel())
    yours = repository.files_of(found, f"HEAD:{found.prefix}")
    changes = _changes(base, fresh, yours)
    return Upgrade(found, record, base, fresh, changes, _lost(found, base, fresh))


def upgrade(plan: Upgrade, *, report: Report = silent) -> Upgraded:
    """Return how the merge ended; with conflicts, it waits for a person, as after `git merge`.

    Raises:
        ConflictError: the project has uncommitted changes, or files in the way; nothing is changed.
        PerdureError: git failed.
    """
    repository.refuse_unfinished(plan.repository)
    report("rebuilding the template that the project began with")
    base = _base_commit(plan)
    # What was deleted, and cannot be seen to have been the template's, stays deleted.
    deleted = {each.name for each in plan.changes if each.yours is Yours.GONE} & plan.lost
    kept = {name: plan.fresh[name] for name in plan.fresh if name not in deleted}
    stored = {name: repository.store(plan.repository, kept[name]) for name in kept}
    tree = repository.make_tree(plan.repository, stored)
    title = f"Perdure's template, version {plan.version}"
    fresh = history.must(plan.repository.top, "commit-tree", tree, "-p", base, "-m", title)
    report("merging the template of now")
    repository.merge(plan.repository, base, fresh, f"Merge {title}")
    return _finish(plan, fresh)


def _finish(plan: Upgrade, fresh: str) -> Upgraded:
    """Write the record of what was merged into the merge itself, and end that if git can."""
    found = plan.repository
    answers = plan.record.answers
    record = template.record_of(plan.fresh, answers, fresh)
    (found.root / RECORD).write_bytes(record_text(record).encode())
    history.must(found.root, "add", "-f", "--", RECORD)
    history.must(found.top, "update-ref", history.TEMPLATE_REF, fresh)
    conflicts = repository.unmerged(found)
    if conflicts:
        return Upgraded(None, conflicts)
    history.must(found.top, "commit", "-q", "--no-verify", "--no-edit", "--cleanup=strip")
    return Upgraded(history.must(found.top, "rev-parse", "HEAD"), ())


def _base_commit(plan: Upgrade) -> str:
    """Return the commit that has the base and nothing else: the recorded one, or one like it."""
    found = plan.repository
    at_hand = {name: blob for name, blob in plan.base.items() if name not in plan.lost}
    for name in repository.missing(found, at_hand):
        repository.store(found, plan.fresh[name])
    tree = repository.make_tree(found, at_hand)
    recorded = plan.record.base
    if recorded and repository.tree_of(found, recorded) == tree:
        return recorded
    title = f"Perdure's template, version {plan.record.version}"
    return history.must(found.top, "commit-tree", tree, "-m", title)


def _lost(found: Repository, base: Mapping[str, str], fresh: Mapping[str, bytes]) -> frozenset[str]:
    """Return the files whose base neither git has nor the template of now renders.

    Raises:
        ConflictError: there are such, and the rest of the history would bring them.
    """
    lost = frozenset(
        name
        for name in repository.missing(found, base)
        if name not in fresh or blob_id(fresh[name], len(base[name])) != base[name]
    )
    if lost and repository.is_shallow(found):
        listed = ", ".join(f"`{name}`" for name in sorted(lost))
        raise ConflictError(
            f"this clone lacks the history with the template that the project began with: {listed}",
            hint="git fetch --unshallow",
        )
    return lost


def _old_base(found: Repository, record: TemplateRecord) -> str:
    """Return the commit with the files of a record that does not name them.

    Raises:
        ConflictError: the repository does not have it.
    """
    for commit in (record.base, history.TEMPLATE_REF):
        if commit and repository.tree_of(found, commit):
            return commit
    hint = "git fetch --unshallow" if repository.is_shallow(found) else None
    raise ConflictError(
        "the template that this project began with is not in its history any more",
        hint=hint or "git fetch from a copy of the repository whose history was not rewritten",
    )


def _changes(
    base: Mapping[str, str], fresh: Mapping[str, bytes], yours: Mapping[str, str]
) -> tuple[Change, ...]:
    digits = len(next(iter(base.values()), "")) or 40
    now = {name: blob_id(content, digits) for name, content in fresh.items()}
    return tuple(
        Change(name, _kind(name, base, now), _yours(base.get(name), yours.get(name)))
        for name in sorted(base.keys() | now.keys())
        if base.get(name) != now.get(name)
    )


def _kind(name: str, base: Mapping[str, str], now: Mapping[str, str]) -> Kind:
    if name not in base:
        return Kind.ADDED
    return Kind.CHANGED if name in now else Kind.REMOVED


def _yours(base: str | None, yours: str | None) -> Yours:
    if yours is None:
        return Yours.GONE
    if base is None:
        return Yours.THERE
    return Yours.SAME if base == yours else Yours.EDITED
