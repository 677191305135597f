"""Commands on a node of a cluster, by srun: beside a job that runs, or with a node of their own.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perdure.targets.slurm_queue import Word


@dataclass(frozen=True, slots=True)
class Step:
    """Where a command runs: `options` are srun's."""

    options: tuple[str, ...]

    @staticmethod
    def beside(word: Word) -> Step:
        """Return the place of a job that runs, with all that it was given."""
        where = ("--overlap", f"--jobid={word.number}")
        node = (f"--nodelist={word.node}",) if word.node else ()
        return Step((*where, "--nodes=1", "--ntasks=1", *node))

    def argv(self, *, terminal: bool) -> tuple[str, ...]:
        """Return srun and its options, to which the command is added. Pure."""
        return ("srun", "--quiet", *self.options, *(("--pty",) if terminal else ()))


def without_srun(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables without those of a Slurm job that this process may be part of. Pure."""
    kept = ("SLURM_CONF", "SLURM_CLUSTERS")
    return {k: v for k, v in variables.items() if not k.startswith("SLURM_") or k in kept}
