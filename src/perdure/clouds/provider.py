"""What every cloud can do for jobs; targets and commands know nothing else of one.

`explained` and `name` are pure. Everything else asks the provider, with a time limit, and raises
`EnvironmentFailed` where there are no credentials or not the permissions, `HostUnreachable` where
the provider does not answer, `UsageError` for what it cannot give.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from perdure.clouds.side.door import PORT
from perdure.errors import EnvironmentFailed
from perdure.model.settings import CloudSettings

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Group:
    """A group of one machine for a job's turn, as any provider is asked for it.

    `folder` is the project's in the bucket, `gpus` how many its machine has to have at least;
    `deadline` is in unix seconds, None where it is not known yet. `kit` names perdure's own modules
    in the bucket. `cpus` and `memory_gib` are for providers that are told how large a machine is.
    """

    name: str
    job: str
    folder: str
    gpus: int
    user_data: str
    deadline: float | None
    kit: str = ""
    cpus: float | None = None
    memory_gib: float | None = None


class Found(NamedTuple):
    """What was found of one thing that jobs need: how it is, and what would mend it."""

    name: str
    verdict: Verdict
    told: str
    remedy: str = ""


class Price(NamedTuple):
    """What an hour of a type of machine costs in dollars, None where that is not told."""

    spot: float | None
    on_demand: float | None

    def line(self, kind: str, wanted: CloudSettings) -> str:
        """Return what it costs in the market that is wanted, and what that saves. Pure."""
        hour = self.spot if wanted.market == "spot" else self.on_demand
        if hour is None:
            return f"{kind}: the {wanted.market} price is not told"
        line = f"{kind}: ${hour:.4g} an hour, ${hour * wanted.max_hours:.2f} at most"
        if wanted.market == "spot" and self.on_demand:
            share = 1 - hour / self.on_demand
            line += f"; on demand ${self.on_demand:.4g}: {share:.0%} saved"
        return f"{line} ({wanted.max_hours:g} h)"


def no_quota(called: str, names: Iterable[str], target: str) -> EnvironmentFailed:
    """Return the error of who may not have a single machine. Pure."""
    return EnvironmentFailed(
        f"{called} lends no such machine: a quota is 0: {', '.join(names)}",
        hint=f"perdure doctor {target}; ask for more in the provider's console, or other `types`",
    )


def visitors(wanted: CloudSettings, target: str, found: Collection[str] | None) -> Found:
    """Return whether those networks are let in that may visit, None: there is no rule. Pure."""
    told = {each if "/" in each else f"{each}/32" for each in found or ()}
    lacking = [each for each in wanted.opened_to if each not in told]
    more = sorted(told - {*wanted.opened_to})
    remedy = f"perdure cloud setup {target}"
    if lacking:
        return Found("ssh_from", "problem", f"not let in yet: {', '.join(lacking)}", remedy)
    if more:
        return Found("ssh_from", "warning", f"still let in: {', '.join(more)}", remedy)
    return Found("ssh_from", "ok", f"{', '.join(wanted.opened_to)}, at port {PORT}")


class Preparation(Protocol):
    """What an account needs once, before its first job: roles, a bucket, a network."""

    def setup_text(self) -> str:
        """Return the calls that make it, and the least set of permissions. Pure."""

    def teardown_text(self) -> str:
        """Return the calls that undo it, but for the bucket: jobs are in it. Pure."""

    def set_up(self) -> Iterator[str]:
        """Yield what was made, and what was there already."""

    def tear_down(self) -> Iterator[str]:
        """Yield what was deleted, and what was not there."""


class Provider(Protocol):
    """A region of a cloud, with the user's usual credentials."""

    @property
    def wanted(self) -> CloudSettings:
        """Return the settings of its target."""

    @property
    def called(self) -> str:
        """Return what it is called where one waits for it."""

    @property
    def sized(self) -> bool:
        """Return whether `--cpus` and `--memory` say how large a job's machine is."""

    def name(self, folder: str, job: str, turn: int) -> str:
        """Return the name of the group of a job's turn: the same for the same, and of no other."""

    def identity(self) -> str:
        """Return whose credentials these are."""

    def gpus(self) -> dict[str, int]:
        """Return how many GPUs each type of machine has; one that the region lacks is refused."""

    def explained(self, group: Group) -> str:
        """Return the calls that start a job's turn, as the provider's own tool takes them."""

    def start(self, group: Group) -> None:
        """Make the group of a job's turn; one that is there is found, not made again."""

    def forget(self, name: str) -> None:
        """Delete a group with its machines, and its template; none is right too."""

    def groups(self, folder: str) -> dict[str, tuple[str, int]]:
        """Return job and wanted machines of the groups that a project's folder has, by name."""

    def templates(self, folder: str) -> dict[str, str]:
        """Return the jobs of the templates that a project's folder has, by name."""

    def machines(self, folder: str) -> dict[str, str]:
        """Return the jobs of the machines that a project's folder has, by their ids."""

    def end_machines(self, ids: list[str]) -> None:
        """End machines, whatever they are at."""

    def prices(self) -> Mapping[str, Price]:
        """Return what an hour of each type costs now, of those that are told of.

        Raises:
            PerdureError: the provider does not let its prices be asked for, or does not answer.
        """

    def examine(self, folder: str) -> Iterator[Found]:
        """Yield what is found of machines, image, permissions and quota; makes nothing."""

    def preparation(self) -> Preparation:
        """Return what the account needs once. Pure."""
