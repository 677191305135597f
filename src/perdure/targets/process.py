"""The target `local`: a supervisor on this machine, detached from whoever started it.

The supervisor runs on the tool's own Python, isolated; the training in the job's environment.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perdure import runtime
from perdure.errors import PerdureError, StorageError, TimeoutExpired
from perdure.hosts import local, processes
from perdure.model.job import JobRecord
from perdure.model.project import Project
from perdure.runtime import generation, names
from perdure.targets import presence
from perdure.targets.protocol import Capabilities, Confirmation, Handle, Notice, Plan, Presence

SUPERVISOR = Path(runtime.__file__).with_name("supervisor") / "__main__.py"

START_S = 30.0
_POLL_S = 0.005
_ALREADY_RUNNING = 3
# The words that mean the environment's Python, whatever else is on PATH.
_PYTHON_WORDS = frozenset({"python", "python3"})
# A job started from inside another one is not part of it.
_OF_ANOTHER_JOB = frozenset(
    {
        names.RUN_DIR,
        names.JOB,
        names.GENERATION,
        names.ATTEMPT,
        names.SEED,
        names.GRACE_S,
        names.PREEMPT_FILE,
        names.CTL_FD,
    }
)


def open_process(project: Project) -> Process:
    """Return the target `local` of a project, with this process's environment around its jobs."""
    return Process(project.root, project.state, dict(os.environ))


@dataclass(frozen=True, slots=True)
class Process:
    """Jobs as processes of this machine; `surroundings` are the variables they inherit."""

    root: Path
    state: Path
    surroundings: Mapping[str, str]
    python: str = sys.executable
    start_s: float = START_S
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)

    @property
    def name(self) -> str:
        """Return the name by which users know it."""
        return "local"

    def probe(self) -> Capabilities:
        """Return that this machine is there; it always is."""
        return Capabilities(self.name, f"this machine, {os.cpu_count() or 1} cores")

    def plan(self, job: JobRecord) -> Plan:
        """Return the supervisor's command with the training's behind `--`."""
        cwd = self.code_folder(job)
        limits = job.limits
        options: list[str] = ["--run-dir", str(job.folder), "--job", job.job]
        options += ["--seed", str(job.seed), "--cwd", str(cwd)]
        options += ["--grace-s", f"{limits.grace_s:g}", "--retries", str(limits.retries)]
        for cloud in limits.watch:
            options += ["--watch", cloud]
        argv = (self.python, "-I", "-S", str(SUPERVISOR), *options, "--", *self._command(job))
        return Plan(job.job, job.folder, cwd, argv, self._environment(job, cwd))

    def code_folder(self, job: JobRecord) -> Path:
        """Return the folder the job's code runs from: its snapshot, or the working tree."""
        snapshot = job.code.snapshot
        return self.root if snapshot is None else self.state / "snapshots" / snapshot

    def submit(self, plan: Plan, key: str) -> Handle:
        """Start the supervisor and return once it owns the run folder, or has ended already.

        Raises:
            PerdureError: it ended without ever owning the folder; its last words are the hint.
            TimeoutExpired: it does not get so far.
        """
        while True:
            running = self.find(key)
            if running is not None:
                return running
            before = generation.newest(plan.run_dir)
            log = plan.run_dir / names.SUPERVISOR_LOG
            pid = local.spawn_detached(
                plan.argv, env=self._inherited() | dict(plan.environment), cwd=plan.run_dir, log=log
            )
            code = self._wait_for_claim(plan.run_dir, before, pid)
            if code is None or generation.newest(plan.run_dir) > before:
                return Handle(self.name, key, plan.run_dir, pid)
            # Refused by a lock: another supervisor's (found next), or that of somebody who only
            # looked whether one lives (then it is tried again).
            if code != _ALREADY_RUNNING:
                kind = StorageError if code == StorageError.exit_code else PerdureError
                raise kind(
                    f"the supervisor of `{key}` did not start (exit code {code})", hint=_tail(log)
                )

    def find(self, key: str) -> Handle | None:
        """Return the running job of that name, None where none runs."""
        run_dir = self.root / "results" / key
        return Handle(self.name, key, run_dir) if presence.is_alive(run_dir) else None

    def poll(self, handles: Sequence[Handle]) -> Mapping[str, Presence]:
        """Return which of the jobs run, by their locks."""
        return {
            handle.key: Presence.RUNNING if presence.is_alive(handle.run_dir) else Presence.GONE
            for handle in handles
        }

    def logs(self, handle: Handle) -> bytes:
        """Return the output of all attempts so far."""
        return b"".join(p.read_bytes() for p in sorted((handle.run_dir / names.LOGS).glob("*.log")))

    def exec(self, plan: Plan, argv: Sequence[str]) -> int:
        """Return the exit code of a command in the job's folder and environment."""
        environment = self._inherited() | dict(plan.environment)
        return local.run_attached(argv, env=environment, cwd=plan.cwd)

    def forward(self, handle: Handle, port: int) -> int:  # noqa: ARG002 - the protocol's
        """Return the port itself: it is this machine's."""
        return port

    def interrupt(self, handle: Handle, notice: Notice) -> None:
        """Touch PREEMPT, whole: the supervisor never reads half a notice."""
        words = json.dumps({"reason": notice.reason, "deadline": notice.deadline})
        draft = handle.run_dir / f".{names.PREEMPT}-{os.getpid()}"
        draft.write_text(words)
        draft.replace(handle.run_dir / names.PREEMPT)

    def cancel(self, handle: Handle, timeout_s: float) -> Confirmation:
        """Touch CANCEL and wait for the lock to be free; then nothing of the job may be left."""
        if presence.is_alive(handle.run_dir):
            (handle.run_dir / names.CANCEL).touch()
            deadline = time.monotonic() + timeout_s
            while presence.is_alive(handle.run_dir):
                if time.monotonic() > deadline:
                    return "unconfirmed"
                self.pause(_POLL_S)
        run_dir = os.fspath(handle.run_dir)
        processes.kill_all(lambda: processes.carrying(names.RUN_DIR, run_dir))
        return "confirmed"

    def collect(self, handle: Handle) -> Path:
        """Return the run folder: it is here already."""
        return handle.run_dir

    def _inherited(self) -> dict[str, str]:
        return {k: v for k, v in self.surroundings.items() if k not in _OF_ANOTHER_JOB}

    def _command(self, job: JobRecord) -> tuple[str, ...]:
        word, *rest = job.argv
        if word not in _PYTHON_WORDS:
            return job.argv
        if job.environment.prefix is not None:
            return (f"{job.environment.prefix}/bin/python", *rest)
        path = self.surroundings.get("PATH", os.defpath)
        here = shutil.which(word, path=path) or shutil.which("python3", path=path)
        return (here or self.python, *rest)

    def _environment(self, job: JobRecord, cwd: Path) -> Mapping[str, str]:
        around = self.surroundings
        # The snapshot comes first, so that it wins over a project installed in editable mode.
        search = [str(cwd / "src"), str(cwd), around.get("PYTHONPATH", "")]
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, search)), "PYTHONUNBUFFERED": "1"}
        if job.environment.prefix is not None:
            path = [f"{job.environment.prefix}/bin", around.get("PATH", os.defpath)]
            environment |= {"PATH": os.pathsep.join(path), "VIRTUAL_ENV": job.environment.prefix}
        return environment | dict(job.variables)

    def _wait_for_claim(self, run_dir: Path, before: int, pid: int) -> int | None:
        """Return None once the run folder has a new owner, or the exit code of a supervisor."""
        # The claim is waited for, not the lock: asking for the lock could keep it from being taken.
        deadline = time.monotonic() + self.start_s
        while generation.newest(run_dir) <= before:
            code = local.exit_code_of(pid)
            if code is not None:
                return code
            if time.monotonic() > deadline:
                local.kill_group(pid)
                raise TimeoutExpired(
                    f"the supervisor of `{run_dir.name}` did not start in {self.start_s:g} s",
                    hint=_tail(run_dir / names.SUPERVISOR_LOG),
                )
            self.pause(_POLL_S)
        return None


def _tail(log: Path, lines: int = 5) -> str | None:
    try:
        text = log.read_text(errors="replace").strip()
    except OSError:
        return None
    return "\n".join(text.splitlines()[-lines:]) or None
