"""Code brought up to date by whoever can: the session that runs, else this process, once.

Who needs it kept so, for a container or for notebooks, has a session run in the background.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from perdure.errors import ConflictError, PerdureError, StorageError, TimeoutExpired
from perdure.model.report import Report, silent
from perdure.sync import session
from perdure.sync.once import Destination, Summary, synchronise
from perdure.sync.rules import DEFAULT, Rules
from perdure.sync.session import Session, barrier, status

# What the last files may take to come back when all is over.
_BACK_S = 15.0


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
        try:
            return synchronise(
                root, destination, state=state, rules=rules, report=report, timeout_s=timeout_s
            )
        except StorageError as error:
            hint = error.hint or f"perdure doctor {target}"
            raise StorageError(error.message, hint=hint) from error
    if not alike:
        raise _why(root, target)
    return None


def keep(
    wanted: Session,
    destination: Destination,
    *,
    rules: Rules,
    mark: Path,
    report: Report = silent,
    timeout_s: float,
) -> None:
    """Return once the code there is the code here; it is kept so until `leave`, with that mark.

    A session that runs already is used, and left to whoever started it.

    Raises:
        PerdureError: the session did not start.
        Others: as `ensure`.
    """
    root, target = wanted.root, wanted.target
    if not session.runs(root, target):
        report(f"keeping the code on `{target}` as it is here")
        if session.start(root, target, destination, rules=rules, timeout_s=timeout_s):
            mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark.touch()
    ensure(root, target, destination, rules=rules, report=report, timeout_s=timeout_s)
    with contextlib.suppress(TimeoutExpired):
        found = status(root, target)
        if found is not None and tuple(found["pull"]) != rules.pull:
            report(
                f"warning: the sync that runs began with `pull = {found['pull']}`: "
                f"`perdure sync stop --on {target}`, and begin again"
            )


def leave(root: Path, target: str, mark: Path) -> None:
    """Fetch what comes back a last time, and end the session if it was started with that mark."""
    if not mark.exists():
        return
    # Where nobody is there to end it, or the host does not answer, it ends by itself.
    with contextlib.suppress(OSError, PerdureError):
        barrier(root, target, _BACK_S)
        session.stop(root, target)
    mark.unlink(missing_ok=True)


def _why(root: Path, target: str) -> StorageError | ConflictError:
    """Return what keeps a live session from being done."""
    hint = f"perdure sync status --on {target}"
    try:
        found = status(root, target)
        if found is None:
            hint = f"perdure doctor {target}"
            found = {"problem": session.last_words(root, target)}
    except TimeoutExpired as error:
        found = {"problem": error.message}
    if found.get("refused"):
        count = len(found["refused"])
        return ConflictError(f"{count} files would be deleted on `{target}` at once", hint=hint)
    problems = found.get("problems") or []
    if problems:
        first = problems[0]
        return StorageError(f"`{first['path']}` {first['why']}, on `{target}`", hint=hint)
    reason = found.get("problem") or "it is not done in time"
    return StorageError(f"the code on `{target}` is not up to date: {reason}", hint=hint)
