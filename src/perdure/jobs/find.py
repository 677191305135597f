"""One job by what a person types: its name, the beginning of it, or `@last`."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from perdure.errors import UsageError
from perdure.jobs import folder as folders
from perdure.jobs.ledger import statuses
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord

LAST = "@last"
_MOST_LISTED = 8


def find_job(workspace: Workspace, text: str) -> JobRecord:
    """Return the job that `text` names. Touches the disk.

    Raises:
        UsageError: no job is meant by it, or several are; they are listed.
        NewerFormatError: its run folder was written by a newer perdure.
        PerdureError: its record is damaged.
    """
    return folders.read_record(find_folder(workspace, text))


def find_folder(workspace: Workspace, text: str) -> Path:
    """Return the run folder of the job that `text` names, whatever its record says.

    Raises:
        UsageError: no job is meant by it, or several are; they are listed.
    """
    results = workspace.project.results
    if text == LAST:
        return results / _last(workspace)
    found = [job for job in _jobs(results) if text and job.startswith(text)]
    if text in found:
        found = [text]
    found = [job for job in found if folders.is_job(results / job)]
    if len(found) == 1:
        return results / found[0]
    if found:
        listed = ", ".join(found[:_MOST_LISTED]) + (", ..." if len(found) > _MOST_LISTED else "")
        raise UsageError(
            f"`{text}` means {len(found)} jobs: {listed}", hint="type more of its name"
        )
    near = difflib.get_close_matches(text, set(_jobs(results)) - {text}, 1)
    hint = f"did you mean `{near[0]}`?" if near else "perdure ps -a"
    raise UsageError(f"there is no job `{text}`", hint=hint)


def job_names(workspace: Workspace) -> list[str]:
    """Return the names of all jobs, in their order; asks no host."""
    results = workspace.project.results
    return [job for job in _jobs(results) if folders.is_job(results / job)]


def _last(workspace: Workspace) -> str:
    readable = [status for status in statuses(workspace, all=True) if status.record.submitted]
    if not readable:
        raise UsageError("there is no job yet", hint="perdure run TASK")
    return readable[-1].record.job


def _jobs(results: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(results) if name[0] != ".")  # noqa: PTH208
    except OSError:
        return []
