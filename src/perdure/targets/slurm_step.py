"""Commands on a node of a cluster, by srun: beside a job that runs, or with a node of their own.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from perdure.errors import MissingProgram, PerdureError
from perdure.hosts import local
from perdure.targets.slurm_queue import Word, ask, no_slurm

# What srun says itself is no output of the command's.
_OWN = "srun: "


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

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | None,
        stdin: bytes,
        timeout_s: float,
        on_line: Callable[[str], None],
    ) -> local.Completed:
        """Return how a command ended that gets a node of its own. Starts a process.

        Raises:
            TimeoutExpired: it took too long; nothing of it is left in Slurm.
            MissingProgram: there is no Slurm here.
        """
        name = f"perdure-{secrets.token_hex(6)}"
        words = (*self.argv(terminal=False), f"--job-name={name}", *argv)

        def heard(line: str) -> None:
            if not line.startswith(_OWN):
                on_line(line)

        try:
            return local.run(
                words, env=env, cwd=cwd, stdin=stdin, timeout_s=timeout_s, on_line=heard
            )
        except MissingProgram as error:
            raise no_slurm("srun") from error
        except BaseException:
            # srun is gone, what it started is not.
            with contextlib.suppress(PerdureError):
                ask(("scancel", f"--name={name}"))
            raise


def without_srun(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables without those of a Slurm job that this process may be part of. Pure."""
    kept = ("SLURM_CONF", "SLURM_CLUSTERS")
    return {k: v for k, v in variables.items() if not k.startswith("SLURM_") or k in kept}
