"""GCP, asked by plain HTTP: the calls of `gcp_requests`, with the user's usual credentials.

google-auth is imported on use. The Compute library takes 2.6 s to import; these calls need none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from perdure.clouds import gcp_prices, gcp_setup
from perdure.clouds import gcp_requests as requests
from perdure.clouds.provider import Found, Group, Preparation, Price, no_quota, visitors
from perdure.clouds.rest import SCOPE, Call, Exists, Gone, Rest
from perdure.clouds.side.tokens import compute_base
from perdure.errors import EnvironmentFailed, PerdureError, UsageError
from perdure.model.settings import CloudSettings

Values = dict[str, Any]

_RESOURCES = "https://cloudresourcemanager.googleapis.com/"
_OTHER_RESOURCES = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER"
_DONE_S = 180.0
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class GcpProvider:
    """A region of GCP; see `Provider`. Every method but the pure ones touches the network."""

    wanted: CloudSettings
    target: str
    _kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def called(self) -> str:
        """Return its name."""
        return "GCP"

    @property
    def sized(self) -> bool:
        """Return that it is the type that says so."""
        return False

    def name(self, folder: str, job: str, turn: int) -> str:
        """Return the name of a turn's group and template. Pure."""
        return requests.group_name(folder, job, turn)

    def identity(self) -> str:
        """Return whose credentials these are, and the project that they are asked for."""
        self._token()
        who = getattr(self._credentials(), "service_account_email", None) or "a user"
        return f"{who}, project {self.wanted.project}"

    def gpus(self) -> dict[str, int]:
        """Return how many GPUs each type of machine has."""
        return {
            name: sum(int(one["guestAcceleratorCount"]) for one in each.get("accelerators", ()))
            for name, each in self._machine_types().items()
        }

    def _machine_types(self) -> dict[str, Values]:
        """Return each type as `machineTypes` has it; one that the region lacks is refused."""
        found: dict[str, Values] = {}
        for each in self.wanted.types:
            query = {"filter": f"name={each}"}
            path = f"projects/{self.wanted.project}/aggregated/machineTypes"
            zones = self._compute.all(Call("GET", path, None, query), "items")
            offered = [
                machine
                for told in zones
                if told[SCOPE].startswith(f"zones/{self.wanted.region}-")
                for machine in told.get("machineTypes", ())
            ]
            if not offered:
                raise UsageError(
                    f"`{self.wanted.region}` has no machines `{each}`",
                    hint=f"`types` in `[targets.{self.target}]`",
                )
            found[each] = offered[0]
        return found

    def explained(self, group: Group) -> str:
        """Return the calls as `curl` takes them. Pure."""
        calls = requests.starting(self.wanted, group)
        return "\n".join(requests.words(call, compute_base()) for call in calls) + "\n"

    def start(self, group: Group) -> None:
        """Make template and managed instance group.

        Raises:
            EnvironmentFailed: no quota allows for such a machine; a group would wait for good.
        """
        limits = self._limits()
        none = [name for name, (limit, _) in limits.items() if limit == 0]
        gpus = {name for name in limits if name.endswith("_GPUS")} if group.gpus else set()
        # One kind of GPU that may be had will do.
        if any(name.endswith("CPUS") for name in none) or (gpus and gpus <= {*none}):
            raise no_quota("GCP", none, self.target)
        for call in requests.starting(self.wanted, group):
            found = requests.problems(call)
            if found:
                raise UsageError(f"GCP would refuse `{call.path}`: {'; '.join(found)}")
            try:
                self._done(self._compute.send(call))
            except Exists:
                continue

    def forget(self, name: str) -> None:
        """Delete a group with its machines, then its template."""
        templates = f"projects/{self.wanted.project}/global/instanceTemplates"
        for path in (requests.groups_path(self.wanted), templates):
            try:
                self._done(self._compute.send(Call("DELETE", f"{path}/{name}")))
            except Gone:
                continue

    def groups(self, folder: str) -> dict[str, tuple[str, int]]:
        """Return job and wanted machines of a folder's groups."""
        found = self._compute.all(Call("GET", requests.groups_path(self.wanted)), "items")
        known = ((each, requests.whose(each.get("description"))) for each in found)
        return {
            str(each["name"]): (job, int(each.get("targetSize", 0)))
            for each, (whose, job) in known
            if whose == folder
        }

    def templates(self, folder: str) -> dict[str, str]:
        """Return the jobs of a folder's templates."""
        path = f"projects/{self.wanted.project}/global/instanceTemplates"
        found = self._compute.all(Call("GET", path), "items")
        known = ((each, requests.whose(each.get("description"))) for each in found)
        return {str(each["name"]): job for each, (whose, job) in known if whose == folder}

    def machines(self, folder: str) -> dict[str, str]:
        """Return the jobs of a folder's machines, by zone and name."""
        wanted = f"labels.{requests.LABEL}={requests.label_of(folder)}"
        path = f"projects/{self.wanted.project}/aggregated/instances"
        zones = self._compute.all(Call("GET", path, None, {"filter": wanted}), "items")
        return {
            f"{told[SCOPE].removeprefix('zones/')}/{each['name']}": _job_of(each)
            for told in zones
            for each in told.get("instances", ())
        }

    def end_machines(self, ids: list[str]) -> None:
        """End machines."""
        for each in ids:
            zone, _, name = each.partition("/")
            path = f"projects/{self.wanted.project}/zones/{zone}/instances/{name}"
            self._compute.made(Call("DELETE", path))

    def prices(self) -> Mapping[str, Price]:
        """Return what an hour of each type costs: the prices of its parts, added up."""
        who = self._credentials()
        # "Set the quota project": whoever is a person asks in the name of a project.
        project = getattr(who, "quota_project_id", None) or self.wanted.project
        is_person = not hasattr(who, "service_account_email")
        more = {"X-Goog-User-Project": project} if is_person else {}
        asked = Rest(gcp_prices.base(), "GCP", self.target, self._token, more=more)
        return gcp_prices.prices(asked, self._machine_types(), self.wanted.region)

    def examine(self, folder: str) -> Iterator[Found]:  # noqa: ARG002 - the protocol's
        """Yield what is found of machines, permissions, quotas and who may visit."""
        told = (f"{name} ({count} GPUs)" if count else name for name, count in self.gpus().items())
        yield Found("machines", "ok", ", ".join(told))
        yield from self._permissions()
        yield from self._quotas()
        if self.wanted.opened_to:
            yield self._visitors()

    def preparation(self) -> Preparation:
        """Return what role, network and bucket are made by: commands of `gcloud`. Pure."""
        return gcp_setup.preparation(self.wanted)

    @property
    def _compute(self) -> Rest:
        return Rest(compute_base(), "GCP", self.target, self._token)

    def _permissions(self) -> Iterator[Found]:
        """Yield of each permission whether it is there: projects.testIamPermissions."""
        base = os.environ.get(_OTHER_RESOURCES, _RESOURCES).rstrip("/") + "/"
        asked = Rest(base, "GCP", self.target, self._token)
        body: Values = {"permissions": list(gcp_setup.IN_PROJECT)}
        path = f"v1/projects/{self.wanted.project}:testIamPermissions"
        try:
            allowed = asked.send(Call("POST", path, body)).get("permissions", [])
        except PerdureError as error:
            yield Found("permissions", "warning", f"not told: {error.message}")
            return
        remedy = f"perdure cloud setup {self.target} --explain"
        for each in gcp_setup.IN_PROJECT:
            denied = Found(each, "problem", "permission denied", remedy)
            yield Found(each, "ok", "allowed") if each in allowed else denied

    def _visitors(self) -> Found:
        """Return whether those who may visit are let in."""
        try:
            rule = requests.rule(self.wanted, gcp_setup.opening_rule(self.wanted))
            found = self._compute.send(rule)
        except Gone:
            return visitors(self.wanted, self.target, None)
        except PerdureError as error:
            return Found("ssh_from", "warning", f"not told: {error.message}")
        return visitors(self.wanted, self.target, found.get("sourceRanges", ()))

    def _limits(self) -> dict[str, tuple[float, float]]:
        """Return limit and use of each quota that counts."""
        path = f"projects/{self.wanted.project}/regions/{self.wanted.region}"
        told = self._compute.send(Call("GET", path)).get("quotas", ())
        known = {each["metric"]: each for each in told}
        counted = metrics(self.wanted.market, self._machine_types(), known)
        amounts = (known[each] for each in counted)
        return {
            each["metric"]: (float(each["limit"]), float(each.get("usage", 0))) for each in amounts
        }

    def _quotas(self) -> Iterator[Found]:
        for metric, (limit, used) in self._limits().items():
            left = limit - used
            remedy = "ask for more: the console, IAM & Admin, Quotas"
            told = f"{metric}: {left:g} left"
            yield Found("quota", "ok" if left > 0 else "problem", told, "" if left > 0 else remedy)

    def _done(self, operation: Values) -> None:
        """Return once an operation is done. Raises UsageError, EnvironmentFailed: it failed."""
        until = time.monotonic() + _DONE_S
        while operation.get("status", "DONE") != "DONE" and time.monotonic() < until:
            time.sleep(_LOOK_S)
            path = str(operation["selfLink"]).partition("/compute/v1/")[2]
            operation = self._compute.send(Call("GET", path))
        errors = operation.get("error", {}).get("errors", ())
        if errors:
            said = "; ".join(str(each.get("message", each.get("code"))) for each in errors)
            if "quota" in said.lower():
                raise EnvironmentFailed(
                    f"GCP refuses: a quota is reached: {said}", hint=f"perdure doctor {self.target}"
                )
            raise UsageError(f"GCP refuses: {said}")

    def _token(self) -> str:
        """Return a token of the user's usual credentials, asked for again when it is old."""
        from perdure.clouds.gcp_credentials import refreshed

        return refreshed(self._credentials())

    def _credentials(self) -> Any:  # noqa: ANN401 - the library has no types that count here
        from perdure.clouds.gcp_credentials import credentials

        if "credentials" not in self._kept:
            self._kept["credentials"] = credentials()
        return self._kept["credentials"]


def metrics(market: str, types: Mapping[str, Values], known: Mapping[str, Values]) -> list[str]:
    """Return the quotas of a region that count, of those that it is `known` to have. Pure.

    "Allocation quotas", Compute Engine: processors, and GPUs by their kind. Spot machines count
    against the ordinary ones until preemptible ones were granted ("Spot VMs", quotas).
    """
    kinds = (
        str(each["guestAcceleratorType"])
        for machine in types.values()
        for each in machine.get("accelerators", ())
    )
    plain = (each.removeprefix("nvidia-").removeprefix("tesla-") for each in kinds)
    gpus = sorted({f"NVIDIA_{each.upper().replace('-', '_')}_GPUS" for each in plain})
    found = []
    for each in ("CPUS", *gpus):
        own = f"PREEMPTIBLE_{each}"
        granted = market == "spot" and float(known.get(own, {}).get("limit", 0)) > 0
        found.append(own if granted else each)
    return [each for each in found if each in known]


def _job_of(machine: Values) -> str:
    items = {each["key"]: each["value"] for each in machine.get("metadata", {}).get("items", ())}
    return str(items.get(requests.JOB_KEY, ""))
