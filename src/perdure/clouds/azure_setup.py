"""The least that Azure has to allow, and the commands that make it: group, identity, bucket. Pure.

Actions: "Azure permissions for Compute" and "for Storage" in the RBAC reference.
"""

from __future__ import annotations

import json

from perdure.clouds import azure_requests as requests
from perdure.clouds.commanding import ByCommands, Command
from perdure.model.settings import CloudSettings
from perdure.moving.address import parse_address

ROLE = "perdure-instance"
_COMPUTE = "Microsoft.Compute"
MACHINE = (
    f"{_COMPUTE}/virtualMachineScaleSets/read",
    f"{_COMPUTE}/virtualMachineScaleSets/write",
)
PERSON = (
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
)


def setup_commands(wanted: CloudSettings) -> tuple[Command, ...]:
    """Return what makes resource group, network without a way in, identity, roles and bucket."""
    address = parse_address(wanted.bucket)
    where = ("--resource-group", wanted.group, "--subscription", wanted.subscription)
    scope = f"/subscriptions/{wanted.subscription}/resourceGroups/{wanted.group}"
    storage = f"{scope}/providers/Microsoft.Storage/storageAccounts/{wanted.account}"
    container = f"{storage}/blobServices/default/containers/{address.bucket}"
    role = {"Name": ROLE, "Actions": list(MACHINE), "AssignableScopes": [scope]}
    described = json.dumps({**role, "Description": "machines of perdure end their own group"})
    closed = ("--allow-blob-public-access", "false", "--min-tls-version", "TLS1_2")
    network, tagged = requests.NETWORK, ("--tags", f"{requests.TAG}={wanted.bucket}")
    return (
        _az("group", "create", "--name", wanted.group, "--location", wanted.region, *where[2:]),
        # A security group lets nobody in from outside by its default rules.
        _az("network", "nsg", "create", "--name", network, *tagged, *where),
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
        _assigned(wanted, ROLE, scope),
        _assigned(wanted, "Storage Blob Data Contributor", container),
    )


def teardown_commands(wanted: CloudSettings) -> tuple[Command, ...]:
    """Return what undoes it, but for group and bucket: jobs are in it."""
    where = ("--resource-group", wanted.group, "--subscription", wanted.subscription)
    return (
        _az("identity", "delete", "--name", wanted.profile, *where),
        _az("role", "definition", "delete", "--name", ROLE, *where),
        _az("network", "vnet", "delete", "--name", requests.NETWORK, *where),
        _az("network", "nsg", "delete", "--name", requests.NETWORK, *where),
    )


def preparation(wanted: CloudSettings) -> ByCommands:
    """Return the commands, and what whoever submits jobs may need."""
    return ByCommands(
        setup_commands(wanted), teardown_commands(wanted), "in the resource group", PERSON
    )


def _az(*words: str) -> Command:
    return ("az", *words)


def _assigned(wanted: CloudSettings, role: str, scope: str) -> Command:
    """Return what gives the machines' identity a role; its number is asked for then."""
    where = ("--resource-group", wanted.group, "--subscription", wanted.subscription)
    who = ("az", "identity", "show", "--name", wanted.profile, *where)
    return (
        *("az", "role", "assignment", "create", "--role", role, "--scope", scope),
        *("--assignee-principal-type", "ServicePrincipal", "--assignee-object-id"),
        (*who, "--query", "principalId", "--output", "tsv"),
    )
