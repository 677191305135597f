"""`[targets.NAME]` of a cloud: which keys it has, and what may stand in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from perdure.model.settings import CloudSettings, TargetSettings

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

_PATTERNS = {
    "region": (_REGION, "no region of AWS: write `eu-central-1`"),
    "bucket": (_BUCKET, "no folder of a bucket: write `s3://lab/perdure`"),
    "profile": (_PROFILE, "no name of an instance profile"),
}


def problems(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the values of a table, each for itself."""
    for key, (pattern, what) in _PATTERNS.items():
        if key in given and not pattern.fullmatch(given[key]):
            yield key, f"`{given[key]}` is {what}"
    for key, pattern, what in (("types", _TYPE, "type of machine"), ("subnets", _SUBNET, "subnet")):
        for each in given.get(key, ()):
            if not pattern.fullmatch(each):
                yield key, f"`{each}` is no {what}"
    if given.get("types") == []:
        yield "types", "is empty: name at least one"


def missing(whole: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what all layers of a cloud lack, and an image in one that is none of a cloud."""
    for key, example in _NEEDED.items():
        if key not in whole:
            yield key, f"is missing: {example}"
    if "image" in given and not _IMAGE.fullmatch(given["image"]):
        yield "image", f"`{given['image']}` is neither an AMI (`ami-0123abcd`) nor a parameter"


def settings_of(given: Mapping[str, Any]) -> TargetSettings:
    """Return a cloud's settings of the keys that somebody wrote."""
    own: dict[str, Any] = {
        key: tuple(given[key]) if key in _LISTS else given[key] for key in KEYS if key in given
    }
    own["bucket"] = own["bucket"].rstrip("/")
    return TargetSettings("", str(given["kind"]), cloud=CloudSettings(**own))
