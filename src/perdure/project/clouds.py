"""`[targets.NAME]` of a cloud: which keys it has, and what may stand in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import UNSET

from perdure.model.settings import CloudSettings, TargetSettings
from perdure.project import tables

AWS = "aws"
KINDS = (AWS,)
KEYS = (
    "region",
    "bucket",
    "types",
    "market",
    "max_hours",
    "max_restarts",
    "disk_gib",
    "image",
    "profile",
    "subnets",
)
_NEEDED = {
    "region": "such as `eu-central-1`",
    "bucket": "such as `s3://lab/perdure`",
    "types": 'such as `["g5.xlarge", "g4dn.xlarge"]`',
}
_LISTS = ("types", "subnets")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_TYPE = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+")
_IMAGE = re.compile(r"ami-[0-9a-f]+|/[A-Za-z0-9._/-]+")
_PROFILE = re.compile(r"[A-Za-z0-9_+=,.@-]{1,128}")
_SUBNET = re.compile(r"subnet-[0-9a-f]+")
# General purpose buckets: "Bucket naming rules" in the S3 user guide.
_BUCKET = re.compile(
    r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._-]*)+/?|file:///[^\0]+"
)


def problems(table: tables.TargetTable) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the values, each for itself."""
    patterns = {"region": _REGION, "bucket": _BUCKET, "image": _IMAGE, "profile": _PROFILE}
    words = {
        "region": "no region of AWS: write `eu-central-1`",
        "bucket": "no folder of a bucket: write `s3://lab/perdure`",
        "image": "neither an AMI (`ami-0123abcd`) nor the name of a parameter",
        "profile": "no name of an instance profile",
    }
    for key, pattern in patterns.items():
        value = getattr(table, key)
        if value is not UNSET and not pattern.fullmatch(value):
            yield key, f"`{value}` is {words[key]}"
    for key, pattern, what in (("types", _TYPE, "type of machine"), ("subnets", _SUBNET, "subnet")):
        for each in () if getattr(table, key) is UNSET else getattr(table, key):
            if not pattern.fullmatch(each):
                yield key, f"`{each}` is no {what}"
    if table.types is not UNSET and not table.types:
        yield "types", "is empty: name at least one"


def misfits(whole: tables.TargetTable, table: tables.TargetTable) -> Iterator[tuple[str, str]]:
    """Yield what of one layer's table does not fit a cloud, and what all of them lack."""
    for key, example in _NEEDED.items():
        if getattr(whole, key) is UNSET:
            yield key, f"is missing: {example}"
    for key in table.__struct_fields__:
        if getattr(table, key) is not UNSET and key not in (*KEYS, "kind"):
            yield key, f'is not a key of `kind = "{whole.kind}"`'


def strangers(table: tables.TargetTable) -> Iterator[tuple[str, str]]:
    """Yield the keys of clouds that stand in the table of another kind of target."""
    for key in KEYS:
        if getattr(table, key) is not UNSET:
            yield key, f'is a key of `kind = "{AWS}"` only'


def settings_of(given: Mapping[str, Any]) -> TargetSettings:
    """Return a cloud's settings of the keys that somebody wrote."""
    own: dict[str, Any] = {
        key: tuple(given[key]) if key in _LISTS else given[key] for key in KEYS if key in given
    }
    own["bucket"] = own["bucket"].rstrip("/")
    return TargetSettings("", str(given["kind"]), cloud=CloudSettings(**own))
