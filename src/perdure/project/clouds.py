"""`[targets.NAME]` of a cloud: which keys it has, and what may stand in them. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from perdure.model.settings import CloudSettings, TargetSettings

AWS, GCP, AZURE, SKY = "aws", "gcp", "azure", "sky"
KINDS = (AWS, GCP, AZURE, SKY)
_EVERY = (
    "region",
    "bucket",
    "folder",
    "types",
    "market",
    "max_hours",
    "max_restarts",
    "lease_s",
    "disk_gib",
    "image",
    "engine",
)
_COMMON = (*_EVERY, "profile", "subnets", "ssh_from")
KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        AWS: _COMMON,
        GCP: (*_COMMON, "project"),
        AZURE: (*_COMMON, "subscription", "group", "account"),
        SKY: (*_EVERY, "account", "infra"),
    }
)
_NEEDED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        AWS: {
            "region": "such as `eu-central-1`",
            "bucket": "such as `s3://lab/perdure`",
            "types": 'such as `["g5.xlarge", "g4dn.xlarge"]`',
        },
        GCP: {
            "project": "such as `my-project-123`",
            "region": "such as `europe-west4`",
            "bucket": "such as `gs://lab/perdure`",
            "types": 'such as `["g2-standard-4"]`',
        },
        AZURE: {
            "subscription": "its id, as `az account show` has it",
            "group": "the resource group, such as `perdure`",
            "account": "the storage account of the bucket",
            "region": "such as `westeurope`",
            "bucket": "such as `az://jobs/perdure`: container and folder",
            "types": 'such as `["Standard_NC4as_T4_v3"]`',
        },
        SKY: {"bucket": "such as `s3://lab/perdure`"},
    }
)
# What the buckets of SkyPilot's jobs need beside, by how their addresses begin.
_OF_BUCKETS = MappingProxyType(
    {
        "s3": ("region", "the bucket's, such as `eu-central-1`"),
        "az": ("account", "the storage account of the bucket"),
    }
)
_LISTS = ("types", "subnets", "infra", "ssh_from")
_OWN_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FOLDER = r"(/[A-Za-z0-9][A-Za-z0-9._-]*)+/?|file:///[^\0]+"
_Rule = tuple[re.Pattern[str], str]
# Of each kind: "Bucket naming rules" (S3), "Bucket names" (Cloud Storage), "Naming and referencing
# containers" (Azure); names of regions, machines, images and networks as the providers write them.
_RULES: Mapping[str, Mapping[str, _Rule]] = MappingProxyType(
    {
        AWS: {
            "region": (re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]"), "no region of AWS: `eu-central-1`"),
            "bucket": (
                re.compile(rf"s3://[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]{_FOLDER}"),
                "no folder of a bucket: write `s3://lab/perdure`",
            ),
            "types": (re.compile(r"[a-z0-9-]+\.[a-z0-9-]+"), "no type of machine"),
            "image": (
                re.compile(r"ami-[0-9a-f]+|/[A-Za-z0-9._/-]+"),
                "neither an AMI (`ami-0123abcd`) nor a parameter",
            ),
            "profile": (re.compile(r"[A-Za-z0-9_+=,.@-]{1,128}"), "no name of an instance profile"),
            "subnets": (re.compile(r"subnet-[0-9a-f]+"), "no subnet"),
        },
        GCP: {
            "project": (re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"), "no id of a project"),
            "region": (re.compile(r"[a-z]+-[a-z]+[0-9]+"), "no region of GCP: `europe-west4`"),
            "bucket": (
                re.compile(rf"gs://[a-z0-9][a-z0-9._-]{{1,61}}[a-z0-9]{_FOLDER}"),
                "no folder of a bucket: write `gs://lab/perdure`",
            ),
            "types": (re.compile(r"[a-z0-9]+(-[a-z0-9]+)+"), "no type of machine"),
            "image": (
                re.compile(r"projects/[a-z0-9.:-]+/global/images/(family/)?[a-z0-9-]+"),
                "no image: write `projects/P/global/images/family/F`",
            ),
            "profile": (
                re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9](@[a-z0-9.-]+)?"),
                "no service account",
            ),
            "subnets": (
                re.compile(r"(projects/[a-z0-9.:-]+/)?regions/[a-z0-9-]+/subnetworks/[a-z0-9-]+"),
                "no subnet: write `regions/R/subnetworks/S`",
            ),
        },
        AZURE: {
            "subscription": (
                re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
                "no id of a subscription",
            ),
            "group": (re.compile(r"[A-Za-z0-9_().-]{0,89}[A-Za-z0-9_()-]"), "no resource group"),
            "account": (re.compile(r"[a-z0-9]{3,24}"), "no storage account"),
            "region": (re.compile(r"[a-z][a-z0-9]+"), "no region of Azure: `westeurope`"),
            "bucket": (
                re.compile(rf"az://[a-z0-9](-?[a-z0-9]){{2,62}}{_FOLDER}"),
                "no folder of a container: write `az://jobs/perdure`",
            ),
            "types": (re.compile(r"(Standard|Basic)_[A-Za-z0-9_-]+"), "no size of machine"),
            "image": (
                re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+:[\w.-]+|/subscriptions/[\w./-]+"),
                "no image: write `PUBLISHER:OFFER:SKU:VERSION`",
            ),
            "profile": (re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}"), "no managed identity"),
            "subnets": (
                re.compile(r"/subscriptions/[\w./-]+/subnets/[\w.-]+"),
                "no id of a subnet",
            ),
        },
        SKY: {
            "region": (re.compile(r"[a-z0-9-]+"), "no region of a bucket: `eu-central-1`"),
            "account": (re.compile(r"[a-z0-9]{3,24}"), "no storage account"),
            "bucket": (
                re.compile(rf"(s3|gs|az)://[a-z0-9][a-z0-9._-]{{1,61}}[a-z0-9]{_FOLDER}"),
                "no folder of a bucket: write `s3://lab/perdure`",
            ),
            "types": (re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*"), "no kind of GPU: write `L4`"),
            # "infra" in SkyPilot's YAML: cloud[/region[/zone]], `*` for any cloud.
            "infra": (re.compile(r"([a-z0-9]+|\*)(/[^\s/]+)*"), "neither a cloud nor a region"),
            "image": (re.compile(r"[^\s]+"), "no image: write `docker:ubuntu:24.04`"),
        },
    }
)


def words_for(kind: str) -> str:
    """Return what has to be written for a target of a cloud, on one line."""
    needed = "; ".join(f"`{key}`: {example}" for key, example in _NEEDED[kind].items())
    return f'`[targets.{kind}]` with `kind = "{kind}"`; {needed}'


def problems(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the values of a table, whatever cloud it is of."""
    if given.get("types") == []:
        yield "types", "is empty: name at least one"
    for each in given.get("ssh_from", ()):
        try:
            ipaddress.IPv4Network(each)
        except ValueError as error:
            yield "ssh_from", f"`{each}` is no network of IPv4: {error}; write `192.0.2.0/24`"
    yield from folder_problems(given)


def folder_problems(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the name of a project's folder on what people share."""
    if "folder" in given and not _OWN_FOLDER.fullmatch(given["folder"]):
        yield (
            "folder",
            f"`{given['folder']}` is no name of a folder: letters, digits, `.`, `_`, `-`",
        )


def missing(whole: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what all layers of a cloud lack, and what in one of them is none of that cloud's."""
    kind = whole["kind"]
    needed = dict(_NEEDED[kind])
    if kind == SKY:
        more = _OF_BUCKETS.get(str(whole.get("bucket", "")).partition(":")[0])
        needed |= {} if more is None else {more[0]: more[1]}
    for key, example in needed.items():
        if key not in whole:
            yield key, f"is missing: {example}"
    for key, (pattern, what) in _RULES[kind].items():
        values = given.get(key, ())
        for each in values if key in _LISTS else (values,) * (key in given):
            if not pattern.fullmatch(each):
                yield key, f"`{each}` is {what}"


def settings_of(given: Mapping[str, Any]) -> TargetSettings:
    """Return a cloud's settings of the keys that somebody wrote."""
    kind = str(given["kind"])
    own: dict[str, Any] = {
        key: tuple(given[key]) if key in _LISTS else given[key]
        for key in KEYS[kind]
        if key in given
    }
    own["bucket"] = own["bucket"].rstrip("/")
    if "ssh_from" in own:
        own["ssh_from"] = _networks(own["ssh_from"])
    return TargetSettings("", kind, cloud=CloudSettings(**own))


def _networks(given: tuple[str, ...]) -> tuple[str, ...]:
    """Return networks as every provider takes them: `192.0.2.1/32` for one address, none twice.

    Azure refuses a rule whose networks overlap.
    """
    each = (ipaddress.IPv4Network(one) for one in given)
    return tuple(str(one) for one in ipaddress.collapse_addresses(each))
