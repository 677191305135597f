"""Run folders of other hosts, as this machine has them: brought up to date whenever one asks.

`folder.is_alive` is where everybody asks whether a job goes on, before they read what it wrote. For
a job elsewhere that question goes to its host, and the answer brings what the run folder there has
beyond the one here. A host that does not answer is told as what it said last; who needs it to
answer calls `bring`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from perdure.errors import HostUnreachable, PerdureError, TimeoutExpired
from perdure.jobs import folder as folders
from perdure.jobs import looking
from perdure.jobs.witness import (
    Witness,
    Word,
    project_above,
    read_witness,
    read_word,
    write_witness,
    write_word,
)
from perdure.model.job import ENDED
from perdure.model.station import Station, inside, is_cloud
from perdure.runtime import names

if TYPE_CHECKING:
    from perdure.clouds.view import BucketLine
    from perdure.hosts.link import Question
    from perdure.targets.kubernetes_cluster import Known

# The engine of stations whose jobs a cluster runs that they cannot ask themselves.
CLUSTER = "kubernetes"
# So long one answer may take to come.
ANSWER_S = 60.0
# A job is asked after no more often than this, whoever asks.
EVERY_S = 0.2
# Nor a host that did not answer.
AFTER_FAILURE_S = 1.0
# For so long an answer is waited for, before what was said last has to do.
PATIENCE_S = 3.0
# What a submission writes here.
_SUBMITTED = frozenset(
    {
        names.JOB_FILE,
        names.PATCH_FILE,
        folders.CODE_LIST,
        folders.ENVIRONMENT_LOCK,
        folders.IMAGE_LOCK,
        folders.WITNESS_FILE,
        names.LOCK_FILE,
    }
)
_ENDED = frozenset(state.value for state in ENDED)


def look(folder: Path, witness: Witness) -> Witness:
    """Return what is known of a job elsewhere, after asking its host if that was not just done."""
    if witness.over or _held:
        return witness
    _asker(folder, witness).refresh([folder], PATIENCE_S, whole=True)
    return read_witness(folder) or witness


def bring(folder: Path) -> None:
    """Bring the mirror of a run folder up to date; nothing for a job of this machine.

    Raises:
        HostUnreachable: its host does not answer, and what is known may be old.
    """
    witness = read_witness(folder)
    if witness is not None:
        _asker(folder, witness).ask([folder], asks=True)


def bring_all(candidates: Iterable[Path]) -> None:
    """Bring the mirrors of many run folders up to date, with what they have logged.

    Raises:
        HostUnreachable: a host does not answer, and what is known may be old.
    """
    wanted: dict[_Asker, list[Path]] = {}
    for folder in candidates:
        witness = read_witness(folder)
        if witness is not None and not witness.over:
            wanted.setdefault(_asker(folder, witness), []).append(folder)
    for asker, each in wanted.items():
        asker.ask(each)


def trouble(folder: Path) -> str:
    """Return why the host of a job does not answer this process just now, "" where it does."""
    witness = read_witness(folder)
    found = None if witness is None else _askers.get(_key(folder, witness))
    return "" if found is None else found.problem


def is_mirror(folder: Path) -> bool:
    """Return whether a run folder holds no more than is brought here to tell how its job stands.

    Not one whose results were pulled. Reads the disk.
    """
    for path, _, files in os.walk(folder):
        inner = os.path.relpath(path, folder)
        for name in files:
            kept = looking.is_kept(os.path.normpath(f"{inner}/{name}"))
            if not (kept or (inner == "." and name in _SUBMITTED)):
                return False
    return folders.is_elsewhere(folder)


@contextlib.contextmanager
def refreshed(
    candidates: Iterable[Path], timeout_s: float, meanwhile: Callable[[], object] = tuple
) -> Iterator[None]:
    """Ask all hosts of these run folders at once; what is asked inside gets these answers.

    `meanwhile` is called while they are on their way.
    """
    global _held  # noqa: PLW0603 - a process asks its hosts in one place
    wanted: dict[_Asker, list[Path]] = {}
    for folder in candidates:
        witness = read_witness(folder)
        if witness is not None and not witness.over:
            wanted.setdefault(_asker(folder, witness), []).append(folder)
    until = time.monotonic() + timeout_s
    asked: list[_Asked] = []
    for asker, each in wanted.items():
        said = asker.ask_one(each) if len(wanted) == 1 else None
        if said is None:
            asker.refresh(each, 0.0, whole=False)
        else:
            asked.append(said)
    meanwhile()
    for asker, each in wanted.items():
        if asked and not asker.hear(asked.pop(), timeout_s):
            asker.refresh(each, 0.0, whole=False)
        asker.wait(max(0.0, until - time.monotonic()))
    before, _held = _held, True
    try:
        yield
    finally:
        _held = before


class Line:
    """A host by all that a warm connection needs of it: `perdure ps` loads no more of ssh."""

    def __init__(self, name: str, destination: str, asks: bool) -> None:
        self.name = name
        self.destination = destination
        self.asks = asks

    def connect(self) -> None:
        """Return once a connection is there; raises as `Ssh.connect`."""
        from perdure.hosts.reaching import reached

        reached(self.name, self.destination, asks=self.asks).connect()

    def call(self, function: Callable[..., Any], *given: object) -> dict[str, Any]:
        """Return what a function returns there; raises as `Ssh.call`."""
        from perdure.hosts.link import ask

        said: dict[str, Any] = ask(self, function, given, {}, ANSWER_S)
        return said

    def question(self, function: Callable[..., Any], *given: object) -> Question | None:
        """Return a call that was sent over a connection that is there, None if none is."""
        from perdure.hosts.link import question

        return question(self, function, given)


class _Asked(NamedTuple):
    """What is on its way to a host: after which jobs, and since when (unix seconds)."""

    question: Question
    jobs: Sequence[Path]
    began: float


class _Asker:
    """One host's jobs of one project: asks, one question at a time, and keeps the answers."""

    def __init__(self, root: Path, witness: Witness) -> None:
        self.problem = ""
        self._root = root
        self._station: Station = witness.station
        self._target = witness.target
        self._fresh: dict[Path, float] = {}
        self._tried = -AFTER_FAILURE_S
        self._thread: threading.Thread | None = None
        self._known: Known | None = None

    def refresh(self, wanted: Sequence[Path], patience_s: float, *, whole: bool) -> None:
        """Ask after those jobs that were not just asked after, and wait so long for an answer."""
        stale = self._stale(wanted)
        if not stale:
            return
        # Who has been told that it does not answer does not wait again; it may be told meanwhile.
        waits_s = EVERY_S / 2 if self.problem else patience_s
        self._ask_aside(stale, whole=whole)
        self.wait(waits_s)

    def ask_one(self, wanted: Sequence[Path]) -> _Asked | None:
        """Return what was sent to ask after jobs, None if it has to be asked in another way.

        Only over a connection that is there, and without a thread: those cost more than an answer.
        """
        stale = self._stale(wanted)
        if not stale or self._is_asking() or self._station.engine == CLUSTER:
            return None  # an API server may be away for longer than anybody waits here
        host = self._line(asks=False)
        known = {self._name(each): _sizes(each, whole=False) for each in stale}
        began = time.time()
        question = host.question(looking.look, self._station.root, known, False)
        return None if question is None else _Asked(question, stale, began)

    def hear(self, asked: _Asked, timeout_s: float) -> bool:
        """Keep what is answered; return whether nothing is left to be asked."""
        try:
            said = asked.question.answer(timeout_s)
        except TimeoutExpired:
            self._fail(f"`{self._target}` does not answer")
            return True
        except PerdureError:
            return False  # the connection is gone: another one may be had
        self._heard(said, (asked.began + time.time()) / 2)
        return not [each for each in asked.jobs if self._keep(each, said, whole=False)]

    def _stale(self, wanted: Sequence[Path]) -> list[Path]:
        """Return what has to be asked after; nothing of a host that just now did not answer."""
        now = time.monotonic()
        stale = [each for each in wanted if now - self._fresh.get(each, -EVERY_S) >= EVERY_S]
        failed = self.problem and now - self._tried < AFTER_FAILURE_S
        return [] if failed and not self._is_asking() else stale

    def _is_asking(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _ask_aside(self, wanted: Sequence[Path], *, whole: bool) -> None:
        """Ask in the background: who follows a job must not hang with its host's connection."""
        if not self._is_asking():
            self._thread = threading.Thread(
                target=self._try, args=(wanted,), kwargs={"whole": whole}, daemon=True
            )
            self._thread.start()

    def wait(self, patience_s: float) -> None:
        """Wait for the answer to what was asked last."""
        if self._thread is not None and patience_s > 0:
            self._thread.join(patience_s)
            if self._thread.is_alive() and not self.problem:
                self._fail(f"`{self._target}` does not answer")

    def ask(self, wanted: Sequence[Path], *, asks: bool = False, whole: bool = True) -> None:
        """Ask after jobs and keep what is said, until nothing more is to be said."""
        host = self._line(asks=asks)
        left = list(wanted)
        while left:
            known = {self._name(each): _sizes(each, whole=whole) for each in left}
            self._ask_scheduler()
            began = time.time()
            try:
                said = host.call(looking.look, self._station.root, known, whole)
            except TimeoutExpired as error:
                raise HostUnreachable(error.message, hint="try again") from error
            self._heard(said, (began + time.time()) / 2)
            left = [each for each in left if self._keep(each, said, whole=whole)]

    def _line(self, *, asks: bool) -> Line | BucketLine:
        if is_cloud(self._station):
            from perdure.clouds.view import BucketLine

            return BucketLine(self._root, self._station)
        return Line(self._target, self._station.destination, asks)

    def _try(self, wanted: Sequence[Path], *, whole: bool) -> None:
        try:
            self.ask(wanted, whole=whole)
        except (PerdureError, OSError) as error:
            self._fail(error.message if isinstance(error, PerdureError) else str(error))

    def _heard(self, said: Mapping[str, Any], clock: float) -> None:
        self.problem = ""
        word = Word(clock, str(said["boot"]), float(said["time"]) - clock)
        write_word(self._root, self._station, word)

    def _keep(self, folder: Path, said: Mapping[str, Any], *, whole: bool) -> bool:
        """Keep what was said of a job; return whether there is more to be asked."""
        found = self._judged(self._name(folder), said["jobs"][self._name(folder)])
        if not folder.is_dir():
            return False  # it has been cleaned away meanwhile
        for name, (at, data) in found["files"].items():
            _write(folder, str(name), int(at), data)
        if found["more"]:
            return True
        witness = read_witness(folder)
        if witness is not None:
            alive = bool(found["alive"])
            over = whole and not alive and _has_ended(folder)
            said = {name: found[name] for name in ("waits", "ended", "problem")}
            heard = witness._replace(alive=alive, over=over, **said)
            if heard != witness:
                write_witness(folder, heard)
        self._fresh[folder] = time.monotonic()
        return False

    def _ask_scheduler(self) -> None:
        """Have a cluster asked that a job's host cannot ask: before the files are looked at."""
        if self._station.engine == CLUSTER:
            from perdure.targets.kubernetes_standing import ask_cluster

            self._known = ask_cluster(self._station)

    def _judged(self, name: str, found: dict[str, Any]) -> dict[str, Any]:
        """Return what was said of a job, with what its cluster says of it."""
        if self._known is None:
            return found
        from perdure.targets.kubernetes_standing import overlaid

        return overlaid(self._known, self._station.root, name, found)

    def _fail(self, problem: str) -> None:
        self.problem, self._tried = problem, time.monotonic()
        with contextlib.suppress(OSError):
            word = read_word(self._root, self._station)
            write_word(self._root, self._station, word._replace(problem=problem))

    def _name(self, folder: Path) -> str:
        return folder.relative_to(self._root).as_posix()


_askers: dict[tuple[Path, Station], _Asker] = {}
_held = False


def _key(folder: Path, witness: Witness) -> tuple[Path, Station]:
    return project_above(folder), witness.station


def _asker(folder: Path, witness: Witness) -> _Asker:
    key = _key(folder, witness)
    if key not in _askers:
        _askers[key] = _Asker(key[0], witness)
    return _askers[key]


def _has_ended(folder: Path) -> bool:
    """Return whether a job that nobody holds has come to an end of which it says so itself."""
    number = max([folders.claimed(folder), *folders.attempts(folder)])
    events = folders.read_events(folder, number, last_step_only=True) if number else []
    return bool(events) and events[-1].name == "ended" and events[-1].text("state") in _ENDED


def _sizes(folder: Path, *, whole: bool) -> dict[str, int]:
    """Return the sizes of the files that the mirror has, by their names in the run folder."""
    found: dict[str, int] = {}
    for inner in (names.METRICS, names.LOGS, names.ATTEMPTS) if whole else (names.ATTEMPTS,):
        with contextlib.suppress(OSError), os.scandir(folder / inner) as entries:
            found |= {f"{inner}/{entry.name}": entry.stat().st_size for entry in entries}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(names.GENERATION_PREFIX) or entry.name in looking.BESIDE:
                found[entry.name] = entry.stat().st_size
    newest = looking.newest_checkpoint(folder) if whole else None
    if newest is not None:
        name = f"{names.CHECKPOINTS}/{newest}/meta.json"
        with contextlib.suppress(OSError):
            found[name] = (folder / name).stat().st_size
    return found


def _write(folder: Path, name: str, at: int, data: bytes) -> None:
    """Write a piece of a file at its place: two who heard the same write the same."""
    path = folder / inside(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        if at == 0 and os.fstat(fd).st_size > len(data):
            os.ftruncate(fd, 0)
        left = memoryview(data)
        while left:
            written = os.pwrite(fd, left, at)
            left, at = left[written:], at + written
    finally:
        os.close(fd)
