"""The target `docker`: a supervisor as PID 1 of a container, its run folder mounted from here.

The kernel is the same inside and outside: a lock that the supervisor holds is seen from here, and
so is every file of the run folder. Stopping a job therefore needs no engine; starting one does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from perdure.errors import EnvironmentFailed, PerdureError, TimeoutExpired
from perdure.hosts import local
from perdure.hosts.engine import Engine, find_engine
from perdure.hosts.engine_client import DOCKER, PODMAN, find_program, is_podman
from perdure.images.mounts import CODE, RESULTS
from perdure.model.job import Event, JobRecord, Resources
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings
from perdure.runtime import generation, names
from perdure.targets import invocation, presence, supervision
from perdure.targets.invocation import Setting, container_name
from perdure.targets.leftover import remove, remove_ended
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
from perdure.targets.refusal import refusal, refuse_a_clusters
from perdure.targets.view import hand_over, mounts_of

# An engine that is busy takes its time to start a container, and longer with a GPU.
START_S = 120.0
_CALL_S = 60.0
_GONE_S = 10.0
# Between its making and its start a container is somebody's, for no longer than this.
_CREATED_S = 3.0
_POLL_S = 0.02
_IN_USE = "is already in use"
_STARTING = frozenset({"running", "paused", "restarting", "removing"})
_SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")
_KILL = "import os, sys; os.kill(int(sys.argv[1]), int(sys.argv[2]))"


def open_container(project: Project, settings: Settings | None = None) -> Container:
    """Return the target `docker` of a project; no engine is looked for yet."""
    return Container(project, settings, dict(os.environ), half_of_memory())


def half_of_memory() -> int:
    """Return half of this machine's memory in bytes: what Linux gives its own /dev/shm.

    Docker's 64 MiB are too little for a data loader's workers. It is a limit: what is not used
    costs nothing.
    """
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@dataclass(frozen=True, slots=True)
class Container:
    """Jobs in containers of the engine that the user's settings and `environ` name.

    `returns`: after a loss of power the engine goes on with them by itself.
    """

    project: Project
    settings: Settings | None
    environ: Mapping[str, str]
    shm_bytes: int
    start_s: float = START_S
    returns: bool = False
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)

    @property
    def name(self) -> str:
        """Return the name by which users know it."""
        return "docker"

    @property
    def in_image(self) -> bool:
        """Return that its jobs run in an image."""
        return True

    @property
    def place(self) -> Place:
        """Return the project's folder itself: it is mounted."""
        return here(self.project.root)

    def probe(self) -> Capabilities:
        """Return which engine answers, or why none does."""
        try:
            engine = self._engine()
            return Capabilities(self.name, f"{engine.kind} {engine.version().server}")
        except PerdureError as error:
            return Capabilities(self.name, "no container engine", error.message)

    def require(self, resources: Resources, grace_s: float = 0.0) -> None:  # noqa: ARG002 - a target's
        """Return if an engine of this machine answers; whether it has GPUs only a start tells.

        Raises:
            UsageError: a time limit or several nodes: no engine has those.
            EngineUnreachable: none answers.
            EnvironmentFailed: it is on another machine.
        """
        refuse_a_clusters(resources)
        self._engine()

    def plan(self, job: JobRecord) -> Plan:
        """Return the command line of the job's container. Reads links of the data folder."""
        options = supervision.supervisor_options(job, f"{RESULTS}/{job.job}", CODE)
        argv = invocation.supervised(self._setting(job), job, mounts_of(self.project, job), options)
        environment = invocation.passed_by_name(job.variables)
        owner = invocation.owner_of(job)
        return Plan(job.job, job.folder, Path(CODE), argv, environment, job.argv, owner)

    def verify(self, plan: Plan) -> None:
        """Return: what is in an image is not seen from here, and a supervisor tells it at once."""

    def submit(self, plan: Plan, key: str) -> Handle:
        """Start the container and return once its supervisor owns the run folder, or has ended.

        Raises:
            EngineUnreachable: no engine answers.
            EnvironmentFailed: the engine refuses: no such image, no GPUs.
            PerdureError: the supervisor ended without ever owning the folder, or does not get so
                far in time; what it or the engine said is the hint.
        """
        engine = self._engine()
        if self.returns:
            remove_ended(engine, self.project.root)
        name = container_name(self.project.root, key)
        log = plan.run_dir / names.SUPERVISOR_LOG
        began = time.monotonic()
        while True:
            waited_s = time.monotonic() - began
            if presence.is_alive(plan.run_dir):
                return Handle(self.name, key, plan.run_dir)
            if waited_s > self.start_s:
                raise TimeoutExpired(
                    f"the supervisor of `{key}` did not start in {self.start_s:g} s",
                    hint=supervision.last_words(log),
                )
            if not self._clear(engine, name, log, patient=waited_s < _CREATED_S):
                self.pause(_POLL_S)
                continue
            handle = self._start(engine, plan, name)
            if handle is not None:
                return handle

    def find(self, key: str) -> Handle | None:
        """Return the running job of that name, None where none runs."""
        run_dir = self.project.results / key
        return Handle(self.name, key, run_dir) if presence.is_alive(run_dir) else None

    def poll(self, handles: Sequence[Handle]) -> Mapping[str, Presence]:
        """Return which of the jobs run, by their locks."""
        return supervision.presences(handles)

    def logs(self, handle: Handle) -> bytes:
        """Return the output of all attempts so far."""
        return supervision.output(handle.run_dir)

    def exec(self, job: JobRecord, argv: Sequence[str]) -> int:
        """Return the exit code of a command in the job's container, or in another one like it."""
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        found = self.aside(job, argv, terminal=terminal)
        return local.run_attached(found.argv, env=found.environment)

    def aside(self, job: JobRecord, argv: Sequence[str], *, terminal: bool) -> Aside:
        """Return the command of this machine that runs one in the job's container, or one alike."""
        engine = self._engine(job.variables)
        options = ("--tty",) if terminal else ()
        words = tuple(argv) or _SHELL
        if presence.is_alive(job.folder):
            name = container_name(self.project.root, job.job)
            return Aside(
                engine.argv(["exec", "--interactive", *options, name, *words]), engine.environ
            )
        mounts = mounts_of(self.project, job)
        inside = invocation.beside(self._setting(job), job, mounts, words, "--init", *options)
        return Aside(engine.argv(inside), engine.environ)

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
        """Return how a command ended in a container like the job's, of which nothing is left."""
        engine = self._engine(job.variables)
        key = secrets.token_hex(4)
        words = self.errand(job, argv, key).argv[1:]
        try:
            return engine.run(words, stdin=stdin, timeout_s=timeout_s, on_line=on_line)
        except BaseException:
            # The client is gone, the container is not.
            remove(engine, self._beside(job, key))
            raise

    def errand(self, job: JobRecord, argv: Sequence[str], key: str) -> Errand:
        """Return a command that is waited for, in a container like the job's with a name of `key`.

        What the job's folder has is made its user's.
        """
        engine = self._engine(job.variables)
        mounts, name = mounts_of(self.project, job), self._beside(job, key)
        words = invocation.beside(self._setting(job), job, mounts, argv, f"--name={name}")
        hand_over(job.results, invocation.owner_of(job))
        after = engine.argv(["rm", "--force", name])
        return Errand(engine.argv(words), engine.environ, after=after)

    def seen(self, job: JobRecord, path: Path) -> str:
        """Return where the container has a path below the folder of the job's run folder."""
        return invocation.results_seen(job, path)

    def forward(self, handle: Handle, port: int) -> int:
        """Return a port that this process passes on to the container's own address.

        Raises:
            EnvironmentFailed: it does not run, or has no address that is reached from here.
        """
        from perdure.targets.relay import relay

        name = container_name(self.project.root, handle.key)
        words = ["container", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", name]
        address = self._engine().run(words, timeout_s=_CALL_S).text
        if not address:
            raise EnvironmentFailed(f"the container of `{handle.key}` has no address to reach")
        return relay(address, port)

    def interrupt(self, handle: Handle, notice: Notice) -> None:
        """Touch PREEMPT."""
        supervision.notify(handle.run_dir, notice)

    def cancel(self, handle: Handle, timeout_s: float) -> Confirmation:
        """Touch CANCEL and wait for the lock to be free: with PID 1 all of a container ends."""
        answer = supervision.end(handle.run_dir, timeout_s, pause=self.pause)
        if answer == "confirmed":
            self._await_removal(handle)
        return answer

    def signal(self, handle: Handle, pid: int, number: int) -> None:
        """Send the signal from inside the container, where that id is known."""
        name = container_name(self.project.root, handle.key)
        words = ("exec", name, "python", "-I", "-S", "-c", _KILL, str(pid), str(number))
        done = self._engine().run(words, timeout_s=_CALL_S)
        if done.returncode and "ProcessLookupError" not in done.complaint:
            raise PerdureError(f"cannot signal process {pid} of `{handle.key}`: {done.complaint}")

    def sweep(self, handle: Handle, events: Sequence[Event], *, grace_s: float = 0.0) -> int:  # noqa: ARG002
        """Return 0: nothing outlives its PID 1. The container is removed, if an engine answers."""
        self._await_removal(handle)
        return 0

    def collect(self, handle: Handle) -> Path:
        """Return the run folder: it is here, and was all the time."""
        return handle.run_dir

    def _beside(self, job: JobRecord, key: str) -> str:
        return container_name(self.project.root, f"{job.job}-{key}")

    def _engine(self, variables: Mapping[str, str] | None = None) -> Engine:
        """Return the engine, with a job's variables for its client to pass on.

        Raises:
            EngineUnreachable: it does not answer.
            EnvironmentFailed: it is on another machine.
        """
        engine = find_engine(self._settings(), self.environ)
        if not engine.is_local():
            raise EnvironmentFailed(
                f"the container engine at `{engine.endpoint}` is on another machine: the run "
                "folders, the code and the data of this one cannot be mounted there",
                hint="unset DOCKER_HOST and DOCKER_CONTEXT, or go without containers: --on local",
            )
        passed = invocation.passed_by_name(variables or {})
        return replace(engine, environ={**engine.environ, **passed})

    def _settings(self) -> Settings:
        if self.settings is not None:
            return self.settings
        from perdure.project.settings import load_settings

        return load_settings(self.project.root)

    def _setting(self, job: JobRecord) -> Setting:
        program = find_program(self._settings().docker.program, self.environ, building=False)
        owner = invocation.owner_of(job)
        mine = os.getuid() == owner.user_id
        groups = sorted({*os.getgroups()} - {owner.group_id}) if mine else []
        kind = PODMAN if is_podman(program) else DOCKER
        rootless = os.geteuid() != 0
        root, returns = self.project.root, self.returns and kind == DOCKER
        return Setting(root, program, kind, self.shm_bytes, tuple(groups), rootless, returns)

    def _start(self, engine: Engine, plan: Plan, name: str) -> Handle | None:
        """Return the job once it runs, None where it is to be tried again."""
        log = plan.run_dir / names.SUPERVISOR_LOG
        log.touch()
        hand_over(plan.run_dir, plan.owner)
        before, since = generation.newest(plan.run_dir), log.stat().st_size
        argv = engine.argv(plan.argv[1:])
        environment = {**engine.environ, **plan.environment, names.RETURNS_AFTER: str(before)}
        pid = local.spawn_detached(argv, env=environment, cwd=plan.run_dir, log=log)
        try:
            code = supervision.wait_for_claim(
                plan.run_dir, before, pid, limit_s=self.start_s, pause=self.pause
            )
        except BaseException:
            local.kill_group(pid)
            remove(engine, name)
            raise
        if code is None or generation.newest(plan.run_dir) > before:
            # The client has done its part: it handed over what is said before there is a job.
            local.kill_group(pid)
            return Handle(self.name, plan.key, plan.run_dir, self._pid(engine, plan, name))
        said = supervision.last_words(log, since=since) or ""
        if self.returns and _IN_USE not in said:
            remove(engine, name)  # the engine would try again and again
        if code != supervision.ALREADY_RUNNING and _IN_USE not in said:
            find_engine(self._settings(), self.environ)  # says so, if it is gone
            raise refusal(plan.key, code, said)
        return None

    def _pid(self, engine: Engine, plan: Plan, name: str) -> int:
        """Return the supervisor's process id on this machine, 0 where it has ended already.

        Raises:
            EnvironmentFailed: the container's locks are not seen from here.
        """
        deadline = time.monotonic() + _GONE_S
        while True:
            alive = presence.is_alive(plan.run_dir)
            facts = engine.inspect_container(name)
            if facts is None or facts.state != "running":
                return 0
            if alive:
                return facts.pid
            if time.monotonic() > deadline:
                remove(engine, name)
                raise EnvironmentFailed(
                    "a lock that a container holds is not seen on this machine: its engine runs "
                    "in a virtual machine, or the file system of the project has no locks",
                    hint="--on local",
                )
            self.pause(_POLL_S)

    def _clear(self, engine: Engine, name: str, log: Path, *, patient: bool) -> bool:
        """Return whether the name is free, after removing a container that has ended.

        One that is being started is somebody else's, who will own the run folder presently.
        """
        facts = engine.inspect_container(name)
        if facts is None:
            return True
        if facts.state in _STARTING or (facts.state == "created" and patient):
            return False
        with log.open("a") as file:
            file.write(f"perdure: container {name}: {facts.state}, code {facts.exit_code}\n")
        remove(engine, name)
        return True

    def _await_removal(self, handle: Handle) -> None:
        """Return once the engine has no container of the job, or does not answer."""
        name = container_name(self.project.root, handle.key)
        # Its PID 1 is gone: whatever an engine says, nothing of the job runs.
        with contextlib.suppress(EnvironmentFailed, TimeoutExpired):
            engine = self._engine()
            deadline = time.monotonic() + _GONE_S
            while (facts := engine.inspect_container(name)) is not None:
                if facts.state not in _STARTING or time.monotonic() > deadline:
                    remove(engine, name)
                    return
                self.pause(_POLL_S)
