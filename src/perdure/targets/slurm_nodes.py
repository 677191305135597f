"""A training on several nodes of a cluster: torchrun on each, started by srun. Pure text.

The supervisor is on the first node, and its child is an srun that starts torchrun on every node,
with the first one's address for them to meet at. What srun is asked, the torchruns are asked, and
they their ranks: all of those stop at one step, as the runtime agrees on.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from perdure.model.job import Resources

# Where the ranks meet: a variable of the script's, for words that are written before it is known.
RENDEZVOUS = "PERDURE_RENDEZVOUS"
_FIRST_PORT = 20000
_PORTS = 12000

#: Finds the node that the script runs on, by the address that Slurm has for it.
MEETING = (
    "# Where the torchruns of all nodes meet.",
    'head=$(scontrol --oneliner show node "$SLURMD_NODENAME" | sed "s/.* NodeAddr=//;s/ .*//")',
    f'export {RENDEZVOUS}="${{head:-$(hostname)}}:$(({_FIRST_PORT} + SLURM_JOB_ID % {_PORTS}))"',
)

# A srun that is asked to end kills all that it runs: the ranks are asked by a file of their own.
# The one that people touch is taken away by the supervisor. Slurm's warning reaches this shell,
# too, and would end it before its supervisor has it ask.
_ASKED = """\
export PERDURE_PREEMPT_FILE="$PERDURE_RUN_DIR/.stop-$PERDURE_ATTEMPT"
trap ': > "$PERDURE_PREEMPT_FILE"' TERM
trap : USR2
"""
_WAITED = """\
wait "$!"
code=$?
while kill -0 "$!" 2>/dev/null; do
  wait "$!"
  code=$?
done
rm -f "$PERDURE_PREEMPT_FILE" "$PERDURE_PREEMPT_FILE".ack*
exit "$code"
"""


def launched(
    command: Sequence[str], resources: Resources, enclosing: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the command that runs a training on all nodes of its job.

    `enclosing` are the words that run a command in the job's image, on whichever node.
    """
    if resources.nodes == 1:
        return (*enclosing, *command)
    nodes = resources.nodes
    srun = (
        f"srun --overlap --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 "
        "--kill-on-bad-exit=0 --export=ALL --input=none"
    )
    torchrun = (
        f"-m torch.distributed.run --nnodes={nodes} --nproc-per-node={ranks(resources)} "
        f'--rdzv-backend=c10d --rdzv-endpoint="${RENDEZVOUS}" '
        '--rdzv-id="$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}-$PERDURE_ATTEMPT" --no-python'
    )
    first = os.path.basename(command[0])  # noqa: PTH119 - a word
    python = command[0] if first.startswith("python") else "python"
    # Slurm's warning reaches every process of the job: torchrun would end of it at once. It does so
    # in an image, too, where what is ignored outside is not.
    deaf = """sh -c 'trap "" USR2; exec "$@"' torchrun"""
    image = f"{shlex.join(enclosing)} " if enclosing else ""
    started = f'setsid {srun} {image}{deaf} "$python" {torchrun} "$@" &'
    words = f"python=$1; shift\n{_ASKED}{started}\n{_WAITED}"
    return ("sh", "-c", words, "torchrun", python, *command)


def ranks(resources: Resources) -> int:
    """Return how many processes train on each node: one a GPU."""
    return max(1, resources.gpus) if isinstance(resources.gpus, int) else 1
