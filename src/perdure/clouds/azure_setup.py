"""The least that Azure has to allow, and the commands that make it: group, identity, bucket. Pure.

Actions: "Azure permissions for Compute" and "for Storage" in the RBAC reference.
"""

from __future__ import annotations

import hashlib
import json

from perdure.clouds import azure_requests as requests
from perdure.clouds.commanding import ByCommands, Command, Needed, text
from perdure.clouds.side.door import PORT
from perdure.model.settings import CloudSettings
from perdure.moving.address import parse_address

ROLE = "perdure-instance"
_FIRST, _LAST = 100, 4096
_COMPUTE = "Microsoft.Compute"
MACHINE = (
    f"{_COMPUTE}/virtualMachineScaleSets/read",
    f"{_COMPUTE}/virtualMachineScaleSets/write",
)
# Sizes and quotas are a subscription's: a role in the resource group has no say in them.
IN_SUBSCRIPTION = (
    f"{_COMPUTE}/skus/read",
    f"{_COMPUTE}/locations/usages/read",
)
IN_GROUP = (
    f"{_COMPUTE}/virtualMachineScaleSets/read",
    f"{_COMPUTE}/virtualMachineScaleSets/write",
    f"{_COMPUTE}/virtualMachineScaleSets/delete",
    f"{_COMPUTE}/virtualMachines/read",
    f"{_COMPUTE}/virtualMachines/write",
    f"{_COMPUTE}/virtualMachines/delete",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
    "Microsoft.Network/networkInterfaces/write",
    "Microsoft.Network/publicIPAddresses/write",
    "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    # `perdure doctor` asks for one's own permissions.
    "Microsoft.Authorization/permissions/read",
)
_FOR_VISITORS = ("Microsoft.Network/networkSecurityGroups/securityRules/read",)
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
# "Access blobs": an owner of the account may not either without one of these roles.
_STORING = "Storage Blob Data Contributor"
IN_CONTAINER = tuple(f"{_BLOBS}/{each}" for each in ("read", "write", "delete", "add/action"))
# Where somebody has logged in as a person.
_ONESELF = ("az", "ad", "signed-in-user", "show", "--query", "id", "--output", "tsv")


def setup_commands(wanted: CloudSettings) -> tuple[Command, ...]:
    """Return what makes resource group, network without a way in, identity, roles and bucket."""
    address, where = parse_address(wanted.bucket), _where(wanted)
    role = {"Name": role_of(wanted), "Actions": list(MACHINE), "AssignableScopes": [_scope(wanted)]}
    described = json.dumps({**role, "Description": "machines of perdure end their own group"})
    closed = ("--allow-blob-public-access", "false", "--min-tls-version", "TLS1_2")
    network, tagged = requests.NETWORK, ("--tags", f"{requests.TAG}={wanted.bucket}")
    return (
        _az("group", "create", "--name", wanted.group, "--location", wanted.region, *where[2:]),
        # A security group lets nobody in from outside by its default rules.
        _az("network", "nsg", "create", "--name", network, *tagged, *where),
        *((_opened(wanted),) if wanted.opened_to else ()),
        _az(
            *("network", "vnet", "create", "--name", network, "--subnet-name", network),
            *("--network-security-group", network, *tagged, *where),
        ),
        _az("identity", "create", "--name", wanted.profile, *tagged, *where),
        _az("storage", "account", "create", "--name", wanted.account, *closed, *where),
        _az(
            *("storage", "container-rm", "create", "--name", address.bucket),
            *("--storage-account", wanted.account, *where),
        ),
        _az("role", "definition", "create", "--role-definition", described),
        _assigned("create", role_of(wanted), _scope(wanted), wanted),
        _assigned("create", _STORING, _container(wanted), wanted),
        (
            *_az("role", "assignment", "create", "--role", _STORING),
            *("--scope", _container(wanted), "--assignee-principal-type", "User"),
            *("--assignee-object-id", _ONESELF),
        ),
    )


def teardown_commands(wanted: CloudSettings) -> tuple[Command, ...]:
    """Return what undoes what is this target's alone. Group and bucket stay: jobs are in it."""
    named = ("--name", opening_rule(wanted), "--nsg-name", requests.NETWORK, *_where(wanted))
    closing = _az("network", "nsg", "rule", "delete", *named)
    storing = _assigned("delete", _STORING, _container(wanted), wanted)
    return (storing, *((closing,) if wanted.opened_to else ()))


def shared_commands(wanted: CloudSettings) -> tuple[Command, ...]:
    """Return what deletes what other targets of the resource group may need, too."""
    where = _where(wanted)
    return (
        # A role that is assigned to anybody cannot be deleted.
        _assigned("delete", role_of(wanted), _scope(wanted), wanted),
        _az("identity", "delete", "--name", wanted.profile, *where),
        _az("role", "definition", "delete", "--name", role_of(wanted), "--scope", _scope(wanted)),
        _az("network", "vnet", "delete", "--name", requests.NETWORK, *where),
        _az("network", "nsg", "delete", "--name", requests.NETWORK, *where),
    )


def preparation(wanted: CloudSettings) -> ByCommands:
    """Return the commands, and what whoever submits jobs may need."""
    container = f"{wanted.account}/{parse_address(wanted.bucket).bucket}"
    seeing = Needed("in the resource group, for `perdure doctor` to see `ssh_from`", _FOR_VISITORS)
    return ByCommands(
        setup_commands(wanted),
        teardown_commands(wanted),
        (
            Needed("in the subscription, as `Reader` has it", IN_SUBSCRIPTION),
            Needed(f"in the resource group {wanted.group}, as a role of your own", IN_GROUP),
            *((seeing,) if wanted.opened_to else ()),
            Needed(f"in the container {container}, as `{_STORING}` has it", IN_CONTAINER),
        ),
        (
            f"`{wanted.profile}` and network stay: other targets may need them. Without such:",
            *text(shared_commands(wanted)).splitlines(),
        ),
    )


def role_of(wanted: CloudSettings) -> str:
    """Return the name of the machines' role: in a directory there is one of a name.

    It can be assigned in the resource group that it was made for, and in no other.
    """
    return f"{ROLE}-{hashlib.sha256(_scope(wanted).lower().encode()).hexdigest()[:8]}"


def opening_rule(wanted: CloudSettings) -> str:
    """Return the name of the rule that lets visitors in: one for each container and folder."""
    return f"perdure-ssh-{_digest(wanted)}"


def _digest(wanted: CloudSettings) -> str:
    whole = f"{wanted.account}\0{wanted.bucket}"
    return hashlib.sha256(whole.encode()).hexdigest()[:8]


def _opened(wanted: CloudSettings) -> Command:
    """Return what lets visitors in; said again it is as said last.

    "Security Rules - Create Or Update": in a group no two rules have one priority, 100 to 4096.
    """
    priority = _FIRST + int(_digest(wanted), 16) % (_LAST - _FIRST + 1)
    return _az(
        *("network", "nsg", "rule", "create", "--name", opening_rule(wanted)),
        *("--nsg-name", requests.NETWORK, "--priority", str(priority), "--direction", "Inbound"),
        *("--access", "Allow", "--protocol", "Tcp", "--destination-port-ranges", str(PORT)),
        *("--source-address-prefixes", *wanted.opened_to, *_where(wanted)),
    )


def _scope(wanted: CloudSettings) -> str:
    return f"/subscriptions/{wanted.subscription}/resourceGroups/{wanted.group}"


def _container(wanted: CloudSettings) -> str:
    storage = f"{_scope(wanted)}/providers/Microsoft.Storage/storageAccounts/{wanted.account}"
    return f"{storage}/blobServices/default/containers/{parse_address(wanted.bucket).bucket}"


def _where(wanted: CloudSettings) -> tuple[str, ...]:
    return ("--resource-group", wanted.group, "--subscription", wanted.subscription)


def _az(*words: str) -> Command:
    return ("az", *words)


def _assigned(verb: str, role: str, scope: str, wanted: CloudSettings) -> Command:
    """Return what gives the machines' identity a role, or takes it. Its number is asked for."""
    named = ("az", "identity", "show", "--name", wanted.profile, *_where(wanted))
    number = (*named, "--query", "principalId", "--output", "tsv")
    who: Command = ("--assignee", number)
    if verb == "create":
        who = ("--assignee-principal-type", "ServicePrincipal", "--assignee-object-id", number)
    return (*("az", "role", "assignment", verb, "--role", role, "--scope", scope), *who)
