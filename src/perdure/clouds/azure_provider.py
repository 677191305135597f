"""Azure as a provider: a flexible scale set of one machine for each turn of a job."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from perdure.clouds import azure_prices, azure_setup
from perdure.clouds import azure_requests as requests
from perdure.clouds.provider import Found, Group, Preparation, Price, visitors
from perdure.clouds.rest import Call, Exists, Gone, Rest, Values
from perdure.clouds.side.tokens import MANAGER, manager_base
from perdure.errors import EnvironmentFailed, MissingProgram, PerdureError, UsageError
from perdure.model.settings import CloudSettings

_SKUS = {"api-version": "2021-07-01"}
_USAGES = requests.VERSION
_PERMISSIONS = {"api-version": "2022-04-01"}
_RESOURCES = {"api-version": "2021-04-01"}
_RULES = {"api-version": "2022-11-01"}
# A token is good for an hour; it is asked for anew a little before.
_EARLY_S = 300.0
_GONE_S = 180.0
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class AzureProvider:
    """A resource group in a region of Azure; see `Provider`. All but the pure touch the network."""

    wanted: CloudSettings
    target: str
    _kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def called(self) -> str:
        """Return its name."""
        return "Azure"

    @property
    def sized(self) -> bool:
        """Return that it is the type that says so."""
        return False

    def name(self, folder: str, job: str, turn: int) -> str:
        """Return the name of a turn's scale set. Pure."""
        return requests.group_name(folder, job, turn)

    def identity(self) -> str:
        """Return where the credentials are good: Azure does not tell whose they are."""
        where = f"/subscriptions/{self.wanted.subscription}/resourceGroups/{self.wanted.group}"
        try:
            self._api.send(Call("GET", where, None, _RESOURCES))
        except Gone:
            raise UsageError(
                f"there is no resource group `{self.wanted.group}`",
                hint=f"perdure cloud setup {self.target}",
            ) from None
        return f"subscription {self.wanted.subscription}, group {self.wanted.group}"

    def gpus(self) -> dict[str, int]:
        """Return how many GPUs each size has; one that may not be had there is refused."""
        return {name: _gpus(each) for name, each in self._sizes().items()}

    def _sizes(self) -> dict[str, Values]:
        """Return each type as the list of sizes has it."""
        path = f"/subscriptions/{self.wanted.subscription}/providers/Microsoft.Compute/skus"
        query = {**_SKUS, "$filter": f"location eq '{self.wanted.region}'"}
        told = {
            str(each["name"]): each
            for each in self._values(path, query)
            if each.get("resourceType") == "virtualMachines" and not is_refused(each)
        }
        lacking = [each for each in self.wanted.types if each not in told]
        if lacking:
            raise UsageError(
                f"`{self.wanted.region}` has no machines `{', '.join(lacking)}` for you",
                hint=f"`types` in `[targets.{self.target}]`; az vm list-skus --all",
            )
        return {each: told[each] for each in self.wanted.types}

    def explained(self, group: Group) -> str:
        """Return the call as `az rest` takes it. Pure."""
        return requests.words(requests.scale_set(self.wanted, group)) + "\n"

    def start(self, group: Group) -> None:
        """Make the scale set."""
        call = requests.scale_set(self.wanted, group)
        found = requests.problems(call)
        if found:
            raise UsageError(f"Azure would refuse `{group.name}`: {'; '.join(found)}")
        try:
            # A set that is there would be given a machine again by the same call.
            self._api.send(Call("GET", call.path, None, call.query))
        except Gone:
            self._api.send(call)
        except Exists:
            return

    def forget(self, name: str) -> None:
        """Delete a scale set with its machines; return once it is gone, or well on its way."""
        if not self._api.made(requests.deletion(self.wanted, name)):
            return
        until = time.monotonic() + _GONE_S
        look = Call("GET", f"{requests.sets_path(self.wanted)}/{name}", None, requests.VERSION)
        while time.monotonic() < until:
            try:
                self._api.send(look)
            except Gone:
                return
            time.sleep(_LOOK_S)

    def groups(self, folder: str) -> dict[str, tuple[str, int]]:
        """Return job and wanted machines of a folder's scale sets."""
        found = self._tagged(f"{requests.sets_path(self.wanted)}", folder)
        return {
            name: (job, int(each.get("sku", {}).get("capacity", 0)))
            for name, (job, each) in found.items()
        }

    def templates(self, folder: str) -> dict[str, str]:  # noqa: ARG002 - the protocol's
        """Return nothing: a scale set has its template in it."""
        return {}

    def machines(self, folder: str) -> dict[str, str]:
        """Return the jobs of a folder's machines, by name: those of a set have its tags."""
        path = f"{requests.resources(self.wanted)}/Microsoft.Compute/virtualMachines"
        return {name: job for name, (job, _) in self._tagged(path, folder).items()}

    def end_machines(self, ids: list[str]) -> None:
        """End machines."""
        path = f"{requests.resources(self.wanted)}/Microsoft.Compute/virtualMachines"
        for each in ids:
            query = {**requests.VERSION, "forceDeletion": "true"}
            self._api.made(Call("DELETE", f"{path}/{each}", None, query))

    def prices(self) -> Mapping[str, Price]:
        """Return what an hour of each size costs, by Azure's public list."""
        if manager_base() != MANAGER:
            return {}  # of other clouds it tells nothing
        return azure_prices.prices(self.wanted.types, self.wanted.region)

    def examine(self, folder: str) -> Iterator[Found]:  # noqa: ARG002 - the protocol's
        """Yield what is found of machines, permissions, quotas and who may visit."""
        told = (f"{name} ({count} GPUs)" if count else name for name, count in self.gpus().items())
        yield Found("machines", "ok", ", ".join(told))
        yield from self._permissions()
        yield from self._quotas()
        if self.wanted.opened_to:
            yield self._visitors()

    def preparation(self) -> Preparation:
        """Return what role, network and bucket are made by: commands of `az`. Pure."""
        return azure_setup.preparation(self.wanted)

    @property
    def _api(self) -> Rest:
        return Rest(manager_base(), "Azure", self.target, self._token)

    def _tagged(self, path: str, folder: str) -> dict[str, tuple[str, Values]]:
        """Return job and values of the things at a path that a folder has, by name."""
        found = {}
        for each in self._values(path, requests.VERSION):
            tags = each.get("tags") or {}
            if tags.get(requests.TAG) == requests.tag_of(folder):
                found[str(each["name"])] = (str(tags.get(requests.JOB_TAG, "")), each)
        return found

    def _values(self, path: str, query: Mapping[str, str]) -> list[Values]:
        """Return what all pages of a list hold."""
        found: list[Values] = []
        while True:
            page = self._api.send(Call("GET", path, None, query))
            found += page.get("value", [])
            if not (link := page.get("nextLink")):
                return found
            # The next page's address, of which the provider's own is known.
            parts = urlsplit(str(link))
            path, query = parts.path, dict(parse_qsl(parts.query))

    def _permissions(self) -> Iterator[Found]:
        """Yield of each permission whether it is there: "Permissions - List For Resource Group"."""
        path = f"{requests.resources(self.wanted)}/Microsoft.Authorization/permissions"
        try:
            answer = self._api.send(Call("GET", path, None, _PERMISSIONS))["value"]
        except PerdureError as error:
            yield Found("permissions", "warning", f"not told: {error.message}")
            return
        remedy = f"perdure cloud setup {self.target} --explain"
        for each in azure_setup.IN_GROUP:
            denied = Found(each, "problem", "permission denied", remedy)
            yield Found(each, "ok", "allowed") if allows(answer, each) else denied

    def _visitors(self) -> Found:
        """Return whether those who may visit are let in: "Security Rules - Get"."""
        rule = f"{requests.NETWORK}/securityRules/{azure_setup.opening_rule(self.wanted)}"
        where = f"{requests.resources(self.wanted)}/Microsoft.Network/networkSecurityGroups/{rule}"
        try:
            found = self._api.send(Call("GET", where, None, _RULES)).get("properties", {})
        except Gone:
            return visitors(self.wanted, self.target, None)
        except PerdureError as error:
            return Found("ssh_from", "warning", f"not told: {error.message}")
        # Of one network `az` makes a word, of several a list.
        several = found.get("sourceAddressPrefixes") or [found.get("sourceAddressPrefix", "")]
        return visitors(self.wanted, self.target, [each for each in several if each])

    def _quotas(self) -> Iterator[Found]:
        where = f"providers/Microsoft.Compute/locations/{self.wanted.region}/usages"
        path = f"/subscriptions/{self.wanted.subscription}/{where}"
        # "vCPU quotas": spot machines have one for all sizes, others one for each family as well.
        families = {str(each.get("family", "")).lower() for each in self._sizes().values()}
        counted = {"lowprioritycores"} if self.wanted.market == "spot" else {"cores", *families}
        for each in self._api.send(Call("GET", path, None, _USAGES))["value"]:
            metric = str(each["name"]["value"])
            if metric.lower() in counted:
                left = int(each["limit"]) - int(each["currentValue"])
                told, remedy = f"{metric}: {left} left", "ask for more: the portal, Quotas"
                verdict = Found("quota", "problem", told, remedy)
                yield Found("quota", "ok", told) if left > 0 else verdict

    def _token(self) -> str:
        """Return a token of the user's usual credentials, asked for anew when it is old.

        Raises:
            MissingProgram: the library is not installed.
            EnvironmentFailed: there are no credentials that Azure takes.
        """
        if self._kept.get("until", 0.0) > time.time():
            return str(self._kept["token"])
        try:
            from azure.core.exceptions import ClientAuthenticationError
            from azure.identity import CredentialUnavailableError, DefaultAzureCredential
        except ImportError as error:
            raise MissingProgram(
                "Azure needs the library azure-identity, which is not installed",
                program="azure-identity",
                hint="pip install 'perdure[cli,azure]'",
            ) from error
        try:
            found = DefaultAzureCredential().get_token(f"{MANAGER}/.default")
        except (CredentialUnavailableError, ClientAuthenticationError):
            raise EnvironmentFailed(
                "no credentials for Azure were found", hint="az login"
            ) from None
        self._kept.update(token=found.token, until=found.expires_on - _EARLY_S)
        return str(found.token)


def allows(granted: list[Values], action: str) -> bool:
    """Return whether permissions with their wildcards allow an action. Pure."""
    return any(
        _matches(each.get("actions", []), action)
        and not _matches(each.get("notActions", []), action)
        for each in granted
    )


def is_refused(sku: Values) -> bool:
    """Return whether a size may not be had in its region: a zone that lacks it is none. Pure.

    `ResourceSkuRestrictions` in the REST API reference: of a location, or of a zone.
    """
    return any(str(each.get("type")) == "Location" for each in sku.get("restrictions") or ())


def _matches(patterns: list[str], action: str) -> bool:
    return any(fnmatch.fnmatchcase(action.lower(), each.lower()) for each in patterns)


def _gpus(sku: Values) -> int:
    told = {each["name"]: each["value"] for each in sku.get("capabilities", ())}
    return int(told.get("GPUs", 0))
