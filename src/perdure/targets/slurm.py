"""The jobs of a cluster that Slurm schedules: a supervisor as a step of a job, on any of its nodes.

This runs where Slurm's commands are, on a login node or a machine like it; the project's folder is
on a file system that all nodes share. What is told of a job is in its run folder, whichever node it
is on; whether it goes on, Slurm says.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perdure.errors import MissingProgram, PerdureError
from perdure.hosts import local
from perdure.model.job import Event, JobRecord, Resources
from perdure.model.report import Report, silent
from perdure.model.settings import SlurmSettings
from perdure.runtime import generation, names, settled
from perdure.targets import presence, supervision, supervisor
from perdure.targets import slurm_capacity as capacity
from perdure.targets import slurm_script as scripts
from perdure.targets import slurm_surroundings as around
from perdure.targets import slurm_ticket as tickets
from perdure.targets.place import Place, here
from perdure.targets.process import Process
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
from perdure.targets.slurm_apptainer import loading
from perdure.targets.slurm_image import SHELL, enclosing, is_enclosed
from perdure.targets.slurm_queue import Word, ask, environ, no_slurm
from perdure.targets.slurm_step import Step, without_srun
from perdure.targets.slurm_submission import require_accepted, submit_script
from perdure.targets.time_limit import require_time

POLL_S = 0.2
# A supervisor that was asked to end its job at once has ended by then, where its node answers.
_ASKED_S = 12.0
_SIGNAL_S = 60.0


@dataclass(frozen=True, slots=True)
class Slurm:
    """Jobs of a cluster; `surroundings` are the variables of whoever asks.

    `digest` names the supervisor's sources, which are brought to the project's folder; "": they are
    there. `known_commands` are the project's, where its code cannot be asked.
    """

    name: str
    root: Path
    state: Path
    surroundings: Mapping[str, str]
    settings: SlurmSettings
    python: str
    main: Path
    digest: str = ""
    known_commands: Mapping[str, str] | None = None
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)

    @property
    def in_image(self) -> bool:
        """Return whether its jobs run in an image: by Apptainer."""
        return self.settings.in_image

    @property
    def place(self) -> Place:
        """Return the project's folder itself."""
        return here(self.root)

    def probe(self) -> Capabilities:
        """Return which Slurm answers, with how many nodes, or why none does."""
        try:
            capacity.require_partition(self.settings, capacity.read_nodes())
            return Capabilities(self.name, capacity.summary(self.settings))
        except PerdureError as error:
            return Capabilities(self.name, "no Slurm", error.message, error.hint)

    def require(self, resources: Resources, grace_s: float = 0.0) -> None:
        """Return if some node of the partition has what is asked for. Asks Slurm.

        Raises:
            UsageError: none has, there is no such partition, or a limit of time, or the
                partition's own, leaves no time before the grace.
            EnvironmentFailed: no Slurm answers.
        """
        limit_s = scripts.time_limit_s(self.settings, resources)
        require_time(limit_s, grace_s, scripts.MARGIN_S)
        nodes = capacity.NODES.lately()
        capacity.require(self.settings, resources, nodes)
        if limit_s is None:
            limit_s = capacity.usual_s(self.settings, nodes)
            require_time(limit_s, grace_s, scripts.MARGIN_S, whose="the partition's")

    def plan(self, job: JobRecord) -> Plan:
        """Return the sbatch script of a job, and the command that hands it over.

        Raises:
            UsageError: its time limit leaves it no time before its grace.
        """
        turn = self.turn(job)
        text = scripts.script(turn, self.settings, job.resources)
        log = str(job.folder / names.SCHEDULER_LOG).replace("%", "%%")
        words = ("sbatch", "--parsable", f"--chdir={job.folder}", f"--output={log}")
        cwd = self._beneath().code_folder(job)
        return Plan(job.job, job.folder, cwd, words, dict(job.variables), turn.command, script=text)

    def turn(self, job: JobRecord) -> scripts.Turn:
        """Return what a job's script runs.

        Raises:
            UsageError: its time limit leaves it no time before its grace.
        """
        limit_s = scripts.time_limit_s(self.settings, job.resources)
        require_time(limit_s, job.limits.grace_s, scripts.MARGIN_S)
        beneath = self._beneath()
        cwd = beneath.code_folder(job)
        python = self.python if job.environment.prefix is None else around.python(job)
        return scripts.Turn(
            job=job.job,
            comment=tickets.comment_of(self.root, job.job),
            supervisor=(python, "-I", "-S", str(self.main)),
            options=supervision.supervisor_options(job, str(job.folder), str(cwd)),
            command=beneath.plan(job).command,
            grace_s=job.limits.grace_s,
            first={k: v for k, v in around.first(job, cwd).items() if k not in job.variables},
            exports={k: v for k, v in around.exports(job).items() if k not in job.variables},
            enclosing=self._enclosing(job),
        )

    def verify(self, plan: Plan) -> None:
        """Return if there is such a program, and Slurm takes what only it can judge. Asks it then.

        What modules and images have is not seen from here.

        Raises:
            MissingProgram: there is none.
            UsageError: a line for sbatch, an account or a QOS is not Slurm's.
        """
        if not (self.settings.modules or is_enclosed(plan.script or "")):
            self._beneath().verify(plan)
        if self.settings.lines or self.settings.account or self.settings.qos:
            require_accepted(plan, environ(), self.settings)

    def submit(self, plan: Plan, key: str) -> Handle:
        """Hand the script over to Slurm, once: a job of that comment which it has is found.

        Raises:
            SchedulerUnreachable: Slurm does not answer.
            UsageError: it refuses what is asked for.
        """
        self.bring_supervisor()
        variables = supervision.without_job(environ()) | dict(plan.environment)
        number = submit_script(plan, tickets.comment_of(self.root, key), variables, self.settings)
        return Handle(self.name, key, plan.run_dir, number)

    def bring_supervisor(self) -> None:
        """Have the supervisor's sources where the nodes find them. Touches the disk."""
        if self.digest and not self.main.is_file():
            supervisor.unpack(os.fspath(self.root), self.digest, supervisor.sources())

    def find(self, key: str) -> Handle | None:
        """Return the job of that name which waits or runs, None where none does."""
        run_dir = self.root / "results" / key
        return Handle(self.name, key, run_dir) if presence.is_alive(run_dir) else None

    def poll(self, handles: Sequence[Handle]) -> Mapping[str, Presence]:
        """Return which of the jobs wait or run: Slurm is asked once for all."""
        return supervision.presences(handles)

    def logs(self, handle: Handle) -> bytes:
        """Return the output of all attempts so far."""
        return supervision.output(handle.run_dir)

    def exec(self, job: JobRecord, argv: Sequence[str]) -> int:
        """Return the exit code of a command in the job's folder and environment, on a node."""
        found = self.aside(job, argv, terminal=os.isatty(0) and os.isatty(1))
        return local.run_attached(found.argv, env=found.environment, cwd=found.cwd)

    def aside(self, job: JobRecord, argv: Sequence[str], *, terminal: bool) -> Aside:
        """Return the srun that runs one beside the job; one that does not run gets its own node."""
        inside = self._beneath().aside(job, argv, terminal=terminal)
        self.bring_supervisor()
        step = self._step(job)
        variables = {**without_srun(inside.environment), "SLURM_EXPORT_ENV": "ALL"}
        image = self._beside(job)
        words = (*image, *(argv or SHELL)) if image else inside.argv
        return Aside((*step.argv(terminal=terminal), *words), variables, inside.cwd)

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
        """Return how a command ended in the job's folder and environment, on a node of its own.

        Raises:
            TimeoutExpired: it took too long; nothing of it is left in Slurm.
            MissingProgram: there is no Slurm here.
        """
        found = self.errand(job, argv, secrets.token_hex(6))
        try:
            return local.run(
                found.argv,
                env=found.environment,
                cwd=found.cwd,
                stdin=stdin,
                timeout_s=timeout_s,
                on_line=on_line,
            )
        except MissingProgram as error:
            raise no_slurm("srun") from error
        except BaseException:
            # srun is gone, what it started is not.
            with contextlib.suppress(PerdureError):
                ask(found.after)
            raise

    def errand(self, job: JobRecord, argv: Sequence[str], key: str) -> Errand:
        """Return the srun that runs a command in the job's place, with a node of its own."""
        inside = self._beneath().aside(job, argv, terminal=False)
        self.bring_supervisor()
        name = f"perdure-{key}"
        # Twice: srun tells of the command's exit code as of an error of its own.
        words = ("srun", "--quiet", "--quiet", f"--job-name={name}")
        where = scripts.allocation(self.settings, job.resources)
        variables = {**without_srun(inside.environment), "SLURM_EXPORT_ENV": "ALL"}
        after = ("scancel", f"--name={name}")
        task = (*self._beside(job), *argv)
        return Errand((*words, *where, *task), variables, inside.cwd, after)

    def seen(self, job: JobRecord, path: Path) -> str:  # noqa: ARG002 - the protocol's
        """Return the path itself: the nodes share it."""
        return os.fspath(path)

    def forward(self, handle: Handle, port: int) -> int:
        """Return a port of this machine's that leads to the loopback of the job's node."""
        from perdure.targets.slurm_relay import relay

        def srun() -> tuple[str, ...]:
            return (*Step.beside(self._running(handle)).argv(terminal=False), "--unbuffered")

        return relay(srun, self.python, port)

    def interrupt(self, handle: Handle, notice: Notice) -> None:
        """Touch PREEMPT: it saves, and stays interrupted. One in the queue leaves that."""
        word = self._word(handle.run_dir)
        deadline = time.monotonic() + _ASKED_S
        while word is not None and word.state == "COMPLETING" and time.monotonic() < deadline:
            # It ends, or is put back into the queue: that is another case.
            self.pause(POLL_S)
            word = self._word(handle.run_dir)
        if word is None or not word.waits:
            supervision.notify(handle.run_dir, notice)
            return
        ask(("scancel", word.number))
        if not self._gone(handle.run_dir, time.monotonic() + _ASKED_S):
            raise PerdureError(
                f"Slurm still has `{handle.key}` after it was cancelled",
                hint=f"perdure interrupt {handle.key}",
            )
        record_stop(handle.run_dir, notice.reason, time.time())

    def cancel(self, handle: Handle, timeout_s: float) -> Confirmation:
        """Have it end, and return whether Slurm was seen to have nothing of it any more."""
        word = self._word(handle.run_dir)
        deadline = time.monotonic() + timeout_s
        if word is not None:
            # Its supervisor ends it and says so; a node that does not answer is left to Slurm.
            (handle.run_dir / names.CANCEL).touch()
            until = min(deadline, time.monotonic() + _ASKED_S)
            if not word.waits and self._gone(handle.run_dir, until):
                return "confirmed"
            with contextlib.suppress(PerdureError):
                ask(("scancel", word.number))
        return "confirmed" if self._gone(handle.run_dir, deadline) else "unconfirmed"

    def signal(self, handle: Handle, pid: int, number: int) -> None:
        """Send the signal on the job's node, where that id is known."""
        step = Step.beside(self._running(handle))
        name = signal.Signals(number).name.replace("SIG", "")
        done = local.run(
            (*step.argv(terminal=False), "kill", f"-{name}", str(pid)),
            env=environ(),
            timeout_s=_SIGNAL_S,
        )
        if done.returncode and "No such process" not in done.complaint:
            raise PerdureError(f"cannot signal process {pid} of `{handle.key}`: {done.complaint}")

    def sweep(self, handle: Handle, events: Sequence[Event], *, grace_s: float = 0.0) -> int:  # noqa: ARG002
        """Return 1 where Slurm still had a job of that name, else 0; it has none now."""
        word = self._word(handle.run_dir)
        # What has just come to its end is still there for a moment.
        if word is None or (_is_over(handle.run_dir) and self._gone_soon(handle.run_dir)):
            return 0
        ask(("scancel", word.number))
        self._gone(handle.run_dir, time.monotonic() + grace_s + _ASKED_S)
        return 1

    def collect(self, handle: Handle) -> Path:
        """Return the run folder: it is on the file system that is shared."""
        return handle.run_dir

    def _beneath(self) -> Process:
        """Return what runs a job on one node, whichever that is."""
        return Process(
            self.root,
            self.state,
            self.surroundings,
            python=self.python,
            supervisor=self.main,
            known_commands=self.known_commands,
        )

    def _beside(self, job: JobRecord) -> tuple[str, ...]:
        """Return the words before a command in the job's image that no script is around."""
        image = self._enclosing(job)
        return (*loading(self.settings.modules), *image) if image else ()

    def _enclosing(self, job: JobRecord) -> tuple[str, ...]:
        cwd = self._beneath().code_folder(job)
        return enclosing(job, self.root, cwd, self.main, self.python)

    def _step(self, job: JobRecord) -> Step:
        word = self._word(job.folder)
        if word is not None and word.state == "RUNNING":
            return Step.beside(word)
        return Step(scripts.allocation(self.settings, job.resources))

    def _running(self, handle: Handle) -> Word:
        word = self._word(handle.run_dir)
        if word is None or word.state != "RUNNING":
            raise PerdureError(
                f"job `{handle.key}` is on no node just now", hint=f"perdure show {handle.key}"
            )
        return word

    def _word(self, run_dir: Path) -> Word | None:
        ticket = tickets.read_ticket(run_dir)
        if ticket is None or (ticket.array and settled.is_over(run_dir, ticket.after)):
            # An element of an array goes on without it.
            return None
        return tickets.word_of(ticket, fresh=True)

    def _gone_soon(self, run_dir: Path) -> bool:
        return self._gone(run_dir, time.monotonic() + _ASKED_S)

    def _gone(self, run_dir: Path, deadline: float) -> bool:
        """Return whether Slurm has nothing of a job any more, or comes to have by then."""
        while True:
            with contextlib.suppress(PerdureError):
                if self._word(run_dir) is None:
                    return True
            if time.monotonic() >= deadline:
                return False
            self.pause(POLL_S)


def _is_over(run_dir: Path) -> bool:
    ticket = tickets.read_ticket(run_dir)
    return ticket is not None and settled.is_over(run_dir, ticket.after)


def record_stop(run_dir: Path, reason: str, now: float) -> None:
    """Write what a supervisor would have: a job that leaves the queue never had one to do so."""
    number = generation.claim(run_dir)
    path = run_dir / names.ATTEMPTS / names.numbered(number, ".jsonl")
    path.parent.mkdir(exist_ok=True)
    told = (
        {"event": "notice", "reason": reason, "deadline": None, "grace_s": 0.0, "stays": True},
        {"event": "ended", "state": settled.INTERRUPTED, "reason": "interrupted", "code": 75},
    )
    with path.open("w") as file:
        file.writelines(json.dumps({"t": now, **each}) + "\n" for each in told)
        file.flush()
        os.fsync(file.fileno())
