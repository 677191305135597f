"""Names shared by the supervisor, the training and the command line: variables, exit codes, files.

Standard library only, Python 3.9 or newer. Changing a value here is a change of the run folder's
format: see docs/run-folder.md.
"""

from __future__ import annotations

import os
from typing import Final

# What the supervisor tells its child.
RUN_DIR: Final = "PERDURE_RUN_DIR"
JOB: Final = "PERDURE_JOB"
GENERATION: Final = "PERDURE_GENERATION"
ATTEMPT: Final = "PERDURE_ATTEMPT"
SEED: Final = "PERDURE_SEED"
GRACE_S: Final = "PERDURE_GRACE_S"
PREEMPT_FILE: Final = "PERDURE_PREEMPT_FILE"
CTL_FD: Final = "PERDURE_CTL_FD"
DEBUG: Final = "PERDURE_DEBUG"
DRILL: Final = "PERDURE_DRILL"
# What every process of a service carries: a job that was started in one does not.
SERVICE: Final = "PERDURE_SERVICE"
# What a supervisor is told that a container engine starts again by itself.
RETURNS_AFTER: Final = "PERDURE_RETURNS_AFTER"

# What the child's exit code tells the supervisor, and the supervisor's its caller.
EXIT_DONE: Final = 0
EXIT_INTERRUPTED: Final = 75
EXIT_FENCED: Final = 76

# The generation after which a scheduler was given the job: in its script's own environment.
SCHEDULED_AFTER: Final = "PERDURE_SCHEDULED_AFTER"

# The run folder: results/<job>/
FORMAT: Final = 1
JOB_FILE: Final = "job.json"
PATCH_FILE: Final = "code.patch"
GENERATION_PREFIX: Final = "gen-"
LOCK_FILE: Final = "supervisor.lock"
SUPERVISOR_LOG: Final = "supervisor.log"
# A job that a scheduler runs has these: what finds it there, and what its script says.
TICKET_FILE: Final = "slurm.json"
SCHEDULER_LOG: Final = "slurm.log"
KUBERNETES_FILE: Final = "kubernetes.json"
PREEMPT: Final = "PREEMPT"
CANCEL: Final = "CANCEL"
ATTEMPTS: Final = "attempts"
# In there, beside events: the time of a machine that was lent.
MACHINE_PREFIX: Final = "machine-"
LOGS: Final = "logs"
METRICS: Final = "metrics"
CHECKPOINTS: Final = "checkpoints"
OUTPUTS: Final = "outputs"
TRACE: Final = "trace"


def opened(path: str, flags: int) -> int:
    """Return the descriptor of a file that is created; its folder is made where it is missing."""
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o644)


def numbered(generation: int, suffix: str) -> str:
    """Return the file name of one attempt, such as `000003.jsonl`."""
    return f"{generation:06d}{suffix}"
