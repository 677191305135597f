"""SkyPilot as a provider: a managed job for each turn of a job, in whatever cloud has a machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from perdure.clouds import sky_standing, sky_task
from perdure.clouds.opening import open_folder
from perdure.clouds.provider import Found, Group, Preparation, Price
from perdure.clouds.sky_command import SkyCommand
from perdure.errors import UsageError
from perdure.model.settings import CloudSettings
from perdure.moving.address import parse_address
from perdure.moving.bucket import asking

# "sky gpus list": the most that one machine has.
_MOST_GPUS = 16


@dataclass(frozen=True, slots=True)
class SkyProvider:
    """The clouds that SkyPilot has credentials for; see `Provider`."""

    wanted: CloudSettings
    target: str
    sky: SkyCommand = field(default_factory=SkyCommand)

    @property
    def called(self) -> str:
        """Return its name, and why it takes so long."""
        return "SkyPilot (its first job takes minutes)"

    @property
    def sized(self) -> bool:
        """Return that SkyPilot looks for a machine that is large enough."""
        return True

    def name(self, folder: str, job: str, turn: int) -> str:
        """Return what the managed job of a turn is called. Pure."""
        return sky_task.name_of(folder, job, turn)

    def identity(self) -> str:
        """Return which SkyPilot it is: whose credentials, each cloud has to be asked."""
        return f"SkyPilot {self.sky.version()}"

    def gpus(self) -> dict[str, int]:
        """Return how many GPUs of each kind a machine may have, once SkyPilot is there."""
        self.sky.version()
        return dict.fromkeys(self.wanted.types, _MOST_GPUS)

    def explained(self, group: Group) -> str:
        """Return the YAML, and what it is given to. Pure."""
        words = f"sky jobs launch --yes --detach-run --name {group.name} task.yaml"
        text = sky_task.text(self.wanted, group)
        return f"cat >task.yaml <<'END-OF-TASK'\n{text}END-OF-TASK\n{words}\n"

    def start(self, group: Group) -> None:
        """Have SkyPilot take the managed job of a turn."""
        with tempfile.TemporaryDirectory(prefix="perdure-sky-") as folder:
            file = Path(folder, "task.yaml")
            file.write_text(sky_task.text(self.wanted, group))
            self.sky.launch(group.name, str(file))

    def forget(self, name: str) -> None:
        """Cancel the managed jobs of that name, with their machines."""
        # By number: of two of one name `sky jobs cancel --name` cancels neither.
        self.sky.cancel([each.number for each in self.sky.queue() if each.name == name])

    def groups(self, folder: str) -> dict[str, tuple[str, int]]:
        """Return the jobs of a folder's managed jobs that are not over: each wants a machine."""
        named = ((each.name, sky_task.job_of(folder, each.name)) for each in self.sky.queue())
        return {name: (job, 1) for name, job in named if job is not None}

    def templates(self, folder: str) -> dict[str, str]:  # noqa: ARG002 - the protocol's
        """Return none: a managed job has its own."""
        return {}

    def machines(self, folder: str) -> dict[str, str]:  # noqa: ARG002 - the protocol's
        """Return none: they go with their managed jobs."""
        return {}

    def end_machines(self, ids: list[str]) -> None:
        """Return: there are none."""

    def prices(self) -> Mapping[str, Price]:
        """Return none: which machine it will be is not known yet."""
        return {}

    def examine(self, folder: str) -> Iterator[Found]:
        """Yield which clouds are enabled, and which jobs SkyPilot has given up."""
        clouds = self.sky.clouds()
        if not clouds:
            yield Found("clouds", "problem", "SkyPilot has none that it can use", "sky check")
        else:
            yield Found("clouds", "ok", ", ".join(clouds))
        yield from self._given_up(folder)

    def preparation(self) -> Preparation:
        """Refuse: SkyPilot makes what machines need by itself."""
        raise UsageError(
            f"`{self.target}` needs no setup of perdure's: roles are SkyPilot's, the bucket yours",
            hint=f"sky check; perdure doctor {self.target}",
        )

    def _given_up(self, folder: str) -> Iterator[Found]:
        """Yield the jobs that want a machine by their bucket, and get none from SkyPilot."""
        address = parse_address(folder)
        bucket = open_folder(address, self.wanted.where)
        with asking(address, "read"):
            for each in sky_standing.given_up(self.sky, bucket, folder):
                told = f"waits for a machine in vain: {each.why}"
                yield Found(each.job, "problem", told, f"perdure kill {each.job}")
