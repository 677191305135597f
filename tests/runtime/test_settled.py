from __future__ import annotations

from pathlib import Path

import pytest

from perdure.runtime import settled
from tests.runtime.supervisor.test_returning import ended, notice, write


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize(
    ("events", "over"),
    [
        ([], False),
        ([{"event": "started"}], False),
        ([ended("SUCCEEDED")], True),
        ([ended("FAILED")], True),
        ([notice("cancel"), ended("CANCELLED")], True),
        ([notice("file"), ended("INTERRUPTED")], False),
        ([notice("SIGUSR1"), ended("INTERRUPTED")], False),
        ([{**notice("ctrl-c"), "stays": True}, ended("INTERRUPTED")], True),
        ([{**notice("ctrl-c"), "stays": True}], False),
        ([ended("INTERRUPTED"), *[{"event": "step", "text": "x" * 90}] * 50], False),
    ],
)
def test_what_a_scheduler_is_to_leave_alone(
    run_dir: Path, events: list[dict[str, object]], over: bool
) -> None:
    write(run_dir, 2, *events)
    assert settled.is_over(str(run_dir), 1) is over
    assert not settled.is_over(str(run_dir), 2)
