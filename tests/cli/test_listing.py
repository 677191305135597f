from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from perdure.cli.listing import job_json, job_table, lost, recent
from perdure.cli.table import plain_lines
from perdure.model.job import JobHeading, JobStatus, State

NOW = 1_000_000.0


def status(job: str, state: State, *, ended: float | None = None) -> JobStatus:
    heading = JobHeading(Path("/results"), job, "train", ("--epochs", "3"), "2026-01-01T00:00:00Z")
    return JobStatus(heading, state, started=NOW - 125, ended=ended, attempt=2, step=40)


def test_a_job_is_a_row(tmp_path: Path) -> None:
    running = replace(status("brave-otter", State.RUNNING), durable_step=30)
    running = replace(running, record=replace(running.record, results=tmp_path))
    saved = tmp_path / "brave-otter" / "checkpoints" / "g000001-s0000000030"
    saved.mkdir(parents=True)
    os.utime(saved, (NOW - 12, NOW - 12))
    stopped = replace(
        status("calm-fox", State.INTERRUPTED), reason="x" * 60, durable_step=40, last_event_at=NOW
    )
    queued = replace(status("shy-\x1b[2J", State.QUEUED), attempt=0, step=None, started=None)
    rows = [line.split("  ") for line in plain_lines(job_table([running, stopped, queued], NOW))]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells == [
        ["JOB", "TASK", "STATE", "ATTEMPT", "STEP", "SAVED", "ELAPSED"],
        ["brave-otter", "train", "RUNNING", "2", "40", "30, 12 s ago", "2 min 5 s"],
        ["calm-fox", "train", f"INTERRUPTED ({'x' * 39}…)", "2", "40", "40", "2 min 5 s"],
        [r"shy-\x1b[2J", "train", "QUEUED", "-", "-", "-", "-"],
    ]


def test_what_is_listed_unasked_is_what_matters_today() -> None:
    day = 86400.0
    old = status("old", State.SUCCEEDED, ended=NOW - day - 1)
    fresh = status("fresh", State.SUCCEEDED, ended=NOW - day + 1)
    paused = status("paused", State.INTERRUPTED)
    assert recent([old, fresh, paused], NOW) == [fresh, paused]


def test_at_most_twenty_are_listed_and_what_runs_comes_first() -> None:
    running = [status(f"run-{number}", State.RUNNING) for number in range(3)]
    away = [status("lost", State.LOST)]
    done = [status(f"done-{number}", State.SUCCEEDED, ended=NOW) for number in range(30)]
    shown = recent([*running, *away, *done], NOW)
    assert len(shown) == 20
    assert shown[:4] == [*running, *away]
    assert shown[4:] == done[-16:]
    many = [status(f"run-{number}", State.RUNNING) for number in range(25)]
    assert recent([*many, *done], NOW) == many[-20:]


def test_lost_jobs_are_found() -> None:
    assert [each.record.job for each in lost([status("a", State.LOST)])] == ["a"]


def test_json_has_everything_a_program_may_ask_for() -> None:
    told = job_json(status("a", State.RUNNING))
    assert told["job"] == "a"
    assert told["state"] == "RUNNING"
    assert told["arguments"] == ["--epochs", "3"]
    assert told["folder"] == "/results/a"
