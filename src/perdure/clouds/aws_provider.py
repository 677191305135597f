"""AWS as a provider: a launch template and an Auto Scaling group for each turn of a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from perdure.clouds import aws_network, aws_permissions, aws_prices, aws_setup
from perdure.clouds import aws_requests as requests
from perdure.clouds.aws_account import Account
from perdure.clouds.aws_images import PROCESSOR, USUAL_ROOT, Image, check_image
from perdure.clouds.provider import Found, Group, Preparation, Price, no_quota, visitors
from perdure.errors import UsageError
from perdure.model.settings import CloudSettings


@dataclass(frozen=True, slots=True)
class AwsProvider:
    """A region of AWS; see `Provider`."""

    wanted: CloudSettings
    target: str
    _accounts: list[Account] = field(default_factory=list, compare=False, repr=False)

    @property
    def account(self) -> Account:
        """Return the region with the user's credentials, the same at each call."""
        if not self._accounts:
            self._accounts.append(Account(self.wanted.region, self.target))
        return self._accounts[0]

    @property
    def called(self) -> str:
        """Return its name."""
        return "AWS"

    @property
    def sized(self) -> bool:
        """Return that it is the type that says so."""
        return False

    def name(self, folder: str, job: str, turn: int) -> str:
        """Return the name of a turn's group and template. Pure."""
        return requests.group_name(folder, job, turn)

    def identity(self) -> str:
        """Return whose credentials these are."""
        return self.account.identity()

    def gpus(self) -> dict[str, int]:
        """Return how many GPUs each type of machine has."""
        return self.account.gpus(self.wanted.types)

    def explained(self, group: Group) -> str:
        """Return the calls as `aws` takes them. Pure."""
        named = self._image(group.gpus)
        image = named if named.startswith("ami-") else f"resolve:ssm:{named}"
        usual = Image(image, PROCESSOR, USUAL_ROOT, 0)
        groups = tuple(f"ID-OF-{each}" for each in aws_network.names(self.wanted))
        wish = self._wish(group, usual, self.wanted.subnets or ("SUBNETS",), groups)
        return "\n".join(requests.words(*call) for call in requests.calls(wish)) + "\n"

    def start(self, group: Group) -> None:
        """Make template, group and the action at the deadline.

        Raises:
            EnvironmentFailed: no quota allows for such a machine; a group would wait for good.
            UsageError: the image is for other processors, or larger than the disk; there is no
                security group yet for those who may visit.
        """
        quotas = self.account.quotas(self.wanted.types, self.wanted.market)
        if quotas and not any(cores is None or cores > 0 for cores in quotas.values()):
            raise no_quota("AWS", quotas, self.target)
        image = self.account.image(self._image(group.gpus))
        check_image(image, self.wanted, self.target)
        subnets = self.wanted.subnets or self.account.subnets()
        groups = aws_network.ids(self.account, self.wanted)
        self.account.start(self._wish(group, image, subnets, groups))

    def forget(self, name: str) -> None:
        """Delete a group with its machines, and its template."""
        self.account.forget(name)

    def groups(self, folder: str) -> dict[str, tuple[str, int]]:
        """Return job and wanted machines of a folder's groups."""
        return self.account.groups(folder)

    def templates(self, folder: str) -> dict[str, str]:
        """Return the jobs of a folder's launch templates."""
        return self.account.templates(folder)

    def machines(self, folder: str) -> dict[str, str]:
        """Return the jobs of a folder's machines."""
        return self.account.machines(folder)

    def end_machines(self, ids: list[str]) -> None:
        """End machines."""
        self.account.end_machines(ids)

    def prices(self) -> Mapping[str, Price]:
        """Return what an hour costs: spot as it is now, in the cheapest zone."""
        return aws_prices.prices(self.account, self.wanted.types)

    def examine(self, folder: str) -> Iterator[Found]:
        """Yield what is found of machines, image, permissions, quota and who may visit."""
        yield from self._machines()
        yield from self._permissions(folder)
        yield from self._quota()
        if self.wanted.opened_to:
            found = aws_network.let_in(self.account, self.wanted)
            yield visitors(self.wanted, self.target, found)

    def preparation(self) -> Preparation:
        """Return what bucket, role and profile are made by: calls of ours. Pure."""
        return aws_setup.ByCalls(self.wanted, self.account)

    def _image(self, gpus: int) -> str:
        """Return the image of a machine, or the parameter that has it. Pure."""
        return self.wanted.image or (requests.GPU_IMAGE if gpus else requests.CPU_IMAGE)

    def _wish(
        self, group: Group, image: Image, subnets: tuple[str, ...], groups: tuple[str, ...]
    ) -> requests.Wish:
        return requests.Wish(
            name=group.name,
            job=group.job,
            folder=group.folder,
            image=image.ami,
            root=image.root,
            types=self.wanted.types,
            market=self.wanted.market,
            disk_gib=self.wanted.disk_gib,
            profile=self.wanted.profile,
            subnets=subnets,
            groups=groups,
            user_data=group.user_data,
            deadline=group.deadline,
        )

    def _machines(self) -> Iterator[Found]:
        has = self.gpus()
        told = (f"{name} ({count} GPUs)" if count else name for name, count in has.items())
        yield Found("machines", "ok", ", ".join(told))
        image = self.account.image(self._image(max(has.values())))
        subnets = self.wanted.subnets or self.account.subnets()
        try:
            check_image(image, self.wanted, self.target)
            yield Found("image", "ok", f"{image.ami}, in {len(subnets)} subnets")
        except UsageError as error:
            yield Found("image", "problem", error.message, str(error.hint))

    def _permissions(self, folder: str) -> Iterator[Found]:
        machine = self.wanted.types[0]
        image = self.account.image(self._image(self.account.gpus((machine,))[machine]))
        denied = self.account.denied(machine, image.ami, self.wanted.profile, folder)
        remedy = f"perdure cloud setup {self.target} --explain"
        for permission, why in denied.items():
            found = Found(permission, "problem", why, remedy)
            yield found if why else Found(permission, "ok", "allowed")
        tried = [action for permission in denied for action in permission.split(", ")]
        policy = aws_setup.person_policy(self.wanted)
        yield from aws_permissions.examine(self.account, policy, tried)

    def _quota(self) -> Iterator[Found]:
        for what, cores in self.account.quotas(self.wanted.types, self.wanted.market).items():
            if cores is None:
                where = "the provider's console: Service Quotas"
                yield Found("quota", "warning", f"{what}: not told", where)
            elif cores == 0:
                remedy = "ask for more: Service Quotas, EC2"
                yield Found("quota", "problem", f"{what}: 0 cores", remedy)
            else:
                yield Found("quota", "ok", f"{what}: {cores:g} cores")
