"""A job handed over to Slurm, once, also where the answer is lost.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Optional

from perdure.errors import (
    EnvironmentFailed,
    MissingProgram,
    PerdureError,
    SchedulerUnreachable,
    TimeoutExpired,
    UsageError,
)
from perdure.hosts import local
from perdure.model.settings import SlurmSettings
from perdure.runtime import generation, names, settled
from perdure.targets import slurm_ticket as tickets
from perdure.targets.protocol import Plan
from perdure.targets.slurm_queue import ASK_S, QUEUE, Known, Word, ask, complaint, no_slurm

SUBMIT_S = 60.0
# For so long it is looked whether a job is there whose submission was not answered.
LOOK_S = 20.0
_POLL_S = 1.0
_GUARD = "submitting.lock"
# What sbatch says of a script that it understands, where no node can have it: for now, or ever.
_NO_ROOM = "allocation failure"
_FOR_GOOD = re.compile(r"\binvalid\b", re.IGNORECASE)


def submit_script(
    plan: Plan,
    comment: str,
    variables: Mapping[str, str],
    settings: SlurmSettings,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Optional[int]:  # noqa: UP045 - Python 3.9
    """Return Slurm's number of the job, None where it had a job of that comment already.

    Raises:
        SchedulerUnreachable: Slurm does not answer, and has not taken it.
        UsageError: it refuses what is asked for.
    """
    with _guarded(plan.run_dir):
        before = tickets.read_ticket(plan.run_dir)
        word = _heard().of(comment, None if before is None else before.number)
        over = before is not None and settled.is_over(plan.run_dir, before.after)
        if word is not None and word.active and not over:
            return None
        ticket = tickets.Ticket(comment, generation.newest(plan.run_dir))
        tickets.write_ticket(plan.run_dir, ticket)
        given = {**variables, names.SCHEDULED_AFTER: str(ticket.after)}
        try:
            number = answered(plan, comment, given, settings, word, pause)
        except NotSaidError as error:
            raise SchedulerUnreachable(
                f"Slurm does not say whether it has taken the job: {error}",
                hint="perdure ps shows it, once Slurm answers",
            ) from error
        except BaseException:
            tickets.restore(plan.run_dir, before)
            raise
        QUEUE.changed()
        tickets.write_ticket(plan.run_dir, ticket._replace(number=number))
        return int(number)


def require_accepted(plan: Plan, variables: Mapping[str, str], settings: SlurmSettings) -> None:
    """Return if Slurm takes what only it can judge: accounts, and lines that users add. Asks it.

    Whether a node is free for it just now is passed over: a job waits for that.

    Raises:
        SchedulerUnreachable: Slurm does not answer.
        UsageError: it would refuse the script whenever it came.
    """
    text = (plan.script or "").encode("utf-8", "surrogateescape")
    try:
        done = local.run((*plan.argv, "--test-only"), env=variables, stdin=text, timeout_s=ASK_S)
    except MissingProgram as error:
        raise no_slurm("sbatch") from error
    said = done.complaint
    if done.returncode and (_NO_ROOM not in said or _FOR_GOOD.search(said)):
        raise refusal(said, settings)


def _heard() -> Known:
    """Return what Slurm says just now.

    Raises:
        SchedulerUnreachable: it does not answer.
    """
    known = QUEUE.known(fresh=True)
    if known.problem:
        raise SchedulerUnreachable(known.problem, hint="try again in a minute")
    return known


class NotSaidError(Exception):
    """Nobody can say whether Slurm has taken a job: what finds it there is kept."""


def answered(
    plan: Plan,
    comment: str,
    variables: Mapping[str, str],
    settings: SlurmSettings,
    word: Optional[Word],  # noqa: UP045 - Python 3.9
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Return the number of the job that is handed over, also where no answer says it.

    `word` is what Slurm had said of one of that comment before.

    Raises:
        NotSaidError: nobody can say whether it was taken.
        SchedulerUnreachable: it was not, and may be later.
        UsageError: it is refused.
    """
    try:
        return _hand_over(plan, variables, settings)
    except (SchedulerUnreachable, TimeoutExpired) as error:
        number = _looked_for(comment, None if word is None else word.number, pause)
        if number is None:
            raise SchedulerUnreachable(
                f"`{plan.key}` was not taken: {error.message}", hint="try again in a minute"
            ) from error
        return number


@contextlib.contextmanager
def _guarded(run_dir: Path) -> Iterator[None]:
    """Let one at a time look for the job and hand it over."""
    fd = os.open(run_dir / _GUARD, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # Without locks on this file system: the comment alone keeps two apart.
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _hand_over(plan: Plan, variables: Mapping[str, str], settings: SlurmSettings) -> str:
    """Return the number that sbatch answers with. Starts a process."""
    text = (plan.script or "").encode("utf-8", "surrogateescape")
    try:
        done = local.run(plan.argv, env=variables, cwd=plan.run_dir, stdin=text, timeout_s=SUBMIT_S)
    except MissingProgram as error:
        raise no_slurm("sbatch") from error
    if done.returncode:
        raise refusal(done.complaint, settings)
    # `NUMBER`, or `NUMBER;CLUSTER`.
    number = done.text.rpartition("\n")[2].partition(";")[0]
    if not number.isdecimal():
        raise TimeoutExpired(f"sbatch answers `{done.text}`")
    return number


def _looked_for(
    comment: str,
    before: Optional[str],  # noqa: UP045 - Python 3.9
    pause: Callable[[float], None],
) -> Optional[str]:  # noqa: UP045 - as above
    """Return the number of a job that Slurm took without saying so, None if it did not."""
    deadline = time.monotonic() + LOOK_S
    while True:
        known = QUEUE.known(fresh=True)
        word = known.words.get(comment)
        if not known.problem:
            fresh = word is not None and word.number != before
            return word.number if word is not None and fresh else None
        if time.monotonic() > deadline:
            raise NotSaidError(known.problem)
        pause(_POLL_S)


def refusal(text: str, settings: SlurmSettings) -> PerdureError:
    """Return the error of what sbatch complains of. May ask Slurm what there is."""
    found = complaint(text)
    if isinstance(found, EnvironmentFailed):
        return found
    said = found.message.replace("Batch job submission failed: ", "")
    said = said.removeprefix(f"{_NO_ROOM}: ")
    lowered = text.lower()
    for word, key in (("partition", "partition"), ("account", "account"), ("qos", "qos")):
        value = getattr(settings, key)
        if f"invalid {word}" in lowered and value is not None:
            import difflib

            near = difflib.get_close_matches(value, _known(key), 1)
            hint = f"did you mean `{near[0]}`?" if near else f"`{key}` of the target; or: sinfo"
            return UsageError(f"Slurm has no {word} `{value}` for this: {said.lower()}", hint=hint)
    return UsageError(f"Slurm refuses it: {said.lower()}", hint="perdure run --explain shows it")


def _known(key: str) -> list[str]:
    """Return what Slurm knows of that kind, [] where it does not tell."""
    if key == "partition":
        words = ["sinfo", "--noheader", "--format=%R"]
    else:
        user = f"user={os.environ.get('USER', '')}"
        words = ["sacctmgr", "-nP", "show", "assoc", user, f"format={key}"]
    try:
        return [each for line in ask(words).split() for each in line.split(",")]
    except PerdureError:
        return []
