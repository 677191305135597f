"""The least that GCP has to allow, and the commands that make it: service account and bucket. Pure.

Permissions: IAM permissions reference. The role of the machines ends groups of the project whose
names begin with `perdure-`: "Resource attributes for IAM Conditions".
"""

from __future__ import annotations

from perdure.clouds.commanding import ByCommands, Command
from perdure.clouds.gcp_requests import account_of
from perdure.model.settings import CloudSettings
from perdure.moving.address import parse_address

ROLE = "perdureInstance"
MACHINE = ("compute.instanceGroupManagers.get", "compute.instanceGroupManagers.update")
PERSON = (
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
    "compute.machineTypes.list",
    "compute.regions.get",
    "compute.subnetworks.use",
    "compute.subnetworks.useExternalIp",
    "iam.serviceAccounts.actAs",
)
_OWN = 'resource.name.extract("instanceGroupManagers/{name}").startsWith("perdure-")'


def setup_commands(wanted: CloudSettings) -> tuple[Command, ...]:
    """Return what makes bucket, service account and the two things that it may do."""
    address, account = parse_address(wanted.bucket), account_of(wanted)
    in_project = ("--project", wanted.project)
    bucket = f"gs://{address.bucket}"
    member = ("--member", f"serviceAccount:{account}")
    objects = f"projects/_/buckets/{address.bucket}/objects/{address.folder}/"
    below = f'resource.name.startsWith("{objects}") || resource.type == "{_BUCKET}"'
    return (
        (
            *("gcloud", "storage", "buckets", "create", bucket, *in_project),
            *("--location", wanted.region, "--uniform-bucket-level-access"),
            "--public-access-prevention",
        ),
        ("gcloud", "iam", "service-accounts", "create", account.partition("@")[0], *in_project),
        *(() if wanted.subnets else (_closed(account, in_project),)),
        (
            *("gcloud", "iam", "roles", "create", ROLE, *in_project),
            *("--permissions", ",".join(MACHINE)),
        ),
        (
            *("gcloud", "projects", "add-iam-policy-binding", wanted.project, *member),
            *("--role", f"projects/{wanted.project}/roles/{ROLE}"),
            *("--condition", f"title=perdure,expression={_OWN}"),
        ),
        (
            *("gcloud", "storage", "buckets", "add-iam-policy-binding", bucket, *member),
            *("--role", "roles/storage.objectUser"),
            *("--condition", f"title=perdure,expression={below}"),
        ),
    )


_BUCKET = "storage.googleapis.com/Bucket"
_RULE = "perdure-closed"


def _closed(account: str, in_project: tuple[str, str]) -> Command:
    """Return what lets nobody in to the machines of a service account, before any other rule.

    "Pre-populated rules in the default network" let ssh in from anywhere. A network of the user's
    own is the user's affair.
    """
    return (
        *("gcloud", "compute", "firewall-rules", "create", _RULE, *in_project),
        *("--network", "default", "--direction", "INGRESS", "--action", "DENY"),
        *("--rules", "all", "--priority", "100", "--target-service-accounts", account),
    )


def teardown_commands(wanted: CloudSettings) -> tuple[Command, ...]:
    """Return what undoes it, but for the bucket: jobs are in it."""
    in_project = ("--project", wanted.project, "--quiet")
    rule = ("gcloud", "compute", "firewall-rules", "delete", _RULE, *in_project)
    return (
        *(() if wanted.subnets else (rule,)),
        ("gcloud", "iam", "service-accounts", "delete", account_of(wanted), *in_project),
        ("gcloud", "iam", "roles", "delete", ROLE, *in_project),
    )


def preparation(wanted: CloudSettings) -> ByCommands:
    """Return the commands, and what whoever submits jobs may need."""
    return ByCommands(
        setup_commands(wanted),
        teardown_commands(wanted),
        "in the project, as a role of your own",
        PERSON,
    )
