"""Machines that train together: processes of this one, with a torchrun that trains nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.runtime import gang, generation, names
from perdure.runtime.supervisor import __main__ as supervisor
from tests.runtime.supervisor.harness import interpreter
from tests.waiting import PATIENCE_S, until

#: In torchrun's place: the command with its rank, and how it ended.
TORCHRUN = """\
import os, subprocess, sys
words = sys.argv[1:]
given = dict(word[2:].split("=", 1) for word in words if "=" in word and word.startswith("--"))
command = words[words.index("--no-python") + 1:]
rank = given["node-rank"]
environ = {**os.environ, "RANK": rank, "GIVEN": repr(given)}
sys.exit(1 if subprocess.call(command, env=environ) else 0)
"""
#: Trains until it is asked to stop, or until a file says how to end.
TRAIN = """\
import os, pathlib, sys, time
run = pathlib.Path(os.environ["PERDURE_RUN_DIR"])
rank = os.environ["RANK"]
(run / f"rank-{rank}-{os.environ['PERDURE_ATTEMPT']}").write_text(os.environ["GIVEN"])
while True:
    if os.path.exists(os.environ["PERDURE_PREEMPT_FILE"]):
        (run / f"saved-{rank}").touch()
        sys.exit(75)
    for each in (run / "end", run / f"end-{rank}"):
        if each.exists():
            sys.exit(int(each.read_text()))
    time.sleep(0.02)
"""


class Yard:
    """A run folder, and the machines that train in it."""

    def __init__(self, tmp_path: Path) -> None:
        self.run_dir = tmp_path / "a 'run'"
        self.run_dir.mkdir()
        package = tmp_path / "site" / "torch" / "distributed"
        package.mkdir(parents=True)
        (package.parent / "__init__.py").touch()
        (package / "__init__.py").touch()
        (package / "run.py").write_text(TORCHRUN)
        (tmp_path / "train.py").write_text(TRAIN)
        self._site, self._tmp = tmp_path / "site", tmp_path
        self.begun: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, attempt: int = 0) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "PYTHONPATH": str(self._site)}
        if attempt:
            environ |= {
                names.RUN_DIR: str(self.run_dir),
                names.GENERATION: str(attempt),
                names.ATTEMPT: str(attempt),
                names.PREEMPT_FILE: str(self.run_dir / names.PREEMPT),
                gang.ADDRESS: "127.0.0.1",
            }
        argv = [*interpreter(), supervisor.__file__, *words]
        process = subprocess.Popen(argv, env=environ, cwd=self._tmp)
        self.begun.append(process)
        return process

    def lead(self, nodes: int = 2, attempt: int = 1, after: int = 0) -> subprocess.Popen[bytes]:
        while generation.newest(self.run_dir) < attempt:
            generation.claim(self.run_dir)
        command = (sys.executable, "train.py")
        words = (str(nodes), "1", str(after), "--", *command)
        return self.start(gang.LEAD, str(self.run_dir), *words, attempt=attempt)

    def follow(self, number: int = 1, after: int = 0) -> subprocess.Popen[bytes]:
        return self.start(gang.FOLLOW, str(self.run_dir), str(number), str(after))

    def meet(self) -> None:
        """Write what a leader does, without one: where the first attempt meets."""
        generation.claim(self.run_dir)
        (self.run_dir / gang.FOLDER).mkdir()
        preempt = str(self.run_dir / names.PREEMPT)
        told = {names.RUN_DIR: str(self.run_dir), names.ATTEMPT: "1", names.PREEMPT_FILE: preempt}
        command = [sys.executable, "train.py"]
        meeting = gang.Meeting(1, "127.0.0.1", 1, 2, 1, command, str(self._tmp), told)
        gang.write_meeting(str(self.run_dir), meeting)

    def end(self, state: str, attempt: int = 1) -> None:
        """Write what a supervisor does once its job is settled."""
        folder = self.run_dir / names.ATTEMPTS
        folder.mkdir(exist_ok=True)
        told = {"event": "ended", "state": state}
        (folder / names.numbered(attempt, ".jsonl")).write_text(json.dumps(told) + "\n")

    def clear(self) -> None:
        (self.run_dir / "end").write_text("0")
        self.end("CANCELLED", max(1, generation.newest(self.run_dir)))
        for process in self.begun:
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path)
    yield made
    made.clear()


def until_training(yard: Yard, attempt: int = 1, *ranks: int) -> None:
    for rank in ranks or (0, 1):
        until((yard.run_dir / f"rank-{rank}-{attempt}").exists)


def test_all_train_once_all_are_there_and_meet_at_one_place(yard: Yard) -> None:
    leader = yard.lead(nodes=3)
    followers = [yard.follow(1)]
    until(lambda: any("here" in each.name for each in (yard.run_dir / "gang").glob("*")))
    assert not (yard.run_dir / "rank-0-1").exists()
    followers.append(yard.follow(2))
    until_training(yard, 1, 0, 1, 2)
    (yard.run_dir / "end").write_text("0")
    assert leader.wait(PATIENCE_S) == 0
    given = [eval((yard.run_dir / f"rank-{rank}-1").read_text()) for rank in range(3)]
    assert [each["node-rank"] for each in given] == ["0", "1", "2"]
    assert {(each["master-addr"], each["nnodes"]) for each in given} == {("127.0.0.1", "3")}
    assert len({each["master-port"] for each in given}) == 1
    yard.end("SUCCEEDED")
    assert [each.wait(PATIENCE_S) for each in followers] == [0, 0]


def test_who_leads_has_all_stop_when_it_is_asked(yard: Yard) -> None:
    leader, follower = yard.lead(), yard.follow()
    until_training(yard)
    leader.terminate()
    assert leader.wait(PATIENCE_S) == 1  # torchrun's own: what was saved rank 0 has told
    until((yard.run_dir / "saved-1").exists)
    assert follower.poll() is None
    # The next attempt has the same follower.
    second = yard.lead(attempt=2)
    until_training(yard, 2)
    (yard.run_dir / "end").write_text("0")
    assert second.wait(PATIENCE_S) == 0


def test_who_leads_and_is_asked_before_all_are_there_waits_for_nobody(yard: Yard) -> None:
    leader = yard.lead()
    until((yard.run_dir / gang.FOLDER / gang.MEETING).exists)
    leader.terminate()
    assert leader.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert not (yard.run_dir / "rank-0-1").exists()


def test_who_follows_and_has_to_go_asks_the_supervisor_first(yard: Yard) -> None:
    leader, follower = yard.lead(), yard.follow()
    until_training(yard)
    follower.terminate()
    until((yard.run_dir / names.PREEMPT).exists)
    assert json.loads((yard.run_dir / names.PREEMPT).read_text()) == {"reason": "SIGTERM"}
    assert follower.poll() is None
    leader.terminate()  # as the supervisor does then
    assert follower.wait(PATIENCE_S) == names.EXIT_INTERRUPTED
    assert leader.wait(PATIENCE_S) == 1
    assert (yard.run_dir / "saved-0").exists()
    assert (yard.run_dir / "saved-1").exists()


def test_a_machine_that_is_gone_is_no_crash(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = yard.lead(), yard.follow()
    until_training(yard)
    follower.kill()
    (yard.run_dir / "end").write_text("1")  # the others' collectives fail for that
    assert leader.wait(gang.WORD_S + PATIENCE_S) == 128 + signal.SIGKILL


def test_a_crash_is_one_and_whoever_follows_waits_for_the_next_attempt(yard: Yard) -> None:
    leader, follower = yard.lead(), yard.follow()
    until_training(yard)
    (yard.run_dir / "end").write_text("3")
    assert leader.wait(PATIENCE_S) == 1
    assert follower.poll() is None
    (yard.run_dir / "end").unlink()
    yard.lead(attempt=2)
    until_training(yard, 2)


def test_what_a_leader_left_behind_is_ended_by_the_next_attempt(yard: Yard) -> None:
    leader, _ = yard.lead(), yard.follow()
    until_training(yard)
    os.kill(leader.pid, signal.SIGKILL)
    leader.wait()
    yard.lead(attempt=2)
    until_training(yard, 2, 1)


def test_who_follows_an_earlier_handing_over_leaves(yard: Yard) -> None:
    follower = yard.follow(after=0)
    yard.lead(attempt=3, after=2)
    assert follower.wait(PATIENCE_S) == 0
    assert not (yard.run_dir / "rank-1-3").exists()
    yard.follow(after=2)
    until_training(yard, 3)


def test_who_follows_nobody_leaves_when_asked_or_when_the_job_is_gone(yard: Yard) -> None:
    asked = yard.follow()
    until(lambda: _is_ready(asked))
    asked.terminate()
    assert asked.wait(PATIENCE_S) == names.EXIT_INTERRUPTED
    gone = yard.start(gang.FOLLOW, str(yard.run_dir / "none"), "1", "0")
    assert gone.wait(PATIENCE_S) == 0


def test_who_trains_on_after_the_leaders_part_is_over_is_ended(yard: Yard) -> None:
    yard.follow()
    yard.meet()
    until_training(yard, 1, 1)
    (yard.run_dir / gang.FOLDER / "over-000001-0").touch()
    said = yard.run_dir / gang.FOLDER / "code-000001-1"
    until(said.exists)
    assert said.read_text() == str(-signal.SIGKILL)


def test_who_trains_for_a_job_that_is_removed_leaves(yard: Yard) -> None:
    follower = yard.follow()
    yard.meet()
    until_training(yard, 1, 1)
    yard.run_dir.rename(yard.run_dir.with_name("elsewhere"))
    assert follower.wait(PATIENCE_S) == 0
    yard.run_dir.mkdir()


REAP = """\
import os, subprocess, time
from perdure.runtime import gang
child = subprocess.Popen(["true"])
while open(f"/proc/{child.pid}/stat").read().split()[2] != "Z":
    time.sleep(0.01)
gang._reap()
print(os.path.exists(f"/proc/{child.pid}"))
os.getpid = lambda: 1
for _ in range(2):
    gang._reap()
print(os.path.exists(f"/proc/{child.pid}"))
"""


def test_the_first_process_of_a_machine_takes_up_what_has_no_other_parent() -> None:
    words = [*interpreter()[:1], "-c", REAP]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.stdout, done.stderr) == ("True\nFalse\n", "")


def _is_ready(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a process has its own answer to SIGTERM by now."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))
