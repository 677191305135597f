"""Jobs on machines that a cloud lends: the bucket has their state, the provider sees to a machine.

Here is what jobs see of it. The run folder here is a mirror of the bucket's; see
docs/decisions/0008.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from perdure.clouds import finishing, history, submission, view, visiting
from perdure.clouds import leftovers as unwanted
from perdure.clouds.clock import Clock
from perdure.clouds.opening import open_folder
from perdure.clouds.provider import Group, Provider
from perdure.clouds.providers import open_provider
from perdure.clouds.side import order as orders
from perdure.clouds.side import standing
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.user_data import FOLDER, user_data
from perdure.errors import NoBucket, PerdureError, UsageError
from perdure.hosts.engine_client import DOCKER
from perdure.hosts.local import Completed
from perdure.model.job import Event, JobRecord, Resources
from perdure.model.job_values import job_values
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import CloudSettings, Settings
from perdure.model.station import Station
from perdure.moving.address import Address, parse_address
from perdure.moving.bucket import asking
from perdure.project.identity import identity_of
from perdure.targets import cloud_image, cloud_order, supervision
from perdure.targets.bucket_host import BucketHost
from perdure.targets.place import Place, folder_name
from perdure.targets.protocol import Capabilities, Confirmation, Handle, Notice, Plan, Presence

_LOOK_S = 0.5


def open_cloud(project: Project, settings: Settings | None, name: str) -> Cloud:
    """Return the target of that name in the user's settings; it asks nobody yet.

    Raises:
        UsageError: there is none of that name.
    """
    if settings is None or name not in settings.targets:
        from perdure.project.settings import load_settings

        settings = load_settings(project.root)
    found = settings.targets.get(name)
    if found is None or found.cloud is None:
        raise UsageError(f"no target `{name}` of a cloud in the settings", hint="perdure targets")
    provider = open_provider(found.kind, found.cloud, name)
    return Cloud(name, found.kind, project, found.cloud, provider)


def open_begun(project: Project, name: str, station: Station) -> Cloud:
    """Return the target that a job was submitted to, in the bucket that it was."""
    opened = open_cloud(project, None, name)
    return replace(opened, known=station)


@dataclass(frozen=True, slots=True)
class Cloud:
    """Jobs in a cloud. `known` is where a job was found to be, None: as the settings have it."""

    name: str
    kind: str
    project: Project
    wanted: CloudSettings
    provider: Provider
    known: Station | None = None
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)

    @property
    def station(self) -> Station:
        """Return the project's folder in the bucket, as a place that jobs are at."""
        if self.known is not None:
            return self.known
        where = f"{identity_of(self.project)}/{self.wanted.bucket}"
        folder = self.wanted.folder or folder_name(self.project.root, where)
        engine = view.engine_of(self.kind, self.wanted.where)
        return Station(f"{self.wanted.bucket}/{folder}", f"/{folder}", engine)

    @property
    def address(self) -> Address:
        """Return the project's folder in the bucket."""
        return parse_address(self.station.destination)

    @property
    def in_image(self) -> bool:
        """Return whether its jobs run in an image, and not on the machine itself."""
        return cloud_image.engine_of(self.project, self.wanted) == DOCKER

    @property
    def place(self) -> Place:
        """Return where a machine will have the project: what it is told is kept in the bucket."""
        root = f"{FOLDER}/project"
        host = BucketHost(self.name, self.kind, self.address, self.wanted.where, root)
        return Place(host, root, self.project.root)

    def bucket(self) -> Bucket:
        """Return the project's folder in the bucket, open; asks nobody yet."""
        return open_folder(self.address, self.wanted.where)

    def probe(self) -> Capabilities:
        """Return whose credentials provider and bucket take, or why they do not."""
        where = (self.kind, self.wanted.region)
        try:
            who = self.provider.identity()
            bucket = self.bucket()
            with asking(self.address, "list"):
                bucket.names("kit")
        except PerdureError as error:
            return Capabilities(self.name, ", ".join(filter(None, where)), error.message)
        told = ", ".join(filter(None, (*where, self.wanted.market)))
        types = ", ".join(self.wanted.types or self.wanted.infra) or "anywhere"
        return Capabilities(self.name, f"{told}: {types}, as {who}")

    def require(self, resources: Resources, grace_s: float = 0.0) -> None:  # noqa: ARG002 - a target's
        """Return if the types of machine that are named have what is asked for. Asks it."""
        limited = {
            "--memory": None if self.provider.sized else resources.memory_bytes,
            "--cpus": None if self.provider.sized else resources.cpus,
            # Of a container only.
            "--shm-size": None if self.in_image else resources.shm_bytes,
            "--time": resources.time_s,
        }
        for option, value in limited.items():
            if value is not None:
                raise UsageError(
                    f"`{option}`: a job of `{self.name}` has all of its machine",
                    hint=f"`types` and `max_hours` in `[targets.{self.name}]`",
                )
        has = self.provider.gpus()
        if resources.gpus:
            least = _least(resources.gpus)
            if not has:
                raise UsageError(
                    f"`--gpus`: `{self.name}` names no kind of GPU",
                    hint=f'`types = ["L4"]` in `[targets.{self.name}]`, say',
                )
            few = [each for each, count in has.items() if count < least]
            if few:
                raise UsageError(
                    f"`{', '.join(few)}` has fewer than {least} GPUs",
                    hint=f"`types` in `[targets.{self.name}]`: others, with GPUs",
                )

    def plan(self, job: JobRecord) -> Plan:
        """Return what the provider would be asked, as its own tool takes it. Asks nobody."""
        script = self.provider.explained(self._group_of(job.job, 1, job.resources, "KIT"))
        script += cloud_image.explained(job)
        order = orders.Order(
            turn=cloud_order.NO_TURN,
            job=job_values(job),
            commands=cloud_order.commands(self.project, job),
            asked=0,
            deadline=None,
            restarts=self.wanted.max_restarts,
            files=(),
            engine=cloud_image.PROCESS if job.environment.image is None else DOCKER,
            lease_s=self.wanted.lease_s,
            market=self.wanted.market,
            door=bool(self.wanted.ssh_from),
        )
        cwd = self.project.root
        argv = ("sh", "-s")
        return Plan(job.job, job.folder, cwd, argv, {}, job.argv, script=script, order=order.text())

    def price_words(self) -> list[str]:
        """Return what an hour of each type costs, or why that is not told. Asks the provider."""
        limit = f"{self.wanted.max_hours:g} h at most"
        try:
            prices = self.provider.prices()
        except PerdureError as error:
            return [f"prices are not told: {error.message}; {limit}"]
        if not prices:
            return [f"prices are not told here; {limit}"]
        return [each.line(kind, self.wanted) for kind, each in prices.items()]

    def wait_words(self) -> str:
        """Return what is waited for while a job is submitted. Pure."""
        return f"asking {self.provider.called} for a machine"

    def _prices(self) -> dict[str, tuple[float | None, float | None]]:
        """Return spot and listed prices of the types; a job is submitted without them, too."""
        try:
            return {name: (each[0], each[1]) for name, each in self.provider.prices().items()}
        except PerdureError:
            return {}

    def verify(self, plan: Plan) -> None:
        """Return: whether the command is there is seen on the machine."""

    def submit(self, plan: Plan, key: str) -> Handle:
        """Bring the job into the bucket, and have the provider see to a machine for it.

        Raises:
            UsageError, EnvironmentFailed: it refuses; then the job wants no machine.
            StorageError: the bucket refuses.
        """
        assert plan.order is not None  # `plan` has made one
        bucket = self.bucket()
        with asking(self.address, "write"):
            kit = submission.bring_kit(bucket)
            order = cloud_order.brought(bucket, plan.run_dir, plan.order, self.wanted.max_hours)
            if order.turn == cloud_order.NO_TURN:
                return Handle(self.name, key, plan.run_dir, standing.wanted(bucket, key).turn)
            order = replace(order, prices=self._prices())
            submission.begin(bucket, key, order.text().encode())
            turn = standing.want(bucket, key).turn
        resources = Resources(**order.job["resources"])
        group = self._group_of(key, turn, resources, kit, order.deadline)
        try:
            self._forget_settled(key)
            self.provider.start(group)
        except BaseException:
            standing.settle(bucket, key, turn, "not started")
            self.provider.forget(group.name)
            raise
        return Handle(self.name, key, plan.run_dir, turn)

    def find(self, key: str) -> Handle | None:
        """Return the job of that key which wants or has a machine, None where there is none."""
        handle = Handle(self.name, key, self.project.results / key)
        return handle if self.poll([handle])[key] is Presence.RUNNING else None

    def poll(self, handles: Sequence[Handle]) -> Mapping[str, Presence]:
        """Return which of the jobs want or have a machine."""
        bucket = self.bucket()
        found = {}
        for handle in handles:
            try:
                with asking(self.address, "read"):
                    goes_on = standing.wanted(bucket, handle.key).wanted
                found[handle.key] = Presence.RUNNING if goes_on else Presence.GONE
            except PerdureError:
                found[handle.key] = Presence.UNREACHABLE
        return found

    def logs(self, handle: Handle) -> bytes:
        """Return what of the job's output is here."""
        return supervision.output(handle.run_dir)

    def exec(self, job: JobRecord, argv: Sequence[str]) -> int:
        """Return the exit code of a command beside the job, where its machine lets us in."""
        if not self.wanted.ssh_from:
            raise self._closed()
        with asking(self.address, "write"):
            return visiting.visit(self.bucket(), self.name, job.job, argv, self.pause)

    def run(
        self,
        job: JobRecord,  # noqa: ARG002 - the protocol's
        argv: Sequence[str],  # noqa: ARG002 - as above
        *,
        stdin: bytes,  # noqa: ARG002 - as above
        timeout_s: float,  # noqa: ARG002 - as above
        on_line: Callable[[str], None],  # noqa: ARG002 - as above
        report: Report = silent,  # noqa: ARG002 - as above
    ) -> Completed:
        """Refuse: nobody is let into a machine."""
        raise self._closed()

    def seen(self, job: JobRecord, path: Path) -> str:
        """Return what a path below the results is called on a machine."""
        return f"{FOLDER}/project/results/{path.relative_to(job.results).as_posix()}"

    def forward(self, handle: Handle, port: int) -> int:  # noqa: ARG002 - the protocol's
        """Refuse: nobody is let into a machine."""
        raise self._closed()

    def interrupt(self, handle: Handle, notice: Notice) -> None:
        """Ask the machine to save and stop; a job that waits for one wants none any more."""
        bucket = self.bucket()
        clock = Clock(bucket)
        with asking(self.address, "write"):
            until = clock.of(notice.deadline)
            standing.ask(bucket, handle.key, standing.INTERRUPT, notice.reason, until)
            if view.is_held(bucket, handle.key, clock):
                return
            turn = standing.wanted(bucket, handle.key).turn
            standing.settle(bucket, handle.key, turn, "INTERRUPTED")
        self.provider.forget(self._group(handle.key, turn))

    def cancel(self, handle: Handle, timeout_s: float) -> Confirmation:
        """Ask the machine to end it, then the provider to end that; wait until none has it."""
        bucket, key = self.bucket(), handle.key
        clock = Clock(bucket)
        with asking(self.address, "write"):
            wanted = standing.wanted(bucket, key)
            standing.ask(bucket, key, standing.CANCEL)
            until = time.monotonic() + timeout_s
            while view.is_held(bucket, key, clock) and time.monotonic() < until:
                if not standing.wanted(bucket, key).wanted:
                    break
                self.pause(_LOOK_S)
            standing.settle(bucket, key, wanted.turn, "CANCELLED")
            self.provider.forget(self._group(key, wanted.turn))
            return "unconfirmed" if view.is_held(bucket, key, clock) else "confirmed"

    def signal(self, handle: Handle, pid: int, number: int) -> None:  # noqa: ARG002 - the protocol's
        """Refuse: nobody is let into a machine."""
        raise self._closed()

    def sweep(self, handle: Handle, events: Sequence[Event], *, grace_s: float = 0.0) -> int:  # noqa: ARG002
        """Return 0: with a machine goes all that ran on it. Its group has none from now on."""
        with asking(self.address, "read"):
            turn = standing.wanted(self.bucket(), handle.key).turn
        self.provider.forget(self._group(handle.key, turn))
        return 0

    def collect(self, handle: Handle) -> Path:
        """Return the run folder with the user's files in it, brought here."""
        from perdure.clouds.side.outputs import Outputs

        with asking(self.address, "read"):
            Outputs(self.bucket(), handle.key, handle.run_dir).bring()
        return handle.run_dir

    def collect_checkpoint(self, handle: Handle, warn: Callable[[str], None]) -> str:
        """Return the name of the newest checkpoint, brought here whole; "" where there is none."""
        from perdure.clouds.side import checkpoints

        with asking(self.address, "read"):
            shelf = checkpoints.Shelf(self.bucket(), handle.key)
            return checkpoints.bring_newest(shelf, handle.run_dir, warn)

    def adopt(self, handle: Handle) -> None:
        """Bring all that a job of this machine has into the bucket, to go on from there."""
        who = f"{socket.gethostname()}-{os.getpid()}"
        with asking(self.address, "write"):
            history.bring(self.bucket(), handle.key, handle.run_dir, who)

    def finish(self, handle: Handle, now: float) -> None:
        """Write the end of a job that no machine has into the bucket; its group is deleted."""
        self.sweep(handle, ())
        with asking(self.address, "write"):
            finishing.finish(self.bucket(), handle.key, now)

    def leftovers(self) -> list[unwanted.Leftover]:
        """Return what the project has in the cloud that no job wants. Asks provider and bucket."""
        bucket, folder = self.bucket(), self.station.destination
        try:
            with asking(self.address, "read"):
                return unwanted.find(self.provider, bucket, folder)
        except NoBucket:
            return unwanted.find(self.provider, None, folder)

    def end_leftovers(self, found: list[unwanted.Leftover]) -> None:
        """End and delete what `leftovers` found. Asks the provider."""
        unwanted.end(self.provider, found)

    def _group_of(
        self, job: str, turn: int, resources: Resources, kit: str, deadline: float | None = None
    ) -> Group:
        """Return what the provider is to be asked for; its deadline may not be known yet. Pure."""
        name, folder = self._group(job, turn), self.station.destination
        wanted = self.wanted
        owner = "/".join(filter(None, (wanted.project, wanted.subscription, wanted.group)))
        until = None if deadline is None else deadline + orders.BEYOND_S
        config = orders.Config(
            self.kind, wanted.region, name, folder, job, kit, owner, wanted.account, until
        )
        memory, told = resources.memory_bytes, user_data(config.text(), self.kind)
        least = _least(resources.gpus)
        memory_gib = None if memory is None else memory / 2**30
        return Group(name, job, folder, least, told, deadline, kit, resources.cpus, memory_gib)

    def _group(self, job: str, turn: int) -> str:
        return self.provider.name(self.station.destination, job, turn)

    def _forget_settled(self, key: str) -> None:
        """Delete the groups of earlier turns of a job: they have no machine."""
        for name, (job, count) in self.provider.groups(self.station.destination).items():
            if job == key and count == 0:
                self.provider.forget(name)

    def _closed(self) -> UsageError:
        where = f"`ssh_from` in `[targets.{self.name}]`, for `perdure attach`"
        other = "perdure logs -f JOB; `--on` another target to look around"
        hint = other if self.kind == "sky" or self.wanted.ssh_from else where
        return UsageError(f"machines of `{self.name}` let nobody in: no port is open", hint=hint)


def _least(gpus: int | str) -> int:
    """Return how many GPUs a machine has to have at least. Pure."""
    return 1 if gpus == "all" else int(gpus)
