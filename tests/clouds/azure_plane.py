"""Azure's flexible scale sets with the documented life of one of size 1, and no more.

Actions are those of "Azure permissions for Compute" in the RBAC reference.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from email.message import Message
from typing import ClassVar

from perdure.clouds import azure_setup
from perdure.model.settings import CloudSettings
from tests.clouds.planes import (
    DENIED,
    GONE,
    MACHINE,
    USER,
    Answer,
    Plane,
    Right,
    Values,
    address,
    close,
    serve,
)

_VERBS = {"PUT": "write", "PATCH": "write", "DELETE": "delete", "GET": "read"}


@dataclass
class AzurePlane(Plane):
    """A resource group with flexible scale sets, and their virtual machines."""

    subscription: str = "00000000-1111-2222-3333-444444444444"
    group: str = "perdure"
    region: str = "westeurope"
    #: Of the security group, by name.
    rules: dict[str, Values] = field(default_factory=dict)
    SIZES: ClassVar[dict[str, int]] = {"Standard_NC4as_T4_v3": 1, "Standard_D4s_v5": 0}

    @property
    def user(self) -> dict[str, str]:
        """Return the variables of a user: an identity that an app service of Azure's has."""
        self.home = serve(self._identity)
        return {
            "IDENTITY_ENDPOINT": f"http://{address(self.home)}/msi/token",
            "IDENTITY_HEADER": "a-header",
            "AZURE_RESOURCE_MANAGER_ENDPOINT": f"http://{address(self.server)}",
        }

    def _identity(
        self, method: str, path: str, query: Values, headers: Message, body: Values
    ) -> Answer:
        if headers.get("X-IDENTITY-HEADER") != "a-header":
            return DENIED
        known = {"resource": query["resource"], "token_type": "Bearer"}
        return 200, {"access_token": USER, "expires_on": str(int(time.time()) + 3600), **known}

    def wants(self, group: Values | None) -> bool:
        return group is not None and int(group["sku"]["capacity"]) > 0

    def made_of(self, group: Values) -> tuple[str, dict[str, str]]:
        profile = group["properties"]["virtualMachineProfile"]["osProfile"]
        return base64.b64decode(profile["customData"]).decode(), group["tags"]

    def variables(self, metadata: str) -> dict[str, str]:
        return {
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://{metadata}",
            "AZURE_RESOURCE_MANAGER_ENDPOINT": f"http://{address(self.server)}",
        }

    def granted(self) -> set[Right]:
        found = {("subscription", each) for each in azure_setup.IN_SUBSCRIPTION}
        return found | {("group", each) for each in azure_setup.IN_GROUP}

    def granted_to_machines(self) -> set[Right]:
        wanted = CloudSettings(
            *(self.region, "az://jobs/perdure", ("Standard_D4s_v5",)),
            subscription=self.subscription,
            group=self.group,
            account="lab",
        )
        found: set[Right] = set()
        for each in azure_setup.setup_commands(wanted):
            if each[1:4] == ("role", "definition", "create"):
                found |= {("group", action) for action in json.loads(str(each[5]))["Actions"]}
        return found

    def needed(self, method: str, path: str) -> list[Right]:
        where = f"/subscriptions/{self.subscription}"
        words = path.removeprefix(f"{where}/resourceGroups/").split("/")
        verb = _VERBS[method]
        if len(words) == 1:
            return [("group", f"Microsoft.Resources/subscriptions/resourceGroups/{verb}")]
        if words[1:2] == ["providers"]:
            _, _, provider, kind, *inner = words
            within = "/securityRules" if "securityRules" in inner else ""
            return [("group", f"{provider}/{kind}{within}/{verb}")]
        provider, *kinds = path.removeprefix(f"{where}/providers/").split("/")
        # Of the locations the name is no part of what is done.
        kinds = [kinds[0], kinds[2]] if kinds[0] == "locations" else kinds
        return [("subscription", f"{provider}/{'/'.join(kinds)}/{verb}")]

    def metadata(
        self,
        machine: str,
        method: str,
        path: str,
        query: Values,
        headers: Message,
        body: Values,
    ) -> Answer:
        if headers.get("Metadata") != "true" or "api-version" not in query:
            return 400, {"error": "Bad request"}
        words = {"vmId": machine, "vmSize": "Standard_D4s_v5", "name": machine}
        name = path.removeprefix("/metadata/")
        if name == "identity/oauth2/token":
            return 200, {"access_token": MACHINE, "expires_in": "3600"}
        if name == "scheduledevents":
            return 200, {"DocumentIncarnation": 1, "Events": self._events(machine)}
        if name == "instance/network/interface/0/ipv4/ipAddress/0":
            return 200, {"privateIpAddress": "10.0.0.4", "publicIpAddress": ""}
        if name == "loadbalancer":
            pair = {"frontendIpAddress": "127.0.0.1", "privateIpAddress": "10.0.0.4"}
            rules: Values = {"inboundRules": [], "outboundRules": []}
            return 200, {"loadbalancer": {"publicIpAddresses": [pair], **rules}}
        word = name.removeprefix("instance/compute/")
        return (200, words[word]) if word in words else GONE

    def _events(self, machine: str) -> list[Values]:
        found = self.alive.get(machine)
        if found is None or not found.told:
            return []
        at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
        event = {"EventId": "1", "EventType": "Preempt", "ResourceType": "VirtualMachine"}
        return [{**event, "Resources": [machine], "EventStatus": "Scheduled", "NotBefore": at}]

    def called(self, method: str, path: str, query: Values, body: Values) -> Answer:
        if "api-version" not in query:
            return 400, {"error": {"code": "MissingApiVersionParameter", "message": "missing"}}
        where = f"/subscriptions/{self.subscription}"
        inner = path.removeprefix(f"{where}/resourceGroups/{self.group}").strip("/")
        if not inner:
            return 200, {"name": self.group}
        if inner.startswith("providers/Microsoft.Authorization/"):
            actions = [action for where, action in self.may if where == "group"]
            return 200, {"value": [{"actions": actions, "notActions": []}]}
        if path.startswith(f"{where}/providers/Microsoft.Compute/"):
            return self._of_subscription(path, query)
        rules = "providers/Microsoft.Network/networkSecurityGroups/perdure/securityRules/"
        if inner.startswith(rules):
            rule = self.rules.get(inner.removeprefix(rules))
            return GONE if rule is None else (200, rule)
        if not inner.startswith("providers/Microsoft.Compute/"):
            return 404, {"error": {"code": "ResourceGroupNotFound", "message": "not found"}}
        kind, _, name = inner.removeprefix("providers/Microsoft.Compute/").partition("/")
        if kind == "virtualMachines":
            found = [{"name": each.name, "tags": each.tags} for each in self.alive.values()]
            return 200, {"value": found}
        return self._set(method, name, body)

    def _of_subscription(self, path: str, query: Values) -> Answer:
        if path.endswith("/skus"):
            return 200, self._page(path, query, self._sizes())
        limits = {"lowPriorityCores": 8, "cores": 8, "standardDSv5Family": 0}
        told = [
            {"name": {"value": name}, "limit": limit, "currentValue": 0}
            for name, limit in limits.items()
        ]
        return 200, {"value": told}

    def _page(self, path: str, query: Values, values: list[Values]) -> Values:
        """Return the first of a list with the address of the rest, or that rest."""
        if "$skiptoken" in query:
            return {"value": values[1:]}
        link = f"https://management.azure.com{path}?api-version=1&$skiptoken=1"
        return {"value": values[:1], "nextLink": link}

    def _set(self, method: str, name: str, body: Values) -> Answer:
        if not name:
            return 200, {"value": [{"name": key, **each} for key, each in self.groups.items()]}
        if method == "PUT":
            self.groups[name] = body
            return 201, body
        if name not in self.groups:
            return GONE
        if method == "PATCH":
            self.groups[name]["sku"].update(body["sku"])
        elif method == "DELETE":
            del self.groups[name]
            return 202, {}
        return 200, self.groups[name]

    def _sizes(self) -> list[Values]:
        return [
            {
                "resourceType": "virtualMachines",
                "name": name,
                "family": "standardDSv5Family",
                # One zone of three: the region has it.
                "restrictions": [{"type": "Zone", "values": [self.region]}],
                "capabilities": [{"name": "GPUs", "value": str(gpus)}] if gpus else [],
            }
            for name, gpus in self.SIZES.items()
        ]

    def close(self) -> None:
        super().close()
        if hasattr(self, "home"):
            close(self.home)
