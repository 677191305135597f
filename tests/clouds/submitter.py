"""A user with a project, and a cloud that only goes on while somebody waits for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cli.command import Ended, perdure
from tests.waiting import PATIENCE_S, until

# The provider is a thread of this process: whoever asks often slows it down.
_LOOK_S = 0.2


@dataclass
class Submitter:
    """Who submits jobs: `step` does what time does to the cloud's machines.

    Each machine has a folder in `folder_of_machines`, and there a log, or some.
    """

    project: Path
    environ: dict[str, str]
    patience_s: float = field(default=PATIENCE_S, kw_only=True)

    @property
    def folder_of_machines(self) -> Path:
        raise NotImplementedError

    def step(self) -> None:
        raise NotImplementedError

    def perdure(self, *words: str, code: int | None = 0) -> Ended:
        """Return how a command ended; it did so with that code."""
        ended = perdure(*words, cwd=self.project, env=self.environ)
        assert code is None or ended.code == code, (words, ended, self.logs())
        return ended

    def job(self, name: str) -> dict[str, Any]:
        """Return what `ps` tells of a job."""
        found = json.loads(self.perdure("ps", "-a", "--json").out)
        return next(each for each in found if each["job"] == name)

    def until(self, what: Callable[[], bool]) -> None:
        """Return once something is so."""

        def there() -> bool:
            self.step()
            return what()

        until(there, told=self.logs, every_s=_LOOK_S, patience_s=self.patience_s)

    def logs(self) -> str:
        """Return the ends of what the machines have said."""
        found = sorted(self.folder_of_machines.glob("*/log*"))
        return "\n".join(
            f"--- {each}\n{each.read_text(errors='replace')[-3000:]}" for each in found
        )
