"""Jobs on machines that a cloud lends: the bucket has their state, the provider sees to a machine.

Here is what jobs see of it. The run folder here is a mirror of the bucket's; see
docs/decisions/0007.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from perdure.clouds import aws_requests as requests
from perdure.clouds import finishing, submission, view
from perdure.clouds import leftovers as unwanted
from perdure.clouds.aws_account import Account
from perdure.clouds.opening import open_folder
from perdure.clouds.side import order as orders
from perdure.clouds.side import standing
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.user_data import FOLDER, user_data
from perdure.errors import PerdureError, UsageError
from perdure.hosts.local import Completed
from perdure.model.job import Event, JobRecord, Resources
from perdure.model.job_values import job_values
from perdure.model.project import Project
from perdure.model.report import Report, silent
from perdure.model.settings import CloudSettings, Settings
from perdure.model.station import Station
from perdure.moving.address import Address, parse_address
from perdure.moving.bucket import asking
from perdure.runtime import names
from perdure.targets import supervision
from perdure.targets.bucket_host import BucketHost
from perdure.targets.place import Place, folder_name
from perdure.targets.protocol import Capabilities, Confirmation, Handle, Notice, Plan, Presence

_LOOK_S = 0.5
_HOUR_S = 3600.0
_PYTHON_WORDS = frozenset({"python", "python3"})
# Of a run folder, what a machine is given.
_FILES = (names.JOB_FILE, names.PATCH_FILE, "code.json", "environment.lock", "image.lock")
_NO_TURN = 0


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
    account = Account(found.cloud.region, name)
    return Cloud(name, found.kind, project, found.cloud, account)


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
    account: Account
    known: Station | None = None
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)

    @property
    def station(self) -> Station:
        """Return the project's folder in the bucket, as a place that jobs are at."""
        if self.known is not None:
            return self.known
        folder = folder_name(self.project.root, self.wanted.bucket)
        engine = view.engine_of(self.kind, self.wanted.region)
        return Station(f"{self.wanted.bucket}/{folder}", f"/{folder}", engine)

    @property
    def address(self) -> Address:
        """Return the project's folder in the bucket."""
        return parse_address(self.station.destination)

    @property
    def in_image(self) -> bool:
        """Return that its jobs run on the machine itself."""
        return False

    @property
    def place(self) -> Place:
        """Return where a machine will have the project: what it is told is kept in the bucket."""
        root = f"{FOLDER}/project"
        region = self.wanted.region
        host = BucketHost(self.name, self.kind, self.address, region, root)
        return Place(host, root, self.project.root)

    def image(self, *, gpus: bool) -> str:
        """Return the image of a machine, or the parameter that has it. Pure."""
        return self.wanted.image or (requests.GPU_IMAGE if gpus else requests.CPU_IMAGE)

    def bucket(self) -> Bucket:
        """Return the project's folder in the bucket, open; asks nobody yet."""
        return open_folder(self.address, self.wanted.region)

    def probe(self) -> Capabilities:
        """Return whose credentials AWS and the bucket take, or why they do not."""
        try:
            who = self.account.identity()
            bucket = self.bucket()
            with asking(self.address, "list"):
                bucket.names("kit")
        except PerdureError as error:
            return Capabilities(self.name, f"{self.kind}, {self.wanted.region}", error.message)
        where = f"{self.kind}, {self.wanted.region}, {self.wanted.market}"
        return Capabilities(self.name, f"{where}: {', '.join(self.wanted.types)}, as {who}")

    def require(self, resources: Resources) -> None:
        """Return if the types of machine that are named have what is asked for. Asks AWS."""
        limited = {
            "--memory": resources.memory_bytes,
            "--cpus": resources.cpus,
            "--shm-size": resources.shm_bytes,
            "--time": resources.time_s,
        }
        for option, value in limited.items():
            if value is not None:
                raise UsageError(
                    f"`{option}`: a job of `{self.name}` has all of its machine",
                    hint=f"`types` and `max_hours` in `[targets.{self.name}]`",
                )
        has = self.account.gpus(self.wanted.types)
        if resources.gpus:
            least = 1 if resources.gpus == "all" else int(resources.gpus)
            few = [each for each, count in has.items() if count < least]
            if few:
                raise UsageError(
                    f"`{', '.join(few)}` has fewer than {least} GPUs",
                    hint=f"`types` in `[targets.{self.name}]`: g5.xlarge has one",
                )

    def plan(self, job: JobRecord) -> Plan:
        """Return what AWS would be asked, as its own tool takes it. Asks nobody."""
        wish = self._wish(job.job, 1, self._unresolved(job), ("SUBNETS",), "KIT")
        script = "\n".join(requests.words(*call) for call in requests.calls(wish)) + "\n"
        order = orders.Order(
            turn=_NO_TURN,
            job=job_values(job),
            commands=self._commands(job),
            asked=0,
            deadline=None,
            restarts=self.wanted.max_restarts,
            files=(),
        )
        cwd = self.project.root
        argv = ("sh", "-s")
        return Plan(job.job, job.folder, cwd, argv, {}, job.argv, script=script, order=order.text())

    def verify(self, plan: Plan) -> None:
        """Return: whether the command is there is seen on the machine."""

    def submit(self, plan: Plan, key: str) -> Handle:
        """Bring the job into the bucket, and have AWS see to a machine for it.

        Raises:
            UsageError, EnvironmentFailed: AWS refuses; then the job wants no machine.
            StorageError: the bucket refuses.
        """
        assert plan.order is not None  # `plan` has made one
        bucket = self.bucket()
        with asking(self.address, "write"):
            kit = submission.bring_kit(bucket)
            order = self._brought(bucket, plan.run_dir, orders.of_text(plan.order))
            if order.turn == _NO_TURN:
                return Handle(self.name, key, plan.run_dir, standing.wanted(bucket, key).turn)
            submission.begin(bucket, key, order.text().encode())
            turn = standing.want(bucket, key).turn
        image = self.account.image(self.image(gpus=bool(order.job["resources"]["gpus"])))
        subnets = self.wanted.subnets or self.account.subnets()
        wish = replace(self._wish(key, turn, image, subnets, kit), deadline=order.deadline)
        try:
            self._forget_settled(key)
            self.account.start(wish)
        except BaseException:
            standing.settle(bucket, key, turn, "not started")
            self.account.forget(wish.name)
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

    def exec(self, job: JobRecord, argv: Sequence[str]) -> int:  # noqa: ARG002 - the protocol's
        """Refuse: nobody is let into a machine."""
        raise self._closed()

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
        with asking(self.address, "write"):
            standing.ask(bucket, handle.key, standing.INTERRUPT, notice.reason, notice.deadline)
            if view.is_held(bucket, handle.key):
                return
            turn = standing.wanted(bucket, handle.key).turn
            standing.settle(bucket, handle.key, turn, "INTERRUPTED")
        self.account.forget(self._group(handle.key, turn))

    def cancel(self, handle: Handle, timeout_s: float) -> Confirmation:
        """Ask the machine to end it, then have AWS end the machine; wait until none has it."""
        bucket, key = self.bucket(), handle.key
        with asking(self.address, "write"):
            wanted = standing.wanted(bucket, key)
            standing.ask(bucket, key, standing.CANCEL)
            until = time.monotonic() + timeout_s
            while view.is_held(bucket, key) and time.monotonic() < until:
                if not standing.wanted(bucket, key).wanted:
                    break
                self.pause(_LOOK_S)
            standing.settle(bucket, key, wanted.turn, "CANCELLED")
            self.account.forget(self._group(key, wanted.turn))
            return "unconfirmed" if view.is_held(bucket, key) else "confirmed"

    def signal(self, handle: Handle, pid: int, number: int) -> None:  # noqa: ARG002 - the protocol's
        """Refuse: nobody is let into a machine."""
        raise self._closed()

    def sweep(self, handle: Handle, events: Sequence[Event], *, grace_s: float = 0.0) -> int:  # noqa: ARG002
        """Return 0: with a machine goes all that ran on it. Its group has none from now on."""
        bucket = self.bucket()
        with asking(self.address, "read"):
            turn = standing.wanted(bucket, handle.key).turn
        self.account.forget(self._group(handle.key, turn))
        return 0

    def collect(self, handle: Handle) -> Path:
        """Return the run folder with the user's files in it, brought here."""
        from perdure.clouds.side.outputs import Outputs

        bucket = self.bucket()
        with asking(self.address, "read"):
            Outputs(bucket, handle.key, handle.run_dir).bring()
        return handle.run_dir

    def collect_checkpoint(self, handle: Handle, warn: Callable[[str], None]) -> str:
        """Return the name of the newest checkpoint, brought here whole; "" where there is none."""
        import shutil

        from perdure.clouds.side import checkpoints

        shelf = checkpoints.Shelf(self.bucket(), handle.key)
        with asking(self.address, "read"):
            for name in shelf.committed()[:1]:
                final = handle.run_dir / names.CHECKPOINTS / name
                if (final / "state.safetensors").exists():
                    return name
                # What tells of it may be here already, and is in it as well.
                shutil.rmtree(final, ignore_errors=True)
            return checkpoints.restore(shelf, handle.run_dir, warn)

    def finish(self, handle: Handle, now: float) -> None:
        """Write the end of a job that no machine has into the bucket; its group is deleted."""
        self.sweep(handle, ())
        bucket = self.bucket()
        with asking(self.address, "write"):
            finishing.finish(bucket, handle.key, now)

    def leftovers(self) -> list[unwanted.Leftover]:
        """Return what the project has in the cloud that no job wants. Asks AWS and the bucket."""
        bucket = self.bucket()
        with asking(self.address, "read"):
            return unwanted.find(self.account, bucket, self.station.destination)

    def end_leftovers(self, found: list[unwanted.Leftover]) -> None:
        """End and delete what `leftovers` found. Asks AWS."""
        unwanted.end(self.account, found)

    def _brought(self, bucket: Bucket, run_dir: Path, order: orders.Order) -> orders.Order:
        """Return the order of a turn, all that it needs is in the bucket; turn 0: it has begun."""
        key = run_dir.name
        turn = submission.next_turn(bucket, key)
        if turn.wanted:
            return order
        files = {
            name: (run_dir / name).read_bytes() for name in _FILES if (run_dir / name).is_file()
        }
        submission.bring_folder(bucket, key, files)
        return replace(
            order,
            turn=turn.turn,
            asked=standing.asked(bucket, key).number,
            deadline=time.time() + self.wanted.max_hours * _HOUR_S,
            files=tuple(files),
        )

    def _wish(
        self, job: str, turn: int, image: str, subnets: tuple[str, ...], kit: str
    ) -> requests.Wish:
        """Return what AWS is to be asked for; its deadline is not known yet. Pure."""
        group, folder = self._group(job, turn), self.station.destination
        config = orders.Config(self.kind, self.wanted.region, group, folder, job, kit)
        return requests.Wish(
            name=group,
            job=job,
            folder=folder,
            image=image,
            types=self.wanted.types,
            market=self.wanted.market,
            disk_gib=self.wanted.disk_gib,
            profile=self.wanted.profile,
            subnets=subnets,
            user_data=user_data(config.text(), self.kind),
            deadline=None,
        )

    def _group(self, job: str, turn: int) -> str:
        return requests.group_name(self.station.destination, job, turn)

    def _unresolved(self, job: JobRecord) -> str:
        named = self.image(gpus=bool(job.resources.gpus))
        return named if named.startswith("ami-") else f"resolve:ssm:{named}"

    def _forget_settled(self, key: str) -> None:
        """Delete the groups of earlier turns of a job: they have no machine."""
        for name, (job, count) in self.account.groups(self.station.destination).items():
            if job == key and count == 0:
                self.account.forget(name)

    def _closed(self) -> UsageError:
        return UsageError(
            f"machines of `{self.name}` let nobody in: they have no open port",
            hint="perdure logs -f JOB; `--on` another target to look around",
        )

    def _commands(self, job: JobRecord) -> dict[str, str]:
        """Return what the job's first word is, where that is a command of the project."""
        word = job.argv[0]
        if word in _PYTHON_WORDS or "/" in word:
            return {}
        from perdure.targets.command import command_code

        snapshot, root = job.code.snapshot, self.project.root
        kept = None if snapshot is None else self.project.state / "snapshots" / snapshot
        code = command_code(kept if kept is not None and kept.is_dir() else root, word)
        return {} if code is None else {word: code}
