"""Many jobs handed over to Slurm at once, as the elements of one array.

Slurm is given one script. What its elements run lies in a folder of the array's own, which the
nodes share: see `perdure.runtime.array`. An element's index is the end of its job's
number, so that Slurm itself can name the run folder that its words belong in.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from perdure.errors import PerdureError, SchedulerUnreachable
from perdure.model.job import JobRecord
from perdure.model.sweep import JOB_DIGITS
from perdure.runtime import array, generation, names
from perdure.targets import slurm_script as scripts
from perdure.targets import slurm_ticket as tickets
from perdure.targets import supervision
from perdure.targets.protocol import Plan
from perdure.targets.slurm import Slurm
from perdure.targets.slurm_queue import QUEUE, ask, environ
from perdure.targets.slurm_submission import NotSaidError, answered

# Slurm's own default, where it does not say what it is.
_LARGEST = 1001
#: Who has taken a job that no element is to begin.
BY_DRIVER = "driver"
_SAID = re.compile(r"^MaxArraySize\s*=\s*(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Order:
    """Jobs to be handed over, by the indices of their elements.

    `base` is what they have in common; `folder` is to be made for the array; `log` is what their
    run folders are called, as `log_pattern` says; `most_running` are run at a time (0: as many as
    Slurm starts).
    """

    base: JobRecord
    jobs: Mapping[int, JobRecord]
    folder: Path
    log: str
    most_running: int = 0

    @property
    def elements(self) -> str:
        """Return what sbatch is told of the elements."""
        limit = f"%{self.most_running}" if self.most_running else ""
        return array.ranges(sorted(self.jobs)) + limit


@dataclass(frozen=True, slots=True)
class Array:
    """An array that Slurm has, by its folder and its comment.

    `jobs` are its jobs' names by index, `afters` the generations after which they were handed over;
    `asked_at` is when (unix seconds) Slurm had last been heard by then.
    """

    folder: Path
    comment: str
    results: Path
    jobs: Mapping[int, str] = field(repr=False)
    afters: Mapping[int, int] = field(repr=False)
    asked_at: float = 0.0

    @property
    def indices(self) -> Mapping[str, int]:
        """Return the index of each job."""
        return {job: index for index, job in self.jobs.items()}

    def ticket(self, element: int) -> tickets.Ticket:
        """Return what finds an element in Slurm."""
        return tickets.Ticket(f"{self.comment}#{element}", 0, array=str(self.folder))


def block_size() -> int:
    """Return how many jobs an array can have: a power of ten. Asks Slurm.

    Raises:
        SchedulerUnreachable: it does not answer.
    """
    found = _SAID.search(ask(("scontrol", "show", "config")))
    return block_of(int(found[1]) if found else _LARGEST)


def block_of(largest: int) -> int:
    """Return the power of ten that is at most `largest`, which no index reaches. Pure."""
    return int(10 ** (len(str(max(1, largest))) - 1))


def log_pattern(sweep: str, block: int, size: int) -> str:
    """Return what sbatch is told the run folders of a block of jobs are called. Pure."""
    digits = len(str(size)) - 1
    lead = f"{block:0{max(1, JOB_DIGITS - digits)}d}" if block or digits < JOB_DIGITS else ""
    # As jobs are called: one of more digits is not padded to what the largest would have.
    width = digits if lead else JOB_DIGITS
    return f"{sweep}-{lead}%{width}a" if digits else f"{sweep}-{lead}"


def plan_array(target: Slurm, order: Order, results: Path) -> Plan:
    """Return what hands an array over; nothing of it need be there yet. Pure.

    Raises:
        UsageError: the time limit leaves a job no time before its grace.
    """
    base, folder = order.base, order.folder
    sweep = base.sweep or base.job
    turn = replace(target.turn(base), job=sweep, comment=comment_of(target.root, sweep, folder))
    batch = scripts.Batch(str(folder), order.elements)
    text = scripts.array_script(turn, batch, target.settings, base.resources)
    log = str(results).replace("%", "%%") + f"/{order.log}/{names.SCHEDULER_LOG}"
    words = ("sbatch", "--parsable", f"--chdir={results}", f"--output={log}")
    return Plan(folder.name, folder, results, words, base.variables, turn.command, script=text)


def comment_of(root: Path, sweep: str, folder: Path) -> str:
    """Return what names an array in Slurm. Pure."""
    return f"{tickets.comment_of(root, sweep)}:{folder.name}"


def submit_array(target: Slurm, order: Order) -> Array:
    """Hand jobs over; return the array that Slurm has of them.

    Raises:
        SchedulerUnreachable: Slurm does not answer, and has not taken it.
        UsageError: it refuses what is asked for.
        OSError: the disk refuses. After any of these nothing is handed over.
    """
    jobs = order.jobs
    results = next(iter(jobs.values())).results
    planned = plan_array(target, order, results)
    known = QUEUE.known()
    if known.problem:
        raise SchedulerUnreachable(known.problem, hint="try again in a minute")
    target.bring_supervisor()
    afters = {index: generation.newest(job.folder) for index, job in jobs.items()}
    made = Array(
        order.folder,
        comment_of(target.root, order.base.sweep or order.base.job, order.folder),
        results,
        {index: job.job for index, job in jobs.items()},
        afters,
        time.time(),
    )
    before = {index: tickets.read_ticket(job.folder) for index, job in jobs.items()}
    try:
        _write_turns(target, order, made)
        _sign(made)
        _hand_over(target, planned, made)
    except BaseException:
        for index, ticket in before.items():
            tickets.restore(jobs[index].folder, ticket)
        shutil.rmtree(order.folder, ignore_errors=True)
        raise
    return made


def read_array(folder: Path) -> Array:
    """Return an array that was handed over. Reads the disk.

    Raises:
        PerdureError: it cannot be read.
    """
    try:
        turns = array.read_turns(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PerdureError(f"the array `{folder}` cannot be read: {error}") from error
    return Array(
        folder,
        turns.comment,
        Path(turns.results),
        {index: trial.job for index, trial in turns.trials.items()},
        {index: trial.after for index, trial in turns.trials.items()},
        turns.asked_at,
    )


def give_back(made: Array, index: int) -> bool:
    """Return whether a job that no element has begun will be begun by none any more.

    Its ticket is removed: it is not in Slurm's hands. Touches the disk.
    """
    if not array.take(str(made.folder), index, BY_DRIVER):
        return False
    (made.results / made.jobs[index] / names.TICKET_FILE).unlink(missing_ok=True)
    return True


def call_off(made: Array, elements: Sequence[int]) -> None:
    """Have elements leave the queue; those that run meanwhile are left alone. Asks Slurm.

    Raises:
        PerdureError: Slurm does not answer, or refuses.
    """
    try:
        number = (made.folder / tickets.ARRAY_NUMBER).read_text()
    except OSError:
        return  # they find nothing to begin
    if elements:
        listed = array.ranges(sorted(elements))
        ask(("scancel", "--state=PENDING", f"{number}_[{listed}]"))


def throttle(folder: Path, most_running: int) -> None:
    """Have an array that Slurm has run so many elements at a time, 0: any number. Asks Slurm.

    Raises:
        PerdureError: Slurm does not answer, or has it no more.
    """
    try:
        number = (folder / tickets.ARRAY_NUMBER).read_text()
    except OSError:
        return  # nobody knows its number
    ask(("scontrol", "update", f"JobId={number}", f"ArrayTaskThrottle={most_running}"))


def _write_turns(target: Slurm, order: Order, made: Array) -> None:
    turn = target.turn(order.base)
    fixed = len(order.base.arguments)
    content = {
        "results": str(made.results),
        "comment": made.comment,
        "asked_at": made.asked_at,
        "options": turn.options,
        "command": turn.launched(order.base.resources),
        "trials": {
            index: (job.job, job.seed, made.afters[index], job.arguments[fixed:])
            for index, job in order.jobs.items()
        },
    }
    (made.folder / array.TAKEN).mkdir(parents=True)
    (made.folder / array.TURNS_FILE).write_text(json.dumps(content), "utf-8")


def _sign(made: Array) -> None:
    """Write the tickets of all jobs; what they do not say, Slurm's number, the folder will."""
    for index, job in made.jobs.items():
        comment, after = f"{made.comment}#{index}", made.afters[index]
        ticket = tickets.Ticket(comment, after, array=str(made.folder))
        tickets.write_ticket(made.results / job, ticket)


def _hand_over(target: Slurm, planned: Plan, made: Array) -> None:
    variables = supervision.without_job(environ()) | dict(planned.environment)
    first = f"{made.comment}#{min(made.jobs)}"
    try:
        number = answered(planned, first, variables, target.settings, None)
    except NotSaidError:
        return  # its comment finds it, if it is there
    finally:
        QUEUE.changed()
    (made.folder / tickets.ARRAY_NUMBER).write_text(number.partition("_")[0])
