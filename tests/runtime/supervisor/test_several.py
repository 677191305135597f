"""Many jobs in one process, which is one of its own here: what it does to children is real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.runtime import generation
from perdure.runtime.supervisor import lock
from perdure.runtime.supervisor.settling import Claims, Settling
from tests.runtime.supervisor.harness import AWARE, alive, ended, kinds, only, training
from tests.waiting import until

PROGRAM = """
import json, sys
from perdure.runtime.supervisor.lock import AlreadyRunning
from perdure.runtime.supervisor.options import Options
from perdure.runtime.supervisor.several import Several
from perdure.runtime.supervisor.signals import Signals
from perdure.runtime.supervisor.notice import Notice

signals = Signals()
several = Several(signals)
codes = {}
for job in json.loads(sys.argv[1]):
    fresh = job.pop("fresh", False)
    try:
        several.begin(Options(backoff_s=0.01, grace_s=10.0, **job), fresh=fresh)
    except AlreadyRunning:
        codes[job["run_dir"]] = -1
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


def begin(*jobs: dict[str, object], first: str = "") -> subprocess.Popen[str]:
    """Return the program with those jobs; `first` is what it does before anything else."""
    words = [sys.executable, "-c", first + PROGRAM, json.dumps(jobs)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def codes(process: subprocess.Popen[str]) -> list[int]:
    out, _ = process.communicate(timeout=120)
    found: dict[str, int] = json.loads(out)
    return [found[folder] for folder in sorted(found)]


def test_each_has_the_files_and_the_end_that_it_would_have_alone(run_dir: Path) -> None:
    jobs = [
        job(run_dir / "a", training(AWARE + "step:2 durable:2 exiting:0 exit:0"), seed=7),
        job(run_dir / "b", training("exit:9")),
        job(run_dir / "c", training(AWARE + "durable:1 kill:9", "hello restored:1 exit:0")),
        job(run_dir / "d", ["/nowhere/at all"]),
        job(run_dir / "e", ["true"], cwd="/nowhere"),
        job(run_dir / "f", ["true"]),
        job(run_dir / "g", ["no-such-program"]),
    ]
    assert codes(begin(*jobs)) == [0, 9, 0, 127, 127, 0, 127]
    assert kinds(run_dir / "a") == [
        *["started", "hello", "restored", "step", "durable", "step", "exiting", "exited", "ended"]
    ]
    assert ended(run_dir / "a") == ("SUCCEEDED", "done")
    assert ended(run_dir / "b")[0] == "FAILED"
    assert len(list((run_dir / "c").glob("gen-*"))) == 2
    assert (run_dir / "a" / "logs" / "000001.log").is_file()


def test_a_fresh_one_that_somebody_has_had_meanwhile_is_theirs(run_dir: Path) -> None:
    jobs = [job(run_dir / name, ["true"], fresh=True) for name in ("a", "b", "c")]
    # As whoever kills a job that never ran does.
    generation.claim(run_dir / "b")
    assert codes(begin(*jobs)) == [0, -1, 0]
    assert generation.newest(run_dir / "a") == 1
    assert generation.newest(run_dir / "b") == 1
    lock.take(str(run_dir / "b")).release()


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


MODULE = "import perdure.runtime.supervisor.several as module\n"


@pytest.mark.parametrize(
    "lacking",
    [
        "module._CHILDREN = '/nowhere/{}'",
        # A file that is no list of numbers.
        "module._CHILDREN = '/proc/self/task/{}/comm'",
        "def refuse(*a, **k): raise OSError\nmodule.ctypes.CDLL = refuse",
        "def refuse(*a, **k): raise NotImplementedError\nmodule.os.posix_spawn = refuse",
    ],
)
def test_what_a_system_lacks_costs_time_only(run_dir: Path, lacking: str) -> None:
    left = "import subprocess; print(subprocess.Popen(['sleep', '99'], start_new_session=True).pid)"
    jobs = [
        job(run_dir / "a", [sys.executable, "-c", left]),
        job(run_dir / "b", training("exit:9")),
    ]
    assert codes(begin(*jobs, first=f"{MODULE}{lacking}\n")) == [0, 9]
    assert not alive(int((run_dir / "a" / "logs" / "000001.log").read_text()))


def test_a_run_folder_that_cannot_be_written_ends_that_job_only(run_dir: Path) -> None:
    (run_dir / "a").mkdir()
    (run_dir / "a" / "attempts").write_text("in the way")
    jobs = [job(run_dir / "a", ["true"]), job(run_dir / "b", ["true"])]
    assert codes(begin(*jobs)) == [5, 0]


def test_what_could_not_be_written_down_has_no_verdict(run_dir: Path) -> None:
    full = "from perdure.runtime.supervisor.events import Events\n"
    full += "def refuse(*a): raise OSError(28)\nEvents._append = refuse\n"
    told = PROGRAM.replace("e.run_dir: e.code", "e.run_dir: repr(e.verdict)")
    jobs = json.dumps([job(run_dir / "a", training("exit:9"))])
    for first, expected in (("", "Verdict("), (full, "None")):
        words = [sys.executable, "-c", first + told, jobs]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
        assert expected in done.stdout


def test_jobs_that_run_at_its_end_go_on_and_may_be_taken(run_dir: Path) -> None:
    waiting = job(run_dir / "a", ["sleep", "99"])
    program = PROGRAM.replace("while len(several):", "while False:")
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps([waiting])], timeout=120, check=True
    )
    assert done.returncode == 0
    pid = int(str(only(run_dir / "a", "started")[0]["pid"]))
    assert alive(pid)
    held = lock.take(str(run_dir / "a"))
    os.kill(pid, signal.SIGKILL)
    held.release()


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


def test_a_claim_that_another_makes_meanwhile_is_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = Claims()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "gen-000001").touch()
    monkeypatch.setattr(generation, "newest_of", lambda held: 0)  # it looked before
    assert claims.claim(str(tmp_path / "a")) == 1
    assert claims.claim(str(tmp_path / "b")) == 2


@pytest.mark.parametrize("at_once", [True, False])
def test_folders_settle_one_by_one_and_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    if not at_once:

        def refuse(*_: object, **__: object) -> None:
            raise OSError("no such library")

        monkeypatch.setattr("ctypes.CDLL", refuse)
    settling = Settling()
    for number in range(20):
        folder = tmp_path / str(number)
        (folder / "attempts").mkdir(parents=True)
        (folder / "attempts" / "000001.jsonl").write_text("{}\n")
        settling.add(str(folder))
    settling.add(str(tmp_path / "gone"))
    settling.close()
