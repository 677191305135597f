"""The sbatch script of a job: pure text, the same for the same job.

The supervisor is a step of the job, started by srun: a step gets SIGTERM when its job is preempted,
which the script itself does not. `--signal` asks the step again before the time limit. What was
interrupted and saved takes another turn of the same job: `scontrol requeue`.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perdure.model.duration import clock_words
from perdure.model.job import Resources
from perdure.model.settings import SlurmSettings
from perdure.runtime import names
from perdure.runtime.array import NEEDLESS_FILE, OPTION
from perdure.targets import slurm_nodes as nodes

# What is left after the grace, to write down that it is over and to ask for another turn.
MARGIN_S = 10
_MEBIBYTE = 2**20
_DIRECTIVE = "#SBATCH "

# A job that was cancelled meanwhile, or that began anew elsewhere, is left alone; one that came to
# its limit before it was done with saving is not. A scheduler that does not answer is asked again
# for ten minutes.
_ANOTHER_TURN = """\
tries=0
while [ "$code" = 75 ] && [ "$tries" -lt 130 ]; do
  case "$(scontrol --oneliner show job "NUMBER" 2>/dev/null)" in
  *" JobState=RUNNING "*" Restarts=${SLURM_RESTART_COUNT:-0} "* | \
    *" JobState=COMPLETING Reason=TimeLimit "*" Restarts=${SLURM_RESTART_COUNT:-0} "*)
    scontrol requeue "NUMBER" && break ;;
  "JobId="*) break ;;
  esac
  tries=$((tries + 1))
  sleep $((tries > 10 ? 5 : 1))
done
exit "$code"
"""
_SRUN = (
    "srun --ntasks=1 --export=ALL --input=none \\",
    '  ${SLURM_CPUS_PER_TASK:+"--cpus-per-task=$SLURM_CPUS_PER_TASK"} \\',
)
_NUMBER = "$SLURM_JOB_ID"
# The number of an array means all of its elements.
_ELEMENT = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"


@dataclass(frozen=True, slots=True)
class Turn:
    """What a script runs: a training under its supervisor. `comment` names the job in Slurm.

    `first` lie before what the variables have on the cluster, such as PATH; `exports` stand alone.
    `enclosing` are the words that run a command in the job's image, none without one.
    """

    job: str
    comment: str
    supervisor: tuple[str, ...]
    options: tuple[str, ...]
    command: tuple[str, ...]
    grace_s: float
    first: Mapping[str, str]
    exports: Mapping[str, str]
    enclosing: tuple[str, ...] = ()

    def launched(self, resources: Resources) -> tuple[str, ...]:
        """Return the supervisor's child: the training, on all nodes of its job. Pure."""
        return nodes.launched(self.command, resources, self.enclosing)


@dataclass(frozen=True, slots=True)
class Batch:
    """An array: the folder that says what its elements run, and which there are: `1-9,12%4`."""

    folder: str
    elements: str


def script(turn: Turn, settings: SlurmSettings, resources: Resources) -> str:
    """Return the script of a job."""
    return "\n".join(
        [
            *_beginning(turn, settings, resources),
            *_srun(resources),
            f"  {' '.join(map(quoted, (*turn.supervisor, *turn.options)))} \\",
            f'  --scheduled-after "${{{names.SCHEDULED_AFTER}:-0}}" -- \\',
            f"  {' '.join(map(quoted, turn.launched(resources)))}",
            "code=$?",
            _ANOTHER_TURN.replace("NUMBER", _NUMBER),
        ]
    )


def array_script(turn: Turn, batch: Batch, settings: SlurmSettings, resources: Resources) -> str:
    """Return the script of an array: one supervisor an element, which is told only its index."""
    needless = f"{batch.folder}/{NEEDLESS_FILE}"
    return "\n".join(
        [
            *_beginning(turn, settings, resources, f"--array={batch.elements}"),
            f"# Each runs {' '.join(map(quoted, turn.command))} with arguments of its own.",
            *_srun(resources),
            f"  {' '.join(map(quoted, turn.supervisor))} {OPTION} {quoted(batch.folder)} \\",
            '  "$SLURM_ARRAY_TASK_ID"',
            "code=$?",
            "# Elements whose trials others have taken need not begin.",
            f"needless=$(cat {quoted(needless)} 2>/dev/null)",
            '[ -z "$needless" ] || scancel --state=PENDING "$needless" 2>/dev/null',
            _ANOTHER_TURN.replace("NUMBER", _ELEMENT),
        ]
    )


def _beginning(
    turn: Turn, settings: SlurmSettings, resources: Resources, *more: str
) -> tuple[str, ...]:
    """Return the lines up to where the supervisor is started."""
    directives, commands = split_lines(settings.lines)
    several = resources.nodes > 1
    head = [
        f"--job-name={turn.job}",
        f"--comment={turn.comment}",
        "--requeue",
        "--open-mode=append",
        "--export=ALL",
        f"--signal=USR2@{warning_s(turn.grace_s)}",
        *allocation(settings, resources, resources.nodes),
        *more,
    ]
    return (
        "#!/bin/bash -l" if settings.modules else "#!/bin/bash",
        *(f"{_DIRECTIVE}{each}" for each in (*head, *directives)),
        "",
        *(f"module load {quoted(module)} || exit 4" for module in settings.modules),
        *commands,
        *_variables(turn),
        *(nodes.MEETING if several else ()),
        "# Slurm asks the step itself; this goes on, to see how it ended.",
        "trap : TERM",
    )


def _srun(resources: Resources) -> tuple[str, ...]:
    """Return how the supervisor is started: on the first of several nodes."""
    if resources.nodes == 1:
        return _SRUN
    # What the supervisor has, the training has, too.
    return ('srun --overlap --nodes=1 --nodelist="$SLURMD_NODENAME" \\', _SRUN[0][4:], *_SRUN[1:])


def allocation(settings: SlurmSettings, resources: Resources, number: int = 1) -> tuple[str, ...]:
    """Return the options that say what a job gets and where, for sbatch and srun alike.

    `number` is how many nodes it gets, with one task on each.
    """
    options = [f"--nodes={number}", f"--ntasks={number}"]
    for name in ("partition", "account", "qos"):
        value = getattr(settings, name)
        if value is not None:
            options.append(f"--{name}={value}")
    limit_s = time_limit_s(settings, resources)
    if limit_s is not None:
        options.append(f"--time={clock_words(limit_s)}")
    if resources.gpus:
        options.append(f"--gres=gpu:{resources.gpus}")
    if resources.cpus is not None:
        options.append(f"--cpus-per-task={whole_cpus(resources)}")
    if resources.memory_bytes is not None:
        options.append(f"--mem={mebibytes(resources.memory_bytes)}M")
    return tuple(options)


def time_limit_s(settings: SlurmSettings, resources: Resources) -> float | None:
    """Return how long a job may run at a stretch, in seconds; None: the partition's own limit."""
    return settings.time_s if resources.time_s is None else resources.time_s


def warning_s(grace_s: float) -> int:
    """Return how many seconds before its time limit a job is asked to save."""
    return math.ceil(grace_s) + MARGIN_S


def whole_cpus(resources: Resources) -> int:
    """Return the processors that a job gets, which Slurm gives whole."""
    return math.ceil(resources.cpus or 1)


def mebibytes(size: int) -> int:
    """Return a size as Slurm counts it, rounded up."""
    return -(-size // _MEBIBYTE)


def split_lines(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options among a user's lines, without `#SBATCH`, and the commands among them."""
    options, commands = [], []
    for line in lines:
        bare = line.strip()
        if bare.startswith("#SBATCH"):
            options.append(bare[len("#SBATCH") :].strip())
        elif bare.startswith("--"):
            options.append(bare)
        else:
            commands.append(line)
    return options, commands


def quoted(word: str) -> str:
    """Return a word as bash reads it, on one line: Slurm refuses scripts with carriage returns."""
    if all(ord(letter) >= 32 and ord(letter) != 127 for letter in word):
        return shlex.quote(word)
    inner = word.replace("\\", "\\\\").replace("'", "\\'")
    escaped = (
        f"\\x{ord(letter):02x}" if ord(letter) < 32 or ord(letter) == 127 else letter
        for letter in inner
    )
    return f"$'{''.join(escaped)}'"


def _variables(turn: Turn) -> list[str]:
    before = [
        f'export {name}={quoted(value)}"${{{name}:+:${name}}}"'
        for name, value in turn.first.items()
    ]
    return [*before, *(f"export {name}={quoted(value)}" for name, value in turn.exports.items())]
