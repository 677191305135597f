"""The targets of another host: the adapter is opened there, and called over a connection.

Here is what jobs see of it: the same protocol, with the run folders' names of this machine.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.errors import EnvironmentFailed, MissingProgram, TimeoutExpired, UsageError
from perdure.hosts.host import Host
from perdure.hosts.local import Completed
from perdure.hosts.ssh import Ssh
from perdure.model.job import UNLIMITED, Event, JobRecord, Resources
from perdure.model.job_values import event_values, job_values
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import Settings, SlurmSettings, TargetSettings
from perdure.model.station import Station
from perdure.targets import far, lasting, supervisor
from perdure.targets.patience import patiently
from perdure.targets.place import Place
from perdure.targets.protocol import Capabilities, Confirmation, Handle, Notice, Plan, Presence
from perdure.targets.refusal import refuse_a_clusters
from perdure.targets.station import find_station

if TYPE_CHECKING:
    from perdure.targets import slurm_array as arrays

# Beyond what is allowed for what is done there.
_WAY_S = 60.0
# For so long one question waits there for something to be said.
_HEAR_S = 5.0
# An engine that starts a container takes longer than one call is given.
_START_S = 300.0
_PYTHON_WORDS = frozenset({"python", "python3"})


def open_remote(project: Project, settings: Settings | None, name: str) -> Remote:
    """Return the target of that name in the user's settings; it asks nobody yet.

    Raises:
        UsageError: there is none of that name.
    """
    if settings is None or name not in settings.targets:
        from perdure.project.settings import load_settings

        settings = load_settings(project.root)
    if name not in settings.targets:
        raise UsageError(f"no target `{name}` in the settings", hint="perdure targets")
    wanted = settings.targets[name]
    return Remote(name, project, Ssh(name, wanted.host, wanted.root), wanted)


def open_station(project: Project, name: str, station: Station) -> Remote:
    """Return the target that a job was started on, whatever the settings say by now."""
    slurm = _slurm_settings(project, name) if station.engine == far.SLURM else None
    wanted = TargetSettings(station.destination, engine=station.engine, slurm=slurm)
    return Remote(name, project, Ssh(name, station.destination), wanted, station)


def _slurm_settings(project: Project, name: str) -> SlurmSettings:
    """Return what a cluster is told of jobs as the settings are now: another partition, say."""
    from perdure.project.settings import load_settings

    target = load_settings(project.root).targets.get(name)
    return SlurmSettings() if target is None or target.slurm is None else target.slurm


@dataclass(frozen=True, slots=True)
class Remote:
    """Jobs on another host. `known` is where it was found to be, None: it is looked up."""

    name: str
    project: Project
    host: Host
    wanted: TargetSettings
    known: Station | None = None

    @property
    def station(self) -> Station:
        """Return where the project lies there, and by what its jobs are run; may ask the host."""
        if self.known is not None:
            return self.known
        return find_station(self.name, self.project.root, self.wanted, self.host)

    @property
    def in_image(self) -> bool:
        """Return whether its jobs run in an image; may ask the host."""
        slurm = self.wanted.slurm
        return self.station.engine == far.DOCKER or (slurm is not None and slurm.in_image)

    @property
    def place(self) -> Place:
        """Return where the project lies there; may ask the host."""
        return Place(self.host, self.station.root, self.project.root)

    def probe(self) -> Capabilities:
        """Return what it can do, or why it cannot be reached."""
        try:
            found = self.host.call(far.probe, self.values())
        except (EnvironmentFailed, TimeoutExpired) as error:
            return Capabilities(self.name, "not reached", error.message)
        return Capabilities(self.name, found["summary"], found["problem"], found["hint"])

    def require(self, resources: Resources, grace_s: float = 0.0) -> None:
        """Return if it can run jobs with these resources."""
        if resources != UNLIMITED and self.station.engine == far.PROCESS:
            refuse_a_clusters(resources)
            raise UsageError(
                f"`{self.name}` runs jobs as processes, and a process has all of its machine: "
                "neither memory, processors nor GPUs are limited",
                hint=f'`engine = "docker"` in `[targets.{self.name}]`',
            )
        self.host.call(far.require, self.values(), asdict(resources), grace_s)

    def plan(self, job: JobRecord) -> Plan:
        """Return what would be executed there. Asks the host."""
        planned = self.host.call(far.plan, self.values(), self._job(job), self._commands(job))
        # The run folder is called here as it is here; `submit` says what it is called there.
        return replace(far.plan_of(planned), run_dir=job.folder)

    def verify(self, plan: Plan) -> None:
        """Return if the training's command is there."""
        try:
            self.host.call(far.verify, self.values(), self._planned(plan))
        except MissingProgram as error:
            raise MissingProgram(
                f"{error.message} on `{self.name}`", program=error.program, hint=error.hint
            ) from error

    def submit(self, plan: Plan, key: str) -> Handle:
        """Start what was planned, there; the supervisor's sources are brought there first."""
        there, planned = self.values(), self._planned(plan)
        done = self._long(far.submit, there, planned, key, timeout_s=_START_S)
        if done["lacking"]:
            self._bring_supervisor(there)
            done = self._long(far.submit, there, planned, key, timeout_s=_START_S)
        return Handle(self.name, key, plan.run_dir, done["pid"])

    def hand_over(self, order: arrays.Order) -> None:
        """Hand an array over to the Slurm there, as `slurm_array.submit_array` does."""
        from perdure.targets import far_arrays

        there = self.values()
        given = (there, self._order(order), self._commands(order.base))
        if not self._long(far_arrays.hand_over, *given, timeout_s=_START_S):
            self._bring_supervisor(there)
            self._long(far_arrays.hand_over, *given, timeout_s=_START_S)

    def explained(self, order: arrays.Order) -> str:
        """Return what would hand an array over to the Slurm there. Asks the host."""
        from perdure.targets import far_arrays

        given = (self.values(), self._order(order), self._commands(order.base))
        return self.host.call(far_arrays.plan, *given)

    def find(self, key: str) -> Handle | None:
        """Return the running job of that key, None where there is none."""
        handle = Handle(self.name, key, self.project.results / key)
        return handle if self.poll([handle])[key] is Presence.RUNNING else None

    def poll(self, handles: Sequence[Handle]) -> Mapping[str, Presence]:
        """Return which of the jobs run: one question for all."""
        if not handles:
            return {}
        try:
            alive = self.host.call(far.poll, [self._path(handle) for handle in handles])
        except (EnvironmentFailed, TimeoutExpired):
            return {handle.key: Presence.UNREACHABLE for handle in handles}
        return {handle.key: Presence(each) for handle, each in zip(handles, alive, strict=True)}

    def logs(self, handle: Handle) -> bytes:
        """Return what the job has written so far."""
        return self.host.call(far.logs, self.values(), self._path(handle))

    def exec(self, job: JobRecord, argv: Sequence[str]) -> int:
        """Return the exit code of a command beside the job, with this terminal."""
        import sys

        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self._enable(job)
        given = (self.values(), self._job(job), self._commands(job), list(argv), terminal)
        found = self.host.call(far.aside, *given)
        return self.host.attached(found["argv"], variables=found["environment"], cwd=found["cwd"])

    def run(
        self,
        job: JobRecord,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout_s: float,
        on_line: Callable[[str], None],
        report: Report = silent,
    ) -> Completed:
        """Return how a command ended in a job's folder and environment there.

        It goes on by itself while the connection is lost, and is heard again after that.
        """
        folder = f"{self.station.root}/{lasting.FOLDER}/{secrets.token_hex(8)}"
        given = (self.values(), self._job(job), list(argv), stdin, timeout_s, folder)
        end = functools.partial(self._long, lasting.end, folder, timeout_s=_START_S)
        try:
            patiently(self.host, report, lambda: self.host.call(lasting.prepare, folder))
            patiently(self.host, report, lambda: self._enable(job))
            patiently(self.host, report, lambda: self.host.call(far.begin, *given))
            said = self._heard(folder, on_line, report)
        except BaseException:
            with contextlib.suppress(EnvironmentFailed, TimeoutExpired):
                end()
            raise
        patiently(self.host, report, end)
        return lasting.completed(said, tuple(argv), timeout_s)

    def seen(self, job: JobRecord, path: Path) -> str:
        """Return what a path of this machine is called where the job runs."""
        there = self.place.path(path)
        return self.host.call(far.seen, self.values(), self._job(job), there)

    def forward(self, handle: Handle, port: int) -> int:
        """Return the port of this machine's loopback that reaches `port` where the job runs."""
        theirs = self.host.call(far.forward, self.values(), self._path(handle), port)
        return self.host.forward(theirs)

    def interrupt(self, handle: Handle, notice: Notice) -> None:
        """Pass on a notice; its deadline is told as the time that is left."""
        left_s = None if notice.deadline is None else notice.deadline - time.time()
        self.host.call(far.interrupt, self.values(), self._path(handle), notice.reason, left_s)

    def cancel(self, handle: Handle, timeout_s: float) -> Confirmation:
        """Kill it, and return whether it was seen to be gone within the time limit."""
        given = (self.values(), self._path(handle), timeout_s)
        answer: Confirmation = self._long(far.cancel, *given, timeout_s=timeout_s)
        return answer

    def signal(self, handle: Handle, pid: int, number: int) -> None:
        """Send a signal to a process of the job."""
        self.host.call(far.signal, self.values(), self._path(handle), pid, int(number))

    def sweep(self, handle: Handle, events: Sequence[Event], *, grace_s: float = 0.0) -> int:
        """Return how many processes were left of a job whose supervisor is gone."""
        known = [event_values(event) for event in events]
        given = (self.values(), self._path(handle), known, grace_s)
        return int(self._long(far.sweep, *given, timeout_s=grace_s))

    def collect(self, handle: Handle) -> Path:
        """Return the run folder on this machine, brought here, but for its checkpoints."""
        from perdure.targets.gathering import gather

        gather(self.place, handle.run_dir)
        return handle.run_dir

    def values(self) -> dict[str, Any]:
        """Return what the adapter is opened with there; see `far`."""
        station = self.station
        slurm = self.wanted.slurm
        settings = {} if slurm is None else asdict(slurm)
        known = {"root": station.root, "engine": station.engine, "name": self.name}
        return {**known, "settings": settings, "supervisor": supervisor.digest()}

    def _heard(
        self, folder: str, on_line: Callable[[str], None], report: Report
    ) -> Mapping[str, Any]:
        """Return how a command ended that was begun there, once it has; pass on what it says."""
        said: Mapping[str, Any] = {"at": 0}
        while True:
            ask = functools.partial(self.host.call, lasting.heard, folder, said["at"], _HEAR_S)
            said = patiently(self.host, report, ask)
            for line in said["lines"]:
                on_line(line)
            if "end" in said:
                end: Mapping[str, Any] = said["end"]
                return end

    def _enable(self, job: JobRecord) -> None:
        """Have there what runs a command in a job's image on a node: it comes with a supervisor."""
        if job.environment.image is None or self.station.engine != far.SLURM:
            return
        there = self.values()
        if not self.host.call(far.has_supervisor, there):
            self._bring_supervisor(there)

    def _bring_supervisor(self, there: Mapping[str, Any]) -> None:
        given = (there["root"], there["supervisor"], supervisor.sources())
        self.host.call(supervisor.unpack, *given)

    def _order(self, order: arrays.Order) -> dict[str, Any]:
        from perdure.targets import far_arrays

        folder = self.place.path(order.folder)
        results = self.place.path(next(iter(order.jobs.values())).results)
        return far_arrays.order_values(order, self._job(order.base), folder, results)

    def _job(self, job: JobRecord) -> dict[str, Any]:
        return {**job_values(job), "results": self.place.path(job.results)}

    def _planned(self, plan: Plan) -> dict[str, Any]:
        return {**far.plan_values(plan), "run_dir": self.place.path(plan.run_dir)}

    def _path(self, handle: Handle) -> str:
        return self.place.path(handle.run_dir)

    def _commands(self, job: JobRecord) -> dict[str, str]:
        """Return what the job's first word is, where that is a command of the project.

        The code is the same on both sides; the Python there may know no TOML.
        """
        word = job.argv[0]
        if word in _PYTHON_WORDS or "/" in word:
            return {}
        from perdure.targets.command import command_code

        snapshot, root = job.code.snapshot, self.project.root
        kept = None if snapshot is None else self.project.state / "snapshots" / snapshot
        code = command_code(kept if kept is not None and kept.is_dir() else root, word)
        return {} if code is None else {word: code}

    def _long(self, function: Callable[..., Any], *given: object, timeout_s: float) -> Any:  # noqa: ANN401
        return self.host.call_long(function, *given, timeout_s=timeout_s + _WAY_S)
