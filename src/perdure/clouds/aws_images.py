"""Images of machines as EC2 describes them: for which processors, and what their disk is. Pure.

DescribeImages, Amazon EC2 API Reference. Ubuntu calls the root `/dev/sda1`, Debian and Amazon Linux
`/dev/xvda`: a mapping of another name is a second disk, and leaves the root as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perdure.errors import UsageError
from perdure.model.settings import CloudSettings

# What perdure brings to its machines runs on these: see `kit`.
PROCESSOR = "x86_64"
USUAL_ROOT = "/dev/sda1"


@dataclass(frozen=True, slots=True)
class Image:
    """An AMI: `root` is what its first disk is called, which has at least so many GiB."""

    ami: str
    processor: str
    root: str
    least_gib: int


def read_image(told: Mapping[str, Any]) -> Image:
    """Return an image of an answer's `Images`."""
    root = str(told.get("RootDeviceName") or USUAL_ROOT)
    sizes = (
        int(each.get("Ebs", {}).get("VolumeSize", 0))
        for each in told.get("BlockDeviceMappings", ())
        if each.get("DeviceName") == root
    )
    return Image(str(told["ImageId"]), str(told["Architecture"]), root, max(sizes, default=0))


def check_image(image: Image, wanted: CloudSettings, target: str) -> None:
    """Return if machines of a target can have an image.

    Raises:
        UsageError: it is for other processors, or larger than their disk.
    """
    if image.processor != PROCESSOR:
        raise UsageError(
            f"the image `{image.ami}` is for {image.processor}: machines are {PROCESSOR}",
            hint=f"`image` in `[targets.{target}]`",
        )
    if wanted.disk_gib < image.least_gib:
        raise UsageError(
            f"`disk_gib = {wanted.disk_gib}`: the image `{image.ami}` has {image.least_gib} GiB",
            hint=f"`disk_gib` in `[targets.{target}]`: {image.least_gib} or more",
        )


def check_processors(types: Mapping[str, Mapping[str, Any]], target: str) -> None:
    """Return if all types of machine, as DescribeInstanceTypes has them, run what perdure brings.

    Raises:
        UsageError: of some the processor is another one.
    """
    known = {name: each["ProcessorInfo"]["SupportedArchitectures"] for name, each in types.items()}
    others = [
        f"{name} ({', '.join(each)})" for name, each in known.items() if PROCESSOR not in each
    ]
    if others:
        raise UsageError(
            f"machines are {PROCESSOR}, and these are not: {', '.join(others)}",
            hint=f"`types` in `[targets.{target}]`",
        )
