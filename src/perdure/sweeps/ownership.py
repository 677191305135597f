"""Whose a job is: a sweep's only where its record says so, and not by its name alone.

Anybody may give a job such a name, or move and copy run folders: what is not a sweep's own is
neither counted nor run nor touched by it.
"""

from __future__ import annotations

import os
from pathlib import Path

from perdure.errors import PerdureError
from perdure.jobs import folder as folders
from perdure.model.job import JobHeading, JobStatus, State
from perdure.model.sweep import job_name, trial_number
from perdure.runtime import names


def trial_of(sweep: str, heading: JobHeading) -> int | None:
    """Return which trial of a sweep a job is, None where it is none."""
    place = heading.place
    return place[1] if place and place[0] == sweep and job_name(*place) == heading.job else None


def trial_told(sweep: str, status: JobStatus) -> int | None:
    """Return the same of a job that was looked at; one that cannot be read goes by its name."""
    if status.state is State.UNKNOWN:
        return trial_number(sweep, status.record.job)
    return trial_of(sweep, status.record)


def in_the_way(sweep: str, trial: int, folder: Path) -> str:
    """Return why a sweep cannot have a trial's run folder, "" where it can. Reads the disk."""
    if not folders.is_job(folder):
        return ""
    try:
        record = folders.read_record(folder)
    except PerdureError as error:
        return "" if is_torn(folder) else error.message
    return "" if trial_of(sweep, record) == trial else f"`{folder.name}` is another job"


def is_torn(folder: Path) -> bool:
    """Return whether nothing is left of a record: a loss of power came before it was durable."""
    try:
        return not (folder / names.JOB_FILE).read_bytes().strip(b"\0")
    except OSError:
        return False


def names_used(results: Path, sweep: str) -> bool:
    """Return whether there is anything that has the name of a trial of such a sweep."""
    try:
        with os.scandir(results) as entries:
            return any(trial_number(sweep, entry.name) is not None for entry in entries)
    except FileNotFoundError:
        return False
