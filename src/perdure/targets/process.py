"""The target `local`: a supervisor on this machine, detached from whoever started it.

The supervisor runs on the tool's own Python, isolated; the training in the job's environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perdure import runtime
from perdure.errors import MissingProgram, PerdureError, StorageError, UsageError
from perdure.hosts import local, processes
from perdure.model.job import UNLIMITED, Event, JobRecord, Resources
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings
from perdure.runtime import generation, names
from perdure.targets import presence, strays, supervision
from perdure.targets.place import Place, here
from perdure.targets.protocol import (
    Aside,
    Capabilities,
    Confirmation,
    Errand,
    Handle,
    Notice,
    Plan,
    Presence,
)
from perdure.targets.refusal import refuse_a_clusters

SUPERVISOR = Path(runtime.__file__).with_name("supervisor") / "__main__.py"

START_S = 30.0
# The words that mean the environment's Python, whatever else is on PATH.
_PYTHON_WORDS = frozenset({"python", "python3"})


def open_process(project: Project, settings: Settings | None = None) -> Process:  # noqa: ARG001
    """Return the target `local` of a project, with this process's environment around its jobs."""
    return Process(project.root, project.state, dict(os.environ))


@dataclass(frozen=True, slots=True)
class Process:
    """Jobs as processes of this machine; `surroundings` are the variables they inherit."""

    root: Path
    state: Path
    surroundings: Mapping[str, str]
    python: str = sys.executable
    supervisor: Path = SUPERVISOR
    start_s: float = START_S
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)
    # What a command of the project is, where its code cannot be asked.
    known_commands: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """Return the name by which users know it."""
        return "local"

    @property
    def in_image(self) -> bool:
        """Return that its jobs run in an installed environment."""
        return False

    @property
    def place(self) -> Place:
        """Return the project's folder itself."""
        return here(self.root)

    def probe(self) -> Capabilities:
        """Return that this machine is there; it always is."""
        return Capabilities(self.name, f"this machine, {os.cpu_count() or 1} cores")

    def require(self, resources: Resources, grace_s: float = 0.0) -> None:  # noqa: ARG002 - a target's
        """Return if nothing is to be limited: a process has all of the machine."""
        refuse_a_clusters(resources)
        if resources != UNLIMITED:
            raise UsageError(
                "`local` gives a job all of this machine, and no other: it limits neither memory, "
                "processors nor GPUs",
                hint="--on docker",
            )

    def plan(self, job: JobRecord) -> Plan:
        """Return the supervisor's command with the training's behind `--`."""
        cwd = self.code_folder(job)
        options = supervision.supervisor_options(job, str(job.folder), str(cwd))
        command = self._command(job, cwd)
        argv = (self.python, "-I", "-S", str(self.supervisor), *options, "--", *command)
        return Plan(job.job, job.folder, cwd, argv, self._environment(job, cwd), command)

    def code_folder(self, job: JobRecord) -> Path:
        """Return the folder the job's code runs from: its snapshot, or the working tree."""
        snapshot = job.code.snapshot
        return self.root if snapshot is None else self.state / "snapshots" / snapshot

    def verify(self, plan: Plan) -> None:
        """Return if there is such a program."""
        word = plan.command[0]
        path = plan.environment.get("PATH")
        if shutil.which(plan.cwd / word if "/" in word else word, path=path) is None:
            raise MissingProgram(f"no program `{word}` was found", program=word)

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
            environment = self._around(plan)
            pid = local.spawn_detached(plan.argv, env=environment, cwd=plan.run_dir, log=log)
            code = supervision.wait_for_claim(
                plan.run_dir, before, pid, limit_s=self.start_s, pause=self.pause
            )
            if code is None or generation.newest(plan.run_dir) > before:
                return Handle(self.name, key, plan.run_dir, pid)
            # Refused by a lock: another supervisor's (found next), or that of somebody who only
            # looked whether one lives (then it is tried again).
            if code != supervision.ALREADY_RUNNING:
                kind = StorageError if code == StorageError.exit_code else PerdureError
                raise kind(
                    f"the supervisor of `{key}` did not start (exit code {code})",
                    hint=supervision.last_words(log),
                )

    def find(self, key: str) -> Handle | None:
        """Return the running job of that name, None where none runs."""
        run_dir = self.root / "results" / key
        return Handle(self.name, key, run_dir) if presence.is_alive(run_dir) else None

    def poll(self, handles: Sequence[Handle]) -> Mapping[str, Presence]:
        """Return which of the jobs run, by their locks."""
        return supervision.presences(handles)

    def logs(self, handle: Handle) -> bytes:
        """Return the output of all attempts so far."""
        return supervision.output(handle.run_dir)

    def exec(self, job: JobRecord, argv: Sequence[str]) -> int:
        """Return the exit code of a command in the job's folder and environment."""
        found = self.aside(job, argv, terminal=True)
        return local.run_attached(found.argv, env=found.environment, cwd=found.cwd)

    def aside(self, job: JobRecord, argv: Sequence[str], *, terminal: bool) -> Aside:  # noqa: ARG002
        """Return the command in the job's folder and environment; no words: the user's shell."""
        plan = self.plan(job)
        shell = self.surroundings.get("SHELL") or "/bin/sh"
        return Aside(tuple(argv) or (shell,), self._around(plan), str(plan.cwd))

    def run(
        self,
        job: JobRecord,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout_s: float,
        on_line: Callable[[str], None],
        report: Report = silent,  # noqa: ARG002 - the protocol's
    ) -> local.Completed:
        """Return how a command ended in the job's folder and environment."""
        found = self.errand(job, argv, "")
        return local.run(
            found.argv,
            env=found.environment,
            cwd=found.cwd,
            stdin=stdin,
            timeout_s=timeout_s,
            on_line=on_line,
        )

    def errand(self, job: JobRecord, argv: Sequence[str], key: str) -> Errand:  # noqa: ARG002
        """Return a command that is waited for, in the job's folder and environment."""
        plan = self.plan(job)
        return Errand(tuple(argv), self._around(plan), str(plan.cwd))

    def seen(self, job: JobRecord, path: Path) -> str:  # noqa: ARG002 - the protocol's
        """Return the path itself: it is this machine's."""
        return os.fspath(path)

    def forward(self, handle: Handle, port: int) -> int:  # noqa: ARG002 - the protocol's
        """Return the port itself: it is this machine's."""
        return port

    def interrupt(self, handle: Handle, notice: Notice) -> None:
        """Touch PREEMPT."""
        supervision.notify(handle.run_dir, notice)

    def cancel(self, handle: Handle, timeout_s: float) -> Confirmation:
        """Touch CANCEL and wait for the lock to be free; then nothing of the job may be left."""
        answer = supervision.end(handle.run_dir, timeout_s, pause=self.pause)
        if answer == "confirmed":
            run_dir = os.fspath(handle.run_dir)
            processes.kill_all(lambda: processes.carrying(names.RUN_DIR, run_dir))
        return answer

    def signal(self, handle: Handle, pid: int, number: int) -> None:  # noqa: ARG002 - the protocol's
        """Send the signal; a process that is gone is no error."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def sweep(self, handle: Handle, events: Sequence[Event], *, grace_s: float = 0.0) -> int:
        """Return how many processes a dead supervisor had left; they are stopped."""
        return strays.stop_strays(handle.run_dir, events, grace_s=grace_s, pause=self.pause)

    def collect(self, handle: Handle) -> Path:
        """Return the run folder: it is here already."""
        return handle.run_dir

    def _around(self, plan: Plan) -> dict[str, str]:
        return supervision.without_job(self.surroundings) | dict(plan.environment)

    def _command(self, job: JobRecord, cwd: Path) -> tuple[str, ...]:
        word, *rest = job.argv
        if word not in _PYTHON_WORDS:
            code = self._code_of(word, cwd if cwd.is_dir() else self.root)
            if code is None:
                return job.argv
            word, rest = "python", ["-c", code, *rest]
        if job.environment.image is not None:
            return ("python", *rest)
        if job.environment.prefix is not None:
            return (f"{job.environment.prefix}/bin/python", *rest)
        path = self.surroundings.get("PATH", os.defpath)
        here = shutil.which(word, path=path) or shutil.which("python3", path=path)
        return (here or self.python, *rest)

    def _code_of(self, word: str, code: Path) -> str | None:
        if self.known_commands is not None:
            return self.known_commands.get(word)
        from perdure.targets.command import command_code

        return command_code(code, word)

    def _environment(self, job: JobRecord, cwd: Path) -> Mapping[str, str]:
        around = self.surroundings
        # The snapshot comes first, so that it wins over a project installed in editable mode.
        search = [str(cwd / "src"), str(cwd), around.get("PYTHONPATH", "")]
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, search)), "PYTHONUNBUFFERED": "1"}
        if job.environment.prefix is not None:
            path = [f"{job.environment.prefix}/bin", around.get("PATH", os.defpath)]
            environment |= {"PATH": os.pathsep.join(path), "VIRTUAL_ENV": job.environment.prefix}
        return environment | dict(job.variables)
