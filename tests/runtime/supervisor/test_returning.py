"""A supervisor that an engine starts again: when it has something to do, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.runtime import names
from perdure.runtime.supervisor import returning
from tests.runtime.supervisor.harness import kinds, only, start, supervise, training
from tests.waiting import until


def write(run_dir: Path, number: int, *events: dict[str, object]) -> None:
    (run_dir / f"gen-{number:06d}").touch()
    file = run_dir / "attempts" / f"{number:06d}.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(event) + "\n" for event in events))


def ended(state: str) -> dict[str, object]:
    return {"event": "ended", "state": state}


def notice(reason: str) -> dict[str, object]:
    return {"event": "notice", "reason": reason}


@pytest.mark.parametrize(
    ("events", "settled"),
    [
        ([], False),
        ([{"event": "started"}], False),
        ([ended("SUCCEEDED")], True),
        ([ended("FAILED")], True),
        ([notice("cancel"), ended("CANCELLED")], True),
        ([notice("file"), ended("INTERRUPTED")], True),
        ([notice("SIGTERM"), ended("INTERRUPTED")], False),
        ([notice("SIGTERM"), ended("INTERRUPTED"), ended("CANCELLED")], True),
        ([notice("file"), notice("SIGTERM"), ended("INTERRUPTED")], True),
        ([notice("SIGTERM"), ended("SUCCEEDED")], True),
    ],
)
def test_what_is_settled(run_dir: Path, events: list[dict[str, object]], settled: bool) -> None:
    write(run_dir, 2, *events)
    assert returning.is_settled(str(run_dir), 1) is settled
    # What came before this container was made is no end of what it is for.
    assert not returning.is_settled(str(run_dir), 2)


def test_an_empty_run_folder_is_not_settled(run_dir: Path) -> None:
    assert not returning.is_settled(str(run_dir), 0)


def test_torn_lines_are_passed_over(run_dir: Path) -> None:
    write(run_dir, 1, ended("FAILED"))
    with (run_dir / "attempts" / "000001.jsonl").open("ab") as file:
        file.write(b'{"event": "st\n[1]\n\xff\n')
    assert returning.is_settled(str(run_dir), 0)


def test_a_failed_job_is_not_begun_again(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.RETURNS_AFTER, "0")
    for _ in range(2):
        assert supervise(run_dir, training("exit:1"), "--retries", "0").returncode == 0
        assert only(run_dir, "ended")[0]["state"] == "FAILED"
        assert not (run_dir / "gen-000002").exists()


def test_a_system_that_goes_down_is_waited_for(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.RETURNS_AFTER, "0")
    first = start(run_dir, training("heed ready wait exit:75", "exit:0"))
    until((run_dir / "ready").exists)
    first.terminate()
    # Anything but 0 has the engine start it again.
    assert first.wait() == 75
    assert kinds(run_dir)[-1] == "ended"
    assert supervise(run_dir, training("", "exit:0")).returncode == 0
    assert only(run_dir, "ended")[-1]["state"] == "SUCCEEDED"


def test_one_who_asked_for_a_stop_gets_it(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.RETURNS_AFTER, "0")
    first = start(run_dir, training("heed ready wait exit:75"))
    until((run_dir / "ready").exists)
    (run_dir / "PREEMPT").touch()
    assert first.wait() == 0
    assert only(run_dir, "ended")[0]["state"] == "INTERRUPTED"


def test_the_training_is_not_told(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.RETURNS_AFTER, "0")
    shown = ["sh", "-c", f"env | grep {names.RETURNS_AFTER}; true"]
    assert supervise(run_dir, shown).returncode == 0
    assert (run_dir / "logs" / "000001.log").read_text() == ""


def test_a_job_that_was_removed_is_not_tried_for_ever(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = run_dir / "gone"
    assert supervise(gone, training("exit:0")).returncode == 2
    monkeypatch.setenv(names.RETURNS_AFTER, "0")
    assert supervise(gone, training("exit:0")).returncode == 0
