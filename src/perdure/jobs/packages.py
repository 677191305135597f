"""The packages that a word on the command line means: a job's, a commit's, those of a lock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from perdure.environments.lockfile import PINNED_FILE, decode
from perdure.environments.packages import Packages, of_lock
from perdure.errors import EnvironmentFailed, UsageError
from perdure.hosts import local
from perdure.jobs.find import LAST, find_job
from perdure.jobs.folder import ENVIRONMENT_LOCK, IMAGE_LOCK, is_job
from perdure.jobs.workspace import Workspace
from perdure.model.image import ImageLock

LOCK = "lock"
INSTALLED = "installed"

_LOCK_FILE = "uv.lock"
_GIT_S = 30.0


def packages_of(workspace: Workspace, word: str) -> Packages:
    """Return the packages that `word` means. Touches the disk; runs git for a revision.

    `lock` is the project's present lock, `installed` what is installed for its jobs; else a lock
    file or a folder with one, a job, or a revision that git knows.

    Raises:
        UsageError: it means none of these.
        EnvironmentFailed: there is no lock there, or it is damaged.
    """
    root = workspace.project.root
    if word == LOCK:
        return _of_files(word, root / _LOCK_FILE, root / PINNED_FILE)
    if word == INSTALLED:
        return _installed(workspace)
    path = Path(word)
    if "/" in word or word.endswith(".lock") or path.is_file():
        folder = path if path.is_dir() else path.parent
        own = path.name not in ("", _LOCK_FILE, PINNED_FILE) and not path.is_dir()
        return _of_files(word, path if own else folder / _LOCK_FILE, folder / PINNED_FILE)
    results = workspace.project.results
    if word != LAST and not is_job(results / word) and _is_commit(root, word):
        return _of_commit(root, word)
    return _of_job(workspace, word)


def _of_files(label: str, lock: Path, pinned: Path) -> Packages:
    try:
        text = lock.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFailed(
            f"`{label}`: there is no lock that can be read at `{lock}`", hint="perdure lock"
        ) from error
    return of_lock(label, text, _image_lock(pinned))


def _image_lock(file: Path) -> ImageLock | None:
    try:
        return decode(file.read_bytes().decode("utf-8", "replace"), file)
    except OSError:
        return None


def _installed(workspace: Workspace) -> Packages:
    from perdure.environments.installed import read_prefix
    from perdure.environments.lock import lock_digest
    from perdure.environments.sync import choose_variant, handle_of, is_complete

    project, settings = workspace.project, workspace.settings
    handle = handle_of(project, lock_digest(project) or "", choose_variant(project, settings, None))
    prefix = handle.prefix if is_complete(handle) else project.root / ".venv"
    if not prefix.is_dir():
        raise EnvironmentFailed(
            "nothing is installed for the present lock, and there is no `.venv`",
            hint="perdure run TASK: it installs what a job needs",
        )
    found = read_prefix(prefix)
    conda = {each.name: f"{each.version} {each.build}".strip() for each in found.conda}
    return Packages(INSTALLED, found.versions, None, conda or None, found.python or None)


def _of_job(workspace: Workspace, word: str) -> Packages:
    try:
        record = find_job(workspace, word)
    except UsageError as error:
        meant = f"; `{LOCK}`, `{INSTALLED}`, a git revision and a lock file are known, too"
        raise UsageError(error.message + meant, hint=error.hint) from error
    lock = record.folder / ENVIRONMENT_LOCK
    if not lock.exists():
        raise UsageError(
            f"`{record.job}` ran without a locked environment, so nothing is known of its packages",
            hint=f"perdure show {record.job}",
        )
    found = of_lock(record.job, lock.read_text("utf-8"), _image_lock(record.folder / IMAGE_LOCK))
    return replace(found, python=record.environment.python or found.python)


def _is_commit(root: Path, word: str) -> bool:
    if word.startswith("-"):
        return False
    argv = ["git", "-C", str(root), "rev-parse", "--verify", "--quiet", f"{word}^{{commit}}"]
    return local.run(argv, timeout_s=_GIT_S).returncode == 0


def _of_commit(root: Path, word: str) -> Packages:
    lock = _show(root, word, _LOCK_FILE)
    if lock is None:
        raise EnvironmentFailed(
            f"revision `{word}` has no `{_LOCK_FILE}`", hint=f"git log -- {_LOCK_FILE}"
        )
    pinned = _show(root, word, PINNED_FILE)
    image = None if pinned is None else decode(pinned, Path(f"{word}:{PINNED_FILE}"))
    return of_lock(word, lock, image)


def _show(root: Path, word: str, name: str) -> str | None:
    done = local.run(["git", "-C", str(root), "show", f"{word}:./{name}"], timeout_s=_GIT_S)
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
