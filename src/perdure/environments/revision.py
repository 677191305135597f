"""A change of what a project declares, together with its lock: both are made, or neither."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from perdure.environments import declarations, listing
from perdure.environments.compare import Changes, compare
from perdure.environments.declarations import VARIANT, Place
from perdure.environments.exclusive import alone
from perdure.environments.lock import LOCK_FILE, PROJECT_FILE, ensure_lock
from perdure.environments.lockfile import PINNED_FILE, read_pinned
from perdure.environments.packages import Packages, of_lock
from perdure.environments.uv import prepare_state, unwritable
from perdure.environments.wanted import Kind, Wanted
from perdure.errors import StorageError, UsageError
from perdure.model import debian
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings

_HELD = "edit.lock"

_Write = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Revised:
    """A change that was made: the files that are different now, and what it did to the lock."""

    files: tuple[Path, ...]
    changes: Changes


@contextlib.contextmanager
def revising(project: Project, settings: Settings, report: Report) -> Iterator[Revision]:
    """Yield a change to make; what fails inside puts every file back byte for byte.

    Raises:
        StorageError: a file cannot be read or written.
        TimeoutExpired: another perdure has been changing them for an hour.
    """
    prepare_state(project.state)
    with alone(project.state / _HELD, "changing what the project declares", report):
        before = _contents(project)
        try:
            yield Revision(project, settings, report, before)
        except BaseException:
            for file, content in before.items():
                _put_back(file, content)
            raise


class Revision:
    """A change that is being made: declare, withdraw, lock, and tell what it came to."""

    def __init__(
        self,
        project: Project,
        settings: Settings,
        report: Report,
        before: Mapping[Path, bytes | None],
    ) -> None:
        self.project = project
        self._settings = settings
        self._report = report
        self._before = before
        self._locked = locked_packages(project)
        self._kinds: set[Kind] = set()

    def declare(self, place: Place, packages: Sequence[Wanted]) -> None:
        """Write the packages into the declarations."""
        in_lists: dict[Kind, _Write] = {
            Kind.APT: lambda text: listing.apt_with(text, packages),
            Kind.CONDA: lambda text: listing.conda_with(text, packages),
        }
        self._rewrite(place, lambda text: declarations.with_added(text, place, packages), in_lists)

    def withdraw(self, place: Place, names: Sequence[str]) -> None:
        """Take the packages of those names, as compared, out of the declarations."""
        in_lists: dict[Kind, _Write] = {
            Kind.APT: lambda text: listing.apt_without(text, names),
            Kind.CONDA: lambda text: listing.conda_without(text, names),
        }
        self._rewrite(place, lambda text: declarations.with_removed(text, place, names), in_lists)

    def redeclare(self, place: Place, texts: Mapping[str, str]) -> None:
        """Write other texts for Python packages that are declared, by their names as compared."""
        file = self.project.root / PROJECT_FILE
        _write(file, declarations.with_replaced(read_text(file), place, texts))

    def bound(self, place: Place, packages: Sequence[Wanted]) -> bool:
        """Declare the locked versions as the least ones; return whether that changed anything."""
        locked = locked_packages(self.project).pip if place.kind is Kind.PIP else {}
        # Of several versions, for a variant or platform each, the first is the least one.
        texts = {
            each.key: each.at_least(locked[each.key].split(", ")[0].split(" ")[0])
            for each in packages
            if each.open and each.key in locked
        }
        if texts:
            self.redeclare(place, texts)
        return bool(texts)

    def lock(self, *, again: bool = False) -> None:
        """Bring the lock up to date, `again` without telling and fetching it all twice.

        An engine is asked only if Debian or conda packages were changed: adding a Python package
        costs a second. Raises as `ensure_lock` and `ensure_pinned`.
        """
        report = silent if again else self._report
        if self._kinds - {Kind.PIP}:
            from perdure.environments.pinned import ensure_pinned

            ensure_pinned(self.project, self._settings, report=report)
        else:
            ensure_lock(self.project, self._settings, cached=again, report=report)

    def done(self) -> Revised:
        """Return what it came to."""
        own = self.project.state
        files = [
            file
            for file, content in _contents(self.project).items()
            if content != self._before.get(file) and own not in file.parents
        ]
        return Revised(tuple(files), compare(self._locked, locked_packages(self.project)))

    def _rewrite(
        self, place: Place, in_project_file: _Write, in_lists: Mapping[Kind, _Write]
    ) -> None:
        """Write the one file that a place is in, and know the project as it is then."""
        self._kinds.add(place.kind)
        file = declaring_file(self.project, place)
        if file != self.project.root / PROJECT_FILE:
            _write(file, in_lists[place.kind](read_text(file) if file.exists() else ""))
            return
        text = in_project_file(read_text(file))
        _write(file, text)
        if place.kind is Kind.APT:
            names = declarations.listed(text, place)
            environment = self.project.environment
            apt = MappingProxyType({**environment.apt, place.table: names})
            self.project = replace(self.project, environment=replace(environment, apt=apt))


def declaring_file(project: Project, place: Place) -> Path:
    """Return the file in which the packages of a place are declared."""
    if place.kind is Kind.CONDA:
        return project.environment.conda or project.root / "environment.yml"
    if place.kind is Kind.APT:
        names = project.environment.apt.get(place.table)
        if isinstance(names, Path):
            return names
    return project.root / PROJECT_FILE


def declared(project: Project, place: Place) -> tuple[str, ...]:
    """Return the declarations of a place, in order; none where its file is not there."""
    file = declaring_file(project, place)
    if not file.exists():
        return ()
    text = read_text(file)
    if place.kind is Kind.CONDA:
        return listing.conda_names(text)
    if file == project.root / PROJECT_FILE:
        return declarations.listed(text, place)
    return debian.listed(text)


def locked_packages(project: Project) -> Packages:
    """Return the packages of the project's lock, none where there is no lock yet."""
    try:
        text = (project.root / LOCK_FILE).read_bytes().decode("utf-8")
    except FileNotFoundError:
        return Packages("lock", {})
    return of_lock("lock", text, read_pinned(project))


def places(project: Project) -> tuple[Place, ...]:
    """Return all places in which the project may declare packages."""
    variants = tuple(Place(Kind.PIP, VARIANT + each) for each in project.environment.variants)
    stages = tuple(Place(Kind.APT, stage) for stage in debian.STAGES)
    conda = (Place(Kind.CONDA),) if project.environment.conda else ()
    return (Place(Kind.PIP), Place(Kind.PIP, "dev"), *variants, *stages, *conda)


def read_text(file: Path) -> str:
    """Return the text of a file that people write.

    Raises:
        UsageError: it is not UTF-8.
        StorageError: it cannot be read.
    """
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"`{file}` is not UTF-8: byte {error.start} cannot be read") from error
    except OSError as error:
        raise StorageError(f"cannot read `{file}`: {(error.strerror or '').lower()}") from error


def _contents(project: Project) -> dict[Path, bytes | None]:
    """Return what is in each file that a change may write; None for one that is not there."""
    files = [project.root / name for name in (PROJECT_FILE, LOCK_FILE, PINNED_FILE)]
    files += [file for file in project.environment.apt.values() if isinstance(file, Path)]
    files += [project.environment.conda] if project.environment.conda else []
    return {file: file.read_bytes() if file.exists() else None for file in files}


def _put_back(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink(missing_ok=True)
    elif not file.exists() or file.read_bytes() != content:
        file.write_bytes(content)


def _write(file: Path, text: str) -> None:
    """Write a file of the user's where it is: a link and its permissions stay what they are."""
    try:
        file.write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise unwritable(file.parent, error) from error
