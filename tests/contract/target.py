"""What every target must do: subclass `TargetContract`, give it a `harness`, and it is tested.

The harness says how a job of this target is made and how one looks at it; the tests see the
protocol only.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdure.errors import TimeoutExpired
from perdure.model.job import JobRecord
from perdure.targets.protocol import Handle, Notice, Plan, Presence, Target
from tests.waiting import PATIENCE_S, until

HOSTILE = ("a b", "'", '"', "$(touch no)", "a\nb", "\u00e9", "", "-x", "*", ";")


@dataclass(frozen=True)
class Harness:
    """A target under test. `job` makes a recorded job of a shell script and its arguments."""

    target: Target
    job: Callable[..., JobRecord]

    def free_port(self) -> int:
        """Return a port that nobody here listens on."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            return int(server.getsockname()[1])


class TargetContract:
    """One suite over every adapter, the fake included."""

    def started(self, harness: Harness, script: str, *arguments: str) -> tuple[Plan, Handle]:
        job = harness.job(script, *arguments)
        plan = harness.target.plan(job)
        return plan, harness.target.submit(plan, job.job)

    def presence(self, harness: Harness, handle: Handle) -> Presence:
        return harness.target.poll([handle])[handle.key]

    def test_a_probe_says_who_it_is(self, harness: Harness) -> None:
        found = harness.target.probe()
        assert found.target == harness.target.name
        assert found.summary
        assert found.problem is None

    def test_a_plan_is_pure(self, harness: Harness) -> None:
        job = harness.job("true", *HOSTILE)
        first, second = harness.target.plan(job), harness.target.plan(job)
        assert first == second
        assert first.text() == second.text()
        assert first.key == job.job
        assert harness.target.find(job.job) is None

    def test_a_job_runs_with_its_arguments_as_they_are(self, harness: Harness) -> None:
        _, handle = self.started(harness, 'printf "%s|" "$@"', *HOSTILE)
        until(lambda: self.presence(harness, handle) is Presence.GONE)
        assert harness.target.logs(handle).decode() == "".join(f"{word}|" for word in HOSTILE)

    def test_a_key_that_runs_is_found_and_not_started_again(self, harness: Harness) -> None:
        script = 'echo x >> "$PERDURE_RUN_DIR/outputs/starts"; while :; do sleep 0.05; done'
        plan, handle = self.started(harness, script)

        def begun() -> bool:
            return (harness.target.collect(handle) / "outputs" / "starts").exists()

        until(begun)
        assert handle.pid is not None
        again = harness.target.submit(plan, plan.key)
        assert (again.key, again.pid) == (handle.key, None)
        found = harness.target.find(plan.key)
        assert found is not None
        assert found.key == handle.key
        assert harness.target.cancel(handle, PATIENCE_S) == "confirmed"
        starts = harness.target.collect(handle) / "outputs" / "starts"
        assert starts.read_text() == "x\n"

    def test_one_poll_tells_of_all(self, harness: Harness) -> None:
        _, running = self.started(harness, "while :; do sleep 0.05; done")
        _, ended = self.started(harness, "true")
        until(lambda: self.presence(harness, ended) is Presence.GONE)
        assert harness.target.poll([running, ended]) == {
            running.key: Presence.RUNNING,
            ended.key: Presence.GONE,
        }
        assert harness.target.poll([]) == {}
        harness.target.cancel(running, PATIENCE_S)

    def test_a_notice_reaches_the_job_whole(self, harness: Harness) -> None:
        script = 'trap "echo asked; exit 75" TERM; echo ready; while :; do sleep 0.05; done'
        _, handle = self.started(harness, script)
        until(lambda: b"ready" in harness.target.logs(handle))
        harness.target.interrupt(handle, Notice('for "reasons"\n$(x)', deadline=time.time() + 50))
        until(lambda: self.presence(harness, handle) is Presence.GONE)
        assert b"asked" in harness.target.logs(handle)
        events = (harness.target.collect(handle) / "attempts" / "000001.jsonl").read_text()
        assert r"for \"reasons\"\n$(x)" in events

    def test_what_is_cancelled_is_gone_with_its_children(self, harness: Harness) -> None:
        script = (
            'trap "" TERM; sh -c \'trap "" TERM; echo up; while :; do sleep 0.05; done\' & wait'
        )
        _, handle = self.started(harness, script)
        until(lambda: b"up" in harness.target.logs(handle))
        assert harness.target.cancel(handle, PATIENCE_S) == "confirmed"
        assert self.presence(harness, handle) is Presence.GONE
        assert harness.target.find(handle.key) is None
        assert harness.target.cancel(handle, PATIENCE_S) == "confirmed"

    def test_a_cancellation_that_takes_too_long_is_not_called_done(self, harness: Harness) -> None:
        script = 'trap "" TERM; echo up; while :; do sleep 0.05; done'
        _, handle = self.started(harness, script)
        until(lambda: b"up" in harness.target.logs(handle))
        assert harness.target.cancel(handle, 0.0) == "unconfirmed"
        assert harness.target.cancel(handle, PATIENCE_S) == "confirmed"

    def test_a_command_runs_beside_the_job(self, harness: Harness, tmp_path: Path) -> None:
        job = harness.job("while :; do sleep 0.05; done")
        handle = harness.target.submit(harness.target.plan(job), job.job)
        assert harness.target.exec(job, ["sh", "-c", "exit 5"]) == 5
        assert self.presence(harness, handle) is Presence.RUNNING
        assert harness.target.cancel(handle, PATIENCE_S) == "confirmed"

    def test_without_a_job_its_folder_is_there_alike(self, harness: Harness) -> None:
        job = harness.job("true")
        assert harness.target.exec(job, ["sh", "-c", "test -e train.py && exit 6"]) == 6
        assert harness.target.find(job.job) is None

    def test_a_command_can_be_asked_in_the_jobs_place(self, harness: Harness) -> None:
        job = harness.job("true")
        place = job.folder / "outputs"
        seen = harness.target.seen(job, place)
        argv = ("sh", "-c", 'cat > "$1/said"; echo out; echo err >&2; exit 3', "sh", seen)
        told: list[str] = []
        done = harness.target.run(job, argv, stdin=b"in", timeout_s=PATIENCE_S, on_line=told.append)
        assert (done.returncode, done.stdout, told) == (3, b"out\n", ["err"])
        harness.target.collect(Handle(harness.target.name, job.job, job.folder))
        assert (place / "said").read_bytes() == b"in"

    def test_a_command_that_takes_too_long_is_ended(self, harness: Harness) -> None:
        job = harness.job("true")
        argv = ("sh", "-c", "while :; do sleep 0.05; done")
        with pytest.raises(TimeoutExpired):
            harness.target.run(job, argv, stdin=b"", timeout_s=1.0, on_line=print)

    def test_a_process_gets_a_signal_by_the_id_it_is_known_by(self, harness: Harness) -> None:
        script = 'trap "echo heard; exit 0" USR1; echo "pid $$"; while :; do sleep 0.05; done'
        _, handle = self.started(harness, script)
        until(lambda: b"pid" in harness.target.logs(handle))
        pid = int(harness.target.logs(handle).split()[1])
        harness.target.signal(handle, pid, signal.SIGUSR1)
        until(lambda: b"heard" in harness.target.logs(handle))
        until(lambda: self.presence(harness, handle) is Presence.GONE)

    def test_nothing_is_left_to_sweep_of_what_has_ended(self, harness: Harness) -> None:
        _, handle = self.started(harness, "true")
        until(lambda: self.presence(harness, handle) is Presence.GONE)
        assert harness.target.sweep(handle, []) == 0

    def test_a_port_can_be_reached_from_here(self, harness: Harness) -> None:
        free = harness.free_port()
        script = f"exec python3 -m http.server {free}"
        _, handle = self.started(harness, script)
        port = harness.target.forward(handle, free)

        def answers() -> bool:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as there:
                    there.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    return b"train.py" in there.makefile("rb").read()
            except OSError:
                return False

        until(answers)
        harness.target.cancel(handle, PATIENCE_S)

    def test_the_run_folder_is_brought_here(self, harness: Harness) -> None:
        _, handle = self.started(harness, 'echo kept > "$PERDURE_RUN_DIR/outputs/x"')
        until(lambda: self.presence(harness, handle) is Presence.GONE)
        folder = harness.target.collect(handle)
        assert (folder / "outputs" / "x").read_text() == "kept\n"
        assert (folder / "job.json").exists()
