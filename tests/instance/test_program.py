"""What a machine makes of a supervisor's end."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from perdure.instance.program import why_settled
from perdure.runtime import names

BEGUN = {"event": "started"}
TAKEN = {"event": "notice", "reason": "spot"}
ASKED = {"event": "notice", "reason": "file", "stays": True}


def ended(state: str) -> dict[str, object]:
    return {"event": "ended", "state": state}


@pytest.mark.parametrize(
    ("events", "code", "why"),
    [
        ([ended("SUCCEEDED")], 0, "SUCCEEDED"),
        ([ended("FAILED")], 1, "FAILED"),
        ([ASKED, ended("INTERRUPTED")], names.EXIT_INTERRUPTED, "INTERRUPTED"),
        ([TAKEN, ended("INTERRUPTED")], names.EXIT_INTERRUPTED, None),
        # Its machine was turned off when it had said all, or nothing yet.
        ([TAKEN, ended("INTERRUPTED")], -signal.SIGTERM, None),
        ([ended("SUCCEEDED")], -signal.SIGTERM, "SUCCEEDED"),
        ([BEGUN], -signal.SIGTERM, None),
        ([BEGUN], names.EXIT_INTERRUPTED, None),
        ([BEGUN], 3, "the supervisor ended with 3"),
    ],
)
def test_what_is_written_down_settles_a_job(
    tmp_path: Path, events: list[dict[str, object]], code: int, why: str | None
) -> None:
    (tmp_path / "gen-000002").touch()
    (tmp_path / "attempts").mkdir()
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (tmp_path / "attempts/000002.jsonl").write_text(lines)
    assert why_settled(tmp_path, 1, code) == why
