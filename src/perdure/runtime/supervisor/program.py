"""The supervisor as a program: from its arguments to its exit code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from perdure.runtime import names, settled
from perdure.runtime.supervisor import lock, options, returning
from perdure.runtime.supervisor.complaint import Complaint, tell
from perdure.runtime.supervisor.loop import EXIT_STORAGE, Loop
from perdure.runtime.supervisor.signals import Signals
from perdure.runtime.supervisor.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Sequence

# As in perdure.errors, which is not in the zipapp.
EXIT_USAGE = 2
EXIT_ALREADY_RUNNING = 3
_ARRAY = "--array"
_GANG = ("--lead", "--follow")
# What Kubernetes tells each pod of an Indexed Job.
_INDEX = "JOB_COMPLETION_INDEX"


def main(argv: Sequence[str]) -> int:
    """Supervise what `argv` asks for and return the exit code."""
    _fill_standard_descriptors()
    if len(argv) == 3 and argv[0] == _ARRAY and argv[2].isdigit():
        return _element(argv[1], int(argv[2]))
    if len(argv) == 2 and argv[0] == _ARRAY and os.environ.get(_INDEX, "").isdigit():
        return _element(argv[1], int(os.environ[_INDEX]), alone=True)
    if argv and argv[0] in _GANG:
        from perdure.runtime import gang  # only of those that train on several machines

        return gang.main(argv)
    return _one(argv)


def _element(folder: str, index: int, *, alone: bool = False) -> int:
    """Supervise the trials of one element of a scheduler's array, and return its exit code."""
    from perdure.runtime import array  # of a thousand supervisors few are one's

    try:
        job = os.environ.get("SLURM_ARRAY_JOB_ID")
        return array.run(folder, index, _one, job=job, alone=alone)
    except OSError as error:
        return _refuse(f"the array at `{folder}` cannot be read: {error}", EXIT_STORAGE)


def _one(argv: Sequence[str]) -> int:
    try:
        asked = options.parse(argv)
    except options.BadOptions as error:
        return _refuse(f"{error}\n{options.USAGE}", EXIT_USAGE)
    after = returning.read_order()
    if not os.path.isdir(asked.run_dir):
        # Whoever removed the job did not mean an engine to try for ever.
        code = EXIT_USAGE if after is None else 0
        return _refuse(f"no run folder at `{asked.run_dir}`", code)
    if asked.scheduled_after is not None:
        return _scheduled(asked, asked.scheduled_after, returns=after is not None)
    if after is not None and returning.is_settled(asked.run_dir, after):
        return 0
    code = _hold(asked)
    # Anything but 0 has the engine start it again.
    return 0 if after is not None and returning.is_settled(asked.run_dir, after) else code


def _scheduled(asked: options.Options, after: int, *, returns: bool) -> int:
    """Supervise what a scheduler runs, and return the exit code: 75 only if it is to run again.

    One that `returns` whatever does not end with 0 is told so of all that is over.
    """
    if settled.is_over(asked.run_dir, after):
        return 0  # the scheduler did not hear of it
    code = _hold(asked)
    if (returns or code == names.EXIT_INTERRUPTED) and settled.is_over(asked.run_dir, after):
        return 0
    return code


def _hold(asked: options.Options) -> int:
    """Supervise with the lock of the run folder held, and return the exit code."""
    try:
        held = lock.take(asked.run_dir, regardless=asked.scheduled_after is not None)
    except lock.AlreadyRunning as error:
        return _refuse(str(error), EXIT_ALREADY_RUNNING)
    except OSError as error:
        return _refuse(f"cannot lock the run folder: {error}", EXIT_STORAGE)
    try:
        return _supervise(asked, held.problem)
    except OSError as error:
        return _refuse(f"cannot write to the run folder: {error}", EXIT_STORAGE)
    finally:
        held.release()


def _supervise(asked: options.Options, problem: str | None) -> int:
    signals = Signals()
    try:
        if problem is not None:
            tell(problem)
        return Loop(asked, Watch(asked, signals), Complaint()).run(problem)
    finally:
        signals.restore()


def _refuse(text: str, code: int) -> int:
    tell(text)
    return code


def _fill_standard_descriptors() -> None:
    """Open what the caller had closed of 0, 1 and 2, so that none of our files is taken for it."""
    fd = os.open(os.devnull, os.O_RDWR)
    while fd <= 2:
        fd = os.open(os.devnull, os.O_RDWR)
    os.close(fd)
