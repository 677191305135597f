"""How a supervisor is started and spoken to, wherever it runs: through its run folder.

What targets have in common that share a disk with their jobs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from perdure.errors import TimeoutExpired
from perdure.hosts import local
from perdure.model.job import JobRecord
from perdure.runtime import generation, names
from perdure.targets import presence
from perdure.targets.protocol import Confirmation, Handle, Notice, Presence

POLL_S = 0.005
ALREADY_RUNNING = 3
# A job started from inside another one is not part of it.
_OF_ANOTHER_JOB = frozenset(
    {
        names.RUN_DIR,
        names.JOB,
        names.GENERATION,
        names.ATTEMPT,
        names.SEED,
        names.GRACE_S,
        names.PREEMPT_FILE,
        names.CTL_FD,
        names.DRILL,
        names.RETURNS_AFTER,
        names.SERVICE,
        names.SCHEDULED_AFTER,
    }
)


def supervisor_options(job: JobRecord, run_dir: str, cwd: str) -> tuple[str, ...]:
    """Return a supervisor's options for a job; both folders as they are called where it runs."""
    limits = job.limits
    options = ["--run-dir", run_dir, "--job", job.job, "--seed", str(job.seed), "--cwd", cwd]
    options += ["--grace-s", f"{limits.grace_s:g}", "--retries", str(limits.retries)]
    for cloud in limits.watch:
        options += ["--watch", cloud]
    return tuple(options)


def without_job(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those that belong to a job this process is part of."""
    return {name: v for name, v in variables.items() if name not in _OF_ANOTHER_JOB}


def wait_for_claim(
    run_dir: Path,
    before: int,
    pid: int,
    *,
    limit_s: float,
    pause: Callable[[float], None] = time.sleep,
) -> int | None:
    """Return None once the run folder has a new owner, or the exit code of what was started.

    Raises:
        TimeoutExpired: neither within `limit_s`; what was started is killed.
    """
    log = run_dir / names.SUPERVISOR_LOG
    # The claim is waited for, not the lock: asking for the lock could keep it from being taken.
    deadline = time.monotonic() + limit_s
    while generation.newest(run_dir) <= before:
        code = local.exit_code_of(pid)
        if code is not None:
            return code
        if time.monotonic() > deadline:
            local.kill_group(pid)
            raise TimeoutExpired(
                f"the supervisor of `{run_dir.name}` did not start in {limit_s:g} s",
                hint=last_words(log),
            )
        pause(POLL_S)
    return None


def presences(handles: Sequence[Handle]) -> Mapping[str, Presence]:
    """Return which jobs run, by their locks or by their scheduler."""
    return {handle.key: presence_in(handle.run_dir) for handle in handles}


def presence_in(run_dir: Path) -> Presence:
    """Return whether the job of a run folder runs."""
    found = presence.standing(run_dir)
    if found.problem:
        return Presence.UNREACHABLE
    return Presence.RUNNING if found.alive else Presence.GONE


def notify(run_dir: Path, notice: Notice) -> None:
    """Touch PREEMPT, whole: the supervisor never reads half a notice."""
    told = {"reason": notice.reason, "deadline": notice.deadline, "stays": True}
    words = json.dumps(told)
    draft = run_dir / f".{names.PREEMPT}-{os.getpid()}"
    draft.write_text(words)
    draft.replace(run_dir / names.PREEMPT)


def end(
    run_dir: Path, timeout_s: float, *, pause: Callable[[float], None] = time.sleep
) -> Confirmation:
    """Touch CANCEL, and return whether the supervisor let go of its lock within the time."""
    if presence.is_alive(run_dir):
        (run_dir / names.CANCEL).touch()
        deadline = time.monotonic() + timeout_s
        while presence.is_alive(run_dir):
            if time.monotonic() > deadline:
                return "unconfirmed"
            pause(POLL_S)
    return "confirmed"


def output(run_dir: Path) -> bytes:
    """Return what the training has written so far, all attempts in order."""
    return b"".join(path.read_bytes() for path in sorted((run_dir / names.LOGS).glob("*.log")))


def last_words(log: Path, *, since: int = 0, lines: int = 5) -> str | None:
    """Return the last lines of a log from the byte `since` on, None where there are none."""
    try:
        text = log.read_bytes()[since:].decode("utf-8", "replace").strip()
    except OSError:
        return None
    return "\n".join(text.splitlines()[-lines:]) or None
