"""What trials came to, and which are given up: between what proposes trials and what runs them.

A disk that is full or a host that is silent keeps a verdict back, and it is passed on later.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from perdure.errors import PerdureError
from perdure.sweeps.pool import Pool
from perdure.sweeps.proposals import Proposals


class Verdicts:
    """Those that were not passed on yet."""

    def __init__(self) -> None:
        self._untold: dict[int, tuple[Path, str]] = {}
        self._hopeless: set[int] = set()

    @property
    def waiting(self) -> bool:
        """Return whether the proposals are to be told of a trial."""
        return bool(self._untold)

    def add(self, trial: int, folder: Path, state: str) -> None:
        """Take in what a trial came to."""
        self._hopeless.discard(trial)
        self._untold[trial] = (folder, state)

    def tell(self, proposals: Proposals) -> None:
        """Tell the proposals. Touches the disk.

        Raises:
            OSError: the disk refuses; the rest is told the next time.
        """
        for trial, known in list(self._untold.items()):
            proposals.told(trial, *known)
            del self._untold[trial]

    def ask(self, proposals: Proposals, running: Mapping[int, Path]) -> None:
        """Ask the proposals whom they give up. Touches the disk.

        Raises:
            OSError: the disk refuses.
        """
        self._hopeless.update(proposals.due(running))

    def carry_out(self, pool: Pool, running: Mapping[int, Path]) -> str:
        """End those that are given up; return why one of them is not, "" where all are."""
        problem = ""
        for trial in sorted(self._hopeless & running.keys()):
            job = running[trial].name
            try:
                pool.cancel(job)
                self._hopeless.discard(trial)
            except PerdureError as error:
                problem = f"cannot end `{job}`: {error.message}"
            except OSError as error:
                problem = f"cannot end `{job}`: {(error.strerror or str(error)).lower()}"
        return problem
