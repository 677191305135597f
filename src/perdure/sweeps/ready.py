"""Run folders of trials that are to begin: found, or made, and some before there is room."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from perdure.errors import ConflictError
from perdure.jobs import folder as folders
from perdure.jobs.lifecycle import read_status
from perdure.model.job import ENDED, JobRecord
from perdure.model.sweep import job_name
from perdure.runtime import names
from perdure.sweeps.line import Line
from perdure.sweeps.ownership import in_the_way, is_torn
from perdure.sweeps.proposals import Proposals
from perdure.sweeps.trials import Maker

# So many are made before there is room for their jobs.
_AHEAD = 8


class Ready:
    """Has run folders be there. `results` is where they are, `sweep` is the sweep's name."""

    def __init__(self, maker: Maker, sweep: str, results: Path) -> None:
        self._maker = maker
        self._sweep = sweep
        self._results = results
        self._making: dict[int, Future[JobRecord]] = {}
        self._ahead: set[int] = set()
        self._thread = ThreadPoolExecutor(1, "making")

    def close(self) -> None:
        """Make no more. Run folders that are there by now are found by the next driver."""
        self._thread.shutdown(cancel_futures=True)

    def folder(self, trial: int) -> Path:
        """Return where a trial's run folder is, or is to be."""
        return self._results / job_name(self._sweep, trial)

    def prepare(self, line: Line, proposals: Proposals) -> None:
        """Have run folders made for those that come next, while others begin."""
        if not proposals.ahead:
            return
        while len(self._making) < _AHEAD and line.left():
            trial = line.last
            values = proposals.values(trial)
            if values is not None:
                self._making[trial] = self._thread.submit(self._maker.make, trial, values)

    def record(self, trial: int, proposals: Proposals) -> JobRecord | None:
        """Return the record of a trial whose run folder is there, made if it was not.

        None: its values are not known yet.

        Raises:
            ConflictError: another job is in its way, or somebody has moved it elsewhere.
            OSError: the disk refuses.
            PerdureError: its values cannot be had.
        """
        made = self._making.pop(trial, None)
        if made is not None:
            self._ahead.add(trial)
            return made.result()
        folder = self.folder(trial)
        why = in_the_way(self._sweep, trial, folder)
        if why:
            raise ConflictError(why)
        if folders.is_job(folder):
            if not is_torn(folder):
                return self._settled(folders.read_record(folder))
            # It was not durable yet when the power went, and is made again.
            (folder / names.JOB_FILE).unlink()
        values = proposals.values(trial)
        return None if values is None else self._maker.make(trial, values)

    def _settled(self, record: JobRecord) -> JobRecord:
        if record.target != self._maker.base.target:
            raise ConflictError(f"`{record.job}` was moved to `{record.target}`")
        return record

    def begun(self, trial: int) -> None:
        """Take in that a trial has begun."""
        self._ahead.discard(trial)

    def is_gone(self, trial: int, record: JobRecord) -> bool:
        """Return whether a job that was made ahead, and never ran, is somebody's by now.

        They have ended it, or had it go elsewhere.
        """
        if trial not in self._ahead:
            return False
        folder = record.folder
        return folders.target_of(folder) != record.target or (
            bool(folders.claimed(folder)) and read_status(folder).state in ENDED
        )
