"""One element of a scheduler's array: a supervisor for a trial, and for another one after it.

supervisor --array FOLDER INDEX

The folder lists the array's trials (`turns.json`) and holds who has taken which: `taken/TRIAL`,
made exclusively, with the element's index in it; and `held-INDEX`, the trial that an element took
last, which it goes on with when the scheduler starts it again. An element takes its own trial
first. One whose trial is over soon takes another instead of ending: to start an element costs a
scheduler a hundred times what a short trial does. What began elsewhere, or was handed to another
array, is left alone: its ticket says so.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Callable, Dict, List, NamedTuple, Optional

from perdure.runtime import generation, names, settled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OPTION = "--array"
TURNS_FILE = "turns.json"
TAKEN = "taken"
HELD_PREFIX = "held-"
NEEDLESS_FILE = "needless"
# An element takes no other trial once it has run for so long.
LONGEST_S = 60.0
# Trials that elements which run at a time share out.
_BLOCK = 64
Supervise = Callable[["Sequence[str]"], int]


class Trial(NamedTuple):
    """A trial of the array; `after` is the generation after which it was handed over."""

    job: str
    seed: int
    after: int
    arguments: List[str]


class Turns(NamedTuple):
    """What the elements of an array run. `options` and `command` are what all trials share.

    `asked_at` is when the array was handed over (unix seconds).
    """

    results: str
    comment: str
    options: List[str]
    command: List[str]
    trials: Dict[int, Trial]
    asked_at: float = 0.0


def read_turns(folder: str) -> Turns:
    """Return what an array runs. Reads the disk.

    Raises:
        OSError: it is gone.
    """
    with open(os.path.join(folder, TURNS_FILE), encoding="utf-8") as file:
        found = json.load(file)
    trials = {int(index): Trial(*each) for index, each in found["trials"].items()}
    known = (found["results"], found["comment"], found["options"], found["command"])
    return Turns(*known, trials, float(found.get("asked_at", 0.0)))


def take(folder: str, trial: int, who: str) -> bool:
    """Return whether a trial is the caller's from now on. Touches the disk."""
    # Whole at once, or somebody could read half a word: a name more for what says the same of all.
    word = os.path.join(folder, f".{TAKEN}-by-{who}")
    if not os.path.exists(word):
        _write(word, who)
    try:
        os.link(word, _taken(folder, trial))
    except FileExistsError:
        return taker(folder, trial) == who
    return True


def taker(folder: str, trial: int) -> str:
    """Return who has taken a trial, "" where nobody has. Reads the disk."""
    try:
        with open(_taken(folder, trial), encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def taken(folder: str) -> Dict[int, str]:
    """Return the trials that were taken. Reads the disk; who took them is not read."""
    return {int(name): "" for name in os.listdir(os.path.join(folder, TAKEN)) if name.isdigit()}


def run(
    folder: str,
    index: int,
    supervise: Supervise,
    *,
    now: Callable[[], float] = time.monotonic,
    job: Optional[str] = None,
    alone: bool = False,
) -> int:
    """Run the trials of one element, and return its exit code: 75 if it is to be run again.

    `supervise` is given a supervisor's command line. `job` is the scheduler's number of the array.
    `alone`: it takes no trial but its own, by which the scheduler tells of it.
    """
    turns = read_turns(folder)
    element = _Element(folder, index, turns, job)
    if alone:
        own = element.own()
        return 0 if own is None else supervise(element.words(own))
    until = now() + LONGEST_S
    worst = 0
    trial = element.first()
    while trial is not None:
        code = supervise(element.words(trial))
        if code == names.EXIT_INTERRUPTED:
            return code
        worst = code or worst
        trial = element.following() if now() < until else None
    return worst


class _Element:
    def __init__(self, folder: str, index: int, turns: Turns, job: Optional[str]) -> None:
        self._folder = folder
        self._index = index
        self._turns = turns
        self._job = job
        self._free: Optional[Iterator[int]] = None

    def own(self) -> Optional[int]:
        """Return the trial that was held before, or its own; None where others have that."""
        before = self._held()
        if before is not None and taker(self._folder, before) == str(self._index):
            trial = self._turns.trials[before]
            if not settled.is_over(self._run_dir(trial), trial.after):
                return before
        return self._index if self._take(self._index) else None

    def first(self) -> Optional[int]:
        """Return its own trial, or one that nobody has."""
        own = self.own()
        return self.following() if own is None else own

    def following(self) -> Optional[int]:
        """Return a trial that nobody has, and that no element comes to soon."""
        # What was taken once stays so: the trials that were free at first are gone through once.
        if self._free is None:
            free = set(self._turns.trials) - set(taken(self._folder))
            self._free = iter(apart(sorted(free), self._index))
        for trial in self._free:
            # Looking does not keep others from the folder, as trying does.
            if not os.path.exists(_taken(self._folder, trial)) and self._take(trial):
                return trial
        self._say_needless()
        return None

    def words(self, number: int) -> List[str]:
        """Return a supervisor's command line for a trial."""
        trial = self._turns.trials[number]
        own = ["--run-dir", self._run_dir(trial), "--job", trial.job, "--seed", str(trial.seed)]
        own += ["--scheduled-after", str(trial.after)]
        return [*self._turns.options, *own, "--", *self._turns.command, *trial.arguments]

    def _take(self, number: int) -> bool:
        trial = self._turns.trials.get(number)
        if trial is None or not self._is_open(trial):
            return False
        # Before it is taken: who finds it taken by this element is to find it here, too.
        _write(os.path.join(self._folder, f"{HELD_PREFIX}{self._index}"), str(number))
        if not take(self._folder, number, str(self._index)):
            return False
        if number != self._index:
            self._sign(trial)
        return True

    def _is_open(self, trial: Trial) -> bool:
        """Return whether a trial is this array's, and nothing of it began since that was so."""
        run_dir = self._run_dir(trial)
        try:
            comment = _comment(run_dir)
            begun = generation.newest(run_dir) > trial.after
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return comment.partition("#")[0] == self._turns.comment and not begun

    def _sign(self, trial: Trial) -> None:
        """Have the ticket of another element's trial name this one."""
        number = None if self._job is None else f"{self._job}_{self._index}"
        comment = f"{self._turns.comment}#{self._index}"
        known = {"format": 1, "comment": comment, "after": trial.after, "number": number}
        known["array"] = self._folder
        _write(os.path.join(self._run_dir(trial), names.TICKET_FILE), json.dumps(known) + "\n")

    def _run_dir(self, trial: Trial) -> str:
        return os.path.join(self._turns.results, trial.job)

    def _held(self) -> Optional[int]:
        try:
            path = os.path.join(self._folder, f"{HELD_PREFIX}{self._index}")
            with open(path, encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    def _say_needless(self) -> None:
        """Write down which elements never began, and have nothing to begin with any more."""
        began = {
            int(name[len(HELD_PREFIX) :])
            for name in os.listdir(self._folder)
            if name.startswith(HELD_PREFIX) and name[len(HELD_PREFIX) :].isdigit()
        }
        left = ranges(sorted(set(self._turns.trials) - began - {self._index}))
        if left and self._job is not None:
            _write(os.path.join(self._folder, NEEDLESS_FILE), f"{self._job}_[{left}]\n")


def apart(numbers: List[int], index: int) -> List[int]:
    """Return numbers from the end, in blocks, each begun elsewhere by one of another index. Pure.

    Elements come to the end last; and they get in each other's way when all try the same trial.
    """
    found: List[int] = []
    for end in range(len(numbers), 0, -_BLOCK):
        block = numbers[max(0, end - _BLOCK) : end]
        begin = index % len(block)
        found += block[begin:] + block[:begin]
    return found


def ranges(numbers: List[int]) -> str:
    """Return numbers in ascending order as a scheduler writes them: `1-4,7`. Pure."""
    found: List[List[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def _taken(folder: str, trial: int) -> str:
    return os.path.join(folder, TAKEN, str(trial))


def _comment(run_dir: str) -> str:
    """Return whose a job is, by its ticket."""
    try:
        with open(os.path.join(run_dir, names.TICKET_FILE), encoding="utf-8") as file:
            return str(json.load(file)["comment"])
    except FileNotFoundError:
        with open(os.path.join(run_dir, names.KUBERNETES_FILE), encoding="utf-8") as file:
            return str(json.load(file)["name"])


def _write(path: str, text: str) -> None:
    """Write a file, whole or not at all."""
    draft = f"{path}.{os.getpid()}"
    with open(draft, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(draft, path)
