"""Code brought up to date by whoever can: the session that runs, else this process, once."""

from __future__ import annotations

from pathlib import Path

from perdure.errors import ConflictError, StorageError
from perdure.model.report import Report, silent
from perdure.sync.once import Destination, Summary, synchronise
from perdure.sync.rules import DEFAULT, Rules
from perdure.sync.session import Session, barrier, status


def ensure(
    root: Path,
    target: str,
    destination: Destination,
    *,
    rules: Rules = DEFAULT,
    report: Report = silent,
    timeout_s: float,
) -> Summary | None:
    """Return what was done once the code there is the code here; None: a live session did it.

    Raises:
        StorageError: the live session cannot bring some files there.
        ConflictError: it refuses to delete so much.
        Others: as `synchronise`.
    """
    alike = barrier(root, target, timeout_s)
    if alike is None:
        state = Session(root, target).folder
        return synchronise(
            root, destination, state=state, rules=rules, report=report, timeout_s=timeout_s
        )
    if not alike:
        raise _why(root, target)
    return None


def _why(root: Path, target: str) -> StorageError | ConflictError:
    """Return what keeps a live session from being done."""
    found = status(root, target) or {}
    hint = f"perdure sync status --on {target}"
    if found.get("refused"):
        count = len(found["refused"])
        return ConflictError(f"{count} files would be deleted on `{target}` at once", hint=hint)
    problems = found.get("problems") or []
    if problems:
        first = problems[0]
        return StorageError(f"`{first['path']}` {first['why']}, on `{target}`", hint=hint)
    reason = found.get("problem") or "it is not done in time"
    return StorageError(f"the code on `{target}` is not up to date: {reason}", hint=hint)
