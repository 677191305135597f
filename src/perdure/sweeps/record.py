"""A sweep's own folder, `.perdure/sweeps/NAME/`: what was asked, and what is wanted now.

    sweep.json       axes, search, how many at once; whether it is stopped, what runs again
    job.json         what all its jobs have in common, as a job's record; with the files beside it
                     that a run folder has: code.json, code.patch, environment.lock
    ended.jsonl      an index of what jobs came to, so that ten thousand are listed at once
    asked.jsonl      the values of trials that were proposed one by one
    supervisor.lock  locked while a driver lives, with its last words
    driver.log       what went wrong with it

The folder is built aside and renamed; sweep.json is only ever replaced. Which trials there are and
where they stand, run folders say.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from perdure.errors import NewerFormatError, PerdureError, UsageError
from perdure.jobs.workspace import storing
from perdure.model.project import Project
from perdure.model.sweep import Axis, Grid, Search, Style, doubt
from perdure.sweeps.holding import SWEEP_FILE
from perdure.sweeps.notation import parse_axis
from perdure.sweeps.orphans import FOLDER

FORMAT = 1
EDIT_LOCK = "edit.lock"
DRIVER_LOG = "driver.log"
ENDED_FILE = "ended.jsonl"
ASKED_FILE = "asked.jsonl"
JOURNAL_FILE = "optuna.journal"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep. `boxes` are axes as they were typed, by name: see `model.sweep.Grid`.

    `again` are trials to be run again, with the attempt after which that was asked. `passes` names
    variables that come from whoever started the driver. `stopped`: nothing of it is to run, `why`.
    """

    name: str
    task: str
    boxes: tuple[Mapping[str, str], ...]
    search: Search
    max_running: int
    submitted: str
    axes_as: Style = "flags"
    seed_argument: bool = False
    stopped: bool = False
    why: str = ""
    again: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    passes: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """Return the combinations; of a search that draws, its axes are the only box."""
        return Grid(
            tuple(
                tuple(parse_axis(name, text, self.axes_as) for name, text in box.items())
                for box in self.boxes
            )
        )

    @property
    def doubt(self) -> str:
        """Return what to ask where its trials complain of their arguments, "" for nothing."""
        return doubt(self.task, self.texts, self.axes_as, seed_argument=self.seed_argument)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Return each axis with all its values."""
        grid = self.grid
        return grid.axes if len(grid.boxes) > 1 else grid.boxes[0]

    @property
    def count(self) -> int:
        """Return how many trials it has."""
        return self.grid.count if self.search.kind == "grid" else (self.search.trials or 0)

    @property
    def problem(self) -> str:
        """Return why its axes cannot be read, as by another version of perdure; "": they can."""
        try:
            _ = self.grid
        except UsageError as error:
            return error.message
        return ""

    def lacks(self, around: Mapping[str, str]) -> list[str]:
        """Return the variables that its jobs get and that are not among those."""
        return [name for name in self.passes if name not in around]

    @property
    def texts(self) -> Mapping[str, str]:
        """Return its axes as they were typed, also where nobody can read them any more."""
        if self.problem:
            return {name: text for box in reversed(self.boxes) for name, text in box.items()}
        return {axis.name: axis.text for axis in self.axes}


def folder_of(project: Project, name: str) -> Path:
    """Return the folder of a sweep."""
    return sweeps_folder(project) / name


def sweeps_folder(project: Project) -> Path:
    """Return the folder of sweeps."""
    return project.state / FOLDER


def names_of(project: Project) -> list[str]:
    """Return the names of the project's sweeps, in the order of the alphabet. Reads the disk."""
    try:
        with os.scandir(sweeps_folder(project)) as entries:
            return sorted(each.name for each in entries if not each.name.startswith("."))
    except OSError:
        return []


def find_sweep(project: Project, text: str) -> Path:
    """Return the folder of the sweep that `text` names, or begins the name of. Reads the disk.

    Raises:
        UsageError: there is none, or there are several.
    """
    known = names_of(project)
    found = [text] if text in known else [name for name in known if text and name.startswith(text)]
    if len(found) == 1:
        return folder_of(project, found[0])
    if found:
        raise UsageError(
            f"`{text}` means {len(found)} sweeps: {', '.join(found[:8])}",
            hint="type more of its name",
        )
    import difflib

    near = difflib.get_close_matches(text, known, 1)
    listed = f"sweeps: {', '.join(known)}" if known else "perdure sweep TASK NAME=VALUE,VALUE"
    raise UsageError(
        f"there is no sweep `{text}`", hint=f"did you mean `{near[0]}`?" if near else listed
    )


def read_sweep(folder: Path) -> Sweep:
    """Return a sweep. Reads the disk.

    Raises:
        NewerFormatError: a newer perdure wrote it.
        PerdureError: it cannot be read.
    """
    import msgspec

    path = folder / SWEEP_FILE
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
        version = content.pop("format", None)
        if isinstance(version, int) and version > FORMAT:
            raise NewerFormatError(
                f"the sweep `{folder.name}` was written by a newer perdure",
                hint="uv tool upgrade perdure",
            )
        return msgspec.convert({**content, "name": folder.name}, Sweep)
    except (OSError, msgspec.MsgspecError) as error:
        raise PerdureError(f"the sweep `{folder.name}` cannot be read: {error}") from error


def write_sweep(folder: Path, sweep: Sweep) -> None:
    """Write sweep.json, whole or not at all, and durably. Touches the disk."""
    import msgspec

    content = {"format": FORMAT, **msgspec.to_builtins(sweep, str_keys=True, enc_hook=dict)}
    draft = folder / f".{SWEEP_FILE}-{os.getpid()}"
    try:
        with draft.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / SWEEP_FILE)
    finally:
        draft.unlink(missing_ok=True)


def edit(folder: Path, change: Callable[[Sweep], Sweep]) -> Sweep:
    """Return a sweep as it is after a change, which nobody else's comes between. Touches the disk.

    Raises:
        StorageError: it cannot be written; then it is as it was.
    """
    with storing("the sweep"), editing(folder):
        sweep = change(read_sweep(folder))
        write_sweep(folder, sweep)
        return sweep


@contextlib.contextmanager
def editing(folder: Path) -> Iterator[None]:
    """Keep everybody else from changing the sweep, and its driver from ending."""
    fd = os.open(folder / EDIT_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def wanting(sweep: Sweep, **changes: object) -> Sweep:
    """Return a sweep with other wishes."""
    return replace(sweep, **changes)  # type: ignore[arg-type]
