"""The least that GCP has to allow, and the commands that make it: service account and bucket. Pure.

Permissions: IAM permissions reference. The role of the machines is for all groups of the project:
"Resource attributes for IAM Conditions" lists the types that a condition can tell apart, and
managed instance groups are none of them; where a condition asks for their name it is never met.
"""

from __future__ import annotations

import hashlib

from perdure.clouds.commanding import ByCommands, Command, Needed, text
from perdure.clouds.gcp_requests import account_of
from perdure.clouds.side.door import PORT
from perdure.model.settings import CloudSettings
from perdure.moving.address import parse_address

ROLE = "perdureInstance"
MACHINE = ("compute.instanceGroupManagers.get", "compute.instanceGroupManagers.update")
IN_PROJECT = (
    "compute.instanceGroupManagers.create",
    "compute.instanceGroupManagers.delete",
    "compute.instanceGroupManagers.get",
    "compute.instanceGroupManagers.list",
    "compute.instanceGroupManagers.update",
    "compute.instanceTemplates.create",
    "compute.instanceTemplates.delete",
    "compute.instanceTemplates.get",
    "compute.instanceTemplates.list",
    "compute.instanceTemplates.useReadOnly",
    "compute.instances.create",
    "compute.instances.delete",
    "compute.instances.list",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setServiceAccount",
    "compute.disks.create",
    # What begins is asked for until it is done: of templates and of a region's groups.
    "compute.globalOperations.get",
    "compute.machineTypes.list",
    "compute.regionOperations.get",
    "compute.regions.get",
    "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp",
    "iam.serviceAccounts.actAs",
)
# Of a person the list of prices is asked in the name of the project; jobs run without it.
_FOR_PRICES = ("serviceusage.services.use",)
_FOR_VISITORS = ("compute.firewalls.get",)
# What the role `roles/storage.objectUser` has of it: large objects go up in parts.
ON_BUCKET = (
    "storage.multipartUploads.abort",
    "storage.multipartUploads.create",
    "storage.multipartUploads.listParts",
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
_OBJECTS = "roles/storage.objectUser"
_BUCKET = "storage.googleapis.com/Bucket"


def setup_commands(wanted: CloudSettings) -> tuple[Command, ...]:
    """Return what makes bucket, service account and the two things that it may do."""
    account, in_project = account_of(wanted), ("--project", wanted.project)
    bucket = f"gs://{parse_address(wanted.bucket).bucket}"
    return (
        (
            *("gcloud", "storage", "buckets", "create", bucket, *in_project),
            *("--location", wanted.region, "--uniform-bucket-level-access"),
            "--public-access-prevention",
        ),
        ("gcloud", "iam", "service-accounts", "create", account.partition("@")[0], *in_project),
        *(() if wanted.subnets else (_closed(account, in_project),)),
        *(_opened(wanted) if wanted.opened_to else ()),
        (
            *("gcloud", "iam", "roles", "create", ROLE, *in_project),
            *("--permissions", ",".join(MACHINE)),
        ),
        _ending("add", wanted),
        _storing("add", wanted),
    )


def _ending(verb: str, wanted: CloudSettings) -> Command:
    """Return what lets machines change groups, or takes that from them."""
    return (
        *("gcloud", "projects", f"{verb}-iam-policy-binding", wanted.project),
        *("--member", f"serviceAccount:{account_of(wanted)}"),
        # Said, or gcloud asks whether to have one where others of the project have.
        *("--role", f"projects/{wanted.project}/roles/{ROLE}", "--condition=None"),
    )


def _storing(verb: str, wanted: CloudSettings) -> Command:
    """Return what lets machines use the target's folder of the bucket, or takes that from them."""
    address = parse_address(wanted.bucket)
    objects = f"projects/_/buckets/{address.bucket}/objects/{address.folder}/"
    below = f'resource.name.startsWith("{objects}") || resource.type == "{_BUCKET}"'
    bucket = f"gs://{address.bucket}"
    return (
        *("gcloud", "storage", "buckets", f"{verb}-iam-policy-binding", bucket),
        *("--member", f"serviceAccount:{account_of(wanted)}", "--role", _OBJECTS),
        *("--condition", f"title=perdure,expression={below}"),
    )


def _rule(account: str) -> str:
    return f"{account.partition('@')[0]}-closed"


def _closed(account: str, in_project: tuple[str, str]) -> Command:
    """Return what lets nobody in to the machines of a service account, before any other rule.

    "Pre-populated rules in the default network" let ssh in from anywhere. A network of the user's
    own is the user's affair.
    """
    return (
        *("gcloud", "compute", "firewall-rules", "create", _rule(account), *in_project),
        *("--network", "default", "--direction", "INGRESS", "--action", "DENY"),
        *("--rules", "all", "--priority", "100", "--target-service-accounts", account),
    )


def opening_rule(wanted: CloudSettings) -> str:
    """Return the name of the rule that lets visitors in: one for each folder of a bucket."""
    digest = hashlib.sha256(wanted.bucket.encode()).hexdigest()[:8]
    return f"{account_of(wanted).partition('@')[0]}-ssh-{digest}"


def _opened(wanted: CloudSettings) -> tuple[Command, ...]:
    """Return what lets visitors in before all are kept out: a rule, and its networks as of now."""
    rules = ("gcloud", "compute", "firewall-rules")
    named = (opening_rule(wanted), "--project", wanted.project)
    networks = ("--source-ranges", ",".join(wanted.opened_to))
    return (
        (
            *(*rules, "create", *named, "--network", "default", "--direction", "INGRESS"),
            *("--action", "ALLOW", "--rules", f"tcp:{PORT}", "--priority", "90", *networks),
            *("--target-service-accounts", account_of(wanted)),
        ),
        # One that is there already has the networks of when it was made.
        (*rules, "update", *named, *networks),
    )


def teardown_commands(wanted: CloudSettings) -> tuple[Command, ...]:
    """Return what undoes what is this target's alone. The bucket stays: jobs are in it."""
    named = (opening_rule(wanted), "--project", wanted.project, "--quiet")
    closing = ("gcloud", "compute", "firewall-rules", "delete", *named)
    return (_storing("remove", wanted), *((closing,) if wanted.opened_to else ()))


def shared_commands(wanted: CloudSettings) -> tuple[Command, ...]:
    """Return what deletes what other targets of the project may need, too, but for the role.

    A role that is deleted keeps its id for 37 days ("Delete a custom role"), in which no setup
    could make it; bound to nobody it does nothing.
    """
    account, in_project = account_of(wanted), ("--project", wanted.project, "--quiet")
    rule = ("gcloud", "compute", "firewall-rules", "delete", _rule(account), *in_project)
    return (
        _ending("remove", wanted),
        *(() if wanted.subnets else (rule,)),
        ("gcloud", "iam", "service-accounts", "delete", account, *in_project),
    )


def preparation(wanted: CloudSettings) -> ByCommands:
    """Return the commands, and what whoever submits jobs may need."""
    bucket = f"gs://{parse_address(wanted.bucket).bucket}"
    seeing = Needed("in the project, for `perdure doctor` to see `ssh_from`", _FOR_VISITORS)
    return ByCommands(
        setup_commands(wanted),
        teardown_commands(wanted),
        (
            Needed("in the project, as a role of your own", IN_PROJECT),
            Needed("in the project, to be told prices", _FOR_PRICES),
            *((seeing,) if wanted.opened_to else ()),
            Needed(f"on the bucket {bucket}, as `{_OBJECTS}` has it", ON_BUCKET),
        ),
        (
            f"`{account_of(wanted)}` stays: other targets may need it. Without such:",
            *text(shared_commands(wanted)).splitlines(),
            f"the role `{ROLE}` stays: it is nobody's then, and deleted it keeps its id for weeks",
        ),
    )
