"""Many jobs in one process, which is one of its own here: what it does to children is real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.runtime.supervisor.settling import Claims, Settling
from tests.runtime.supervisor.harness import AWARE, alive, ended, kinds, only, training, until

PROGRAM = """
import json, sys
from perdure.runtime.supervisor.options import Options
from perdure.runtime.supervisor.several import Several
from perdure.runtime.supervisor.signals import Signals
from perdure.runtime.supervisor.notice import Notice

signals = Signals()
several = Several(signals)
for job in json.loads(sys.argv[1]):
    several.begin(Options(backoff_s=0.01, grace_s=10.0, **job))
codes = {}
while len(several):
    codes.update({e.run_dir: e.code for e in several.turn(1.0)})
    name = signals.take()
    if name:
        several.notify(Notice(name))
codes.update({e.run_dir: e.code for e in several.turn(0.0)})
several.close()
print(json.dumps(codes))
"""


def job(folder: Path, command: list[str], **more: object) -> dict[str, object]:
    folder.mkdir(exist_ok=True)
    known = {"run_dir": str(folder), "command": command, "job": folder.name, "cwd": str(folder)}
    return {**known, **more}


def begin(*jobs: dict[str, object]) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", PROGRAM, json.dumps(jobs)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def codes(process: subprocess.Popen[str]) -> list[int]:
    out, _ = process.communicate(timeout=60)
    found: dict[str, int] = json.loads(out)
    return [found[folder] for folder in sorted(found)]


def test_each_has_the_files_and_the_end_that_it_would_have_alone(run_dir: Path) -> None:
    jobs = [
        job(run_dir / "a", training(AWARE + "step:2 durable:2 exiting:0 exit:0"), seed=7),
        job(run_dir / "b", training("exit:9")),
        job(run_dir / "c", training(AWARE + "durable:1 kill:9", "hello restored:1 exit:0")),
        job(run_dir / "d", ["/nowhere/at all"]),
        job(run_dir / "e", ["true"], cwd="/nowhere"),
    ]
    assert codes(begin(*jobs)) == [0, 9, 0, 127, 127]
    assert kinds(run_dir / "a") == [
        *["started", "hello", "restored", "step", "durable", "step", "exiting", "exited", "ended"]
    ]
    assert ended(run_dir / "a") == ("SUCCEEDED", "done")
    assert ended(run_dir / "b")[0] == "FAILED"
    assert len(list((run_dir / "c").glob("gen-*"))) == 2
    assert (run_dir / "a" / "logs" / "000001.log").is_file()


def test_notices_reach_the_one_they_are_for(run_dir: Path) -> None:
    waiting = training(AWARE + "durable:1 wait exiting:75 exit:75")
    process = begin(job(run_dir / "a", waiting), job(run_dir / "b", waiting))
    for name in ("a", "b"):
        until(lambda: (run_dir / name / "attempts").exists() and only(run_dir / name, "durable"))  # noqa: B023
    (run_dir / "a" / "PREEMPT").touch()
    until(lambda: only(run_dir / "a", "ended"))
    assert not only(run_dir / "b", "notice")
    (run_dir / "b" / "CANCEL").touch()
    assert codes(process) == [75, 130]
    assert ended(run_dir / "b")[0] == "CANCELLED"


def test_a_signal_to_the_process_is_a_notice_to_all(run_dir: Path) -> None:
    waiting = training(AWARE + "durable:1 wait exiting:75 exit:75")
    process = begin(job(run_dir / "a", waiting), job(run_dir / "b", waiting))
    for name in ("a", "b"):
        until(lambda: (run_dir / name / "attempts").exists() and only(run_dir / name, "durable"))  # noqa: B023
    process.terminate()
    assert codes(process) == [75, 75]
    assert only(run_dir / "a", "notice")[0]["reason"] == "SIGTERM"


def test_what_a_child_left_behind_ends_with_it_and_with_no_other(run_dir: Path) -> None:
    left = "import subprocess; print(subprocess.Popen(['sleep', '99'], start_new_session=True).pid)"
    script = [sys.executable, "-c", f"{left}\n"]
    waiting = training(AWARE + "durable:1 wait exiting:75 exit:75")
    process = begin(job(run_dir / "a", script), job(run_dir / "b", waiting))
    until(lambda: (run_dir / "a" / "attempts").exists() and only(run_dir / "a", "ended"))
    pid = int((run_dir / "a" / "logs" / "000001.log").read_text())
    assert not alive(pid)
    assert not only(run_dir / "b", "exited")
    (run_dir / "b" / "PREEMPT").touch()
    assert codes(process) == [0, 75]


@pytest.mark.parametrize(
    "leaving",
    ["attempts/000003.jsonl", "logs/000003.log", "metrics/000003.jsonl", "checkpoints/g000003-s1"],
)
def test_what_a_lost_claim_left_counts_as_one(tmp_path: Path, leaving: str) -> None:
    (tmp_path / "gen-000001").touch()
    path = tmp_path / leaving
    path.parent.mkdir()
    path.touch()
    claims = Claims()
    assert claims.claim(str(tmp_path)) == 4
    assert claims.claim(str(tmp_path)) == 5


def test_a_claim_names_who_made_it(tmp_path: Path) -> None:
    claims = Claims()
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        assert claims.claim(str(tmp_path / name)) == 1
        found = tmp_path / name / "gen-000001"
        assert json.loads(found.read_text())["pid"] == os.getpid()
        # The file that the others are links to may go.
        if name == "b":
            assert found.stat().st_nlink == 2
            (tmp_path / "a" / "gen-000001").unlink()


def test_folders_settle_one_by_one_and_all_at_once(tmp_path: Path) -> None:
    settling = Settling()
    for number in range(20):
        folder = tmp_path / str(number)
        (folder / "attempts").mkdir(parents=True)
        (folder / "attempts" / "000001.jsonl").write_text("{}\n")
        settling.add(str(folder))
    settling.add(str(tmp_path / "gone"))
    settling.close()
