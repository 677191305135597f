"""The process of a sweep's driver.

python -P -m perdure.sweeps.program PROJECT SWEEP
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from perdure.errors import PerdureError, UsageError
from perdure.jobs import folder as folders
from perdure.jobs.ledger import statuses
from perdure.jobs.workspace import Workspace, locate_workspace, open_workspace, storing
from perdure.runtime.supervisor.complaint import tell
from perdure.sweeps import holding
from perdure.sweeps.driver import Driver
from perdure.sweeps.holding import Word
from perdure.sweeps.pools import open_pool
from perdure.sweeps.record import folder_of, read_sweep
from perdure.sweeps.trials import Maker


def drive(root: Path, name: str) -> None:
    """Drive a sweep to its end.

    Raises:
        ConflictError: another driver lives.
        PerdureError: the sweep cannot be read, or what its jobs need is gone.
    """
    workspace = _workspace(root)
    folder = folder_of(workspace.project, name)
    with holding.held(folder) as said:
        said.say(Word(os.getpid(), time.time(), ""))
        sweep = read_sweep(folder)
        base = folders.read_record(folder)
        passed = {key: os.environ[key] for key in sweep.passes if key in os.environ}
        pool, mark = open_pool(workspace, folder, base, passed)
        try:
            maker = Maker(folder, sweep, workspace.project.results, mark=mark)
            driver = Driver(workspace, folder, pool, maker, said)
            try:
                driver.run()
            finally:
                driver.close()
        finally:
            pool.close()
    statuses(workspace, all=True)


def _workspace(root: Path) -> Workspace:
    try:
        return open_workspace(root)
    except UsageError:
        # Somebody edits pyproject.toml: the sweep was submitted with another one anyway.
        return locate_workspace(root)


def main(argv: list[str]) -> int:
    """Drive the sweep that `argv` names; what goes wrong goes to standard error, its log."""
    root, name = argv
    try:
        with storing("the sweep"):
            drive(Path(root), name)
    except PerdureError as error:
        tell(f"error: {error.message}" + (f"; {error.hint}" if error.hint else ""))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
