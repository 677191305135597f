"""Images of AWS's machines are looked at before there is a machine: against moto's list of them."""

from __future__ import annotations

from dataclasses import replace

import boto3
import pytest

from perdure.clouds import aws_permissions
from perdure.clouds.aws_images import USUAL_ROOT, read_image
from perdure.clouds.provider import Group, Provider
from perdure.clouds.providers import open_provider
from perdure.errors import UsageError
from perdure.model.settings import CloudSettings
from tests.clouds.conftest import REGION

UBUNTU, AMAZON, ARM = "ami-1e749f67", "ami-760aaa0f", "ami-0e9271c829888680e"
WANTED = CloudSettings(REGION, "s3://lab/perdure", ("m5.large",), image=UBUNTU)
GROUP = Group("perdure-otter-1", "otter", "s3://lab/perdure/cats", 0, "#", 1_900_000_000.0)


def opened(**changes: object) -> Provider:
    return open_provider("aws", replace(WANTED, **changes), "aws")  # type: ignore[arg-type]


def disks() -> list[tuple[str, bool, int]]:
    ec2 = boto3.client("ec2", region_name=REGION)
    named = {"LaunchTemplateName": GROUP.name, "Versions": ["$Latest"]}
    (version,) = ec2.describe_launch_template_versions(**named)["LaunchTemplateVersions"]
    mappings = version["LaunchTemplateData"]["BlockDeviceMappings"]
    known = ((each["DeviceName"], each["Ebs"]) for each in mappings)
    return [(name, disk["Encrypted"], disk["VolumeSize"]) for name, disk in known]


@pytest.mark.parametrize(("image", "root"), [(UBUNTU, "/dev/sda1"), (AMAZON, "/dev/xvda")])
def test_the_disk_is_the_images_root(aws: str, image: str, root: str) -> None:
    opened(image=image).start(GROUP)
    assert disks() == [(root, True, 100)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": ARM}, "is for arm64: machines are x86_64"),
        ({"disk_gib": 14}, "`disk_gib = 14`: the image `ami-1e749f67` has 15 GiB"),
        ({"image": "ami-00000000"}, "there is no image `ami-00000000` in `eu-central-1`"),
        ({"image": "/no/such"}, "there is no parameter `/no/such` in `eu-central-1`"),
    ],
)
def test_what_no_machine_could_have_is_refused(
    aws: str, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as error:
        opened(**changes).start(GROUP)
    assert "[targets.aws]" in str(error.value.hint)
    with pytest.raises(boto3.client("ec2", region_name=REGION).exceptions.ClientError):
        disks()  # nothing was made


def test_types_with_other_processors_are_refused(aws: str) -> None:
    with pytest.raises(UsageError, match=r"these are not: c6g\.xlarge \(arm64\)"):
        opened(types=("m5.large", "c6g.xlarge")).gpus()
    # The older ones have two kinds.
    assert opened(types=("t2.micro", "g5.xlarge")).gpus() == {"t2.micro": 0, "g5.xlarge": 1}


def test_doctor_says_so_and_goes_on(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # moto has no simulator of policies: tests/clouds/test_permissions.py has.
    monkeypatch.setattr(aws_permissions, "examine", lambda *asked: iter(()))
    found = {each.name: each for each in opened(image=ARM).examine(GROUP.folder)}
    assert found["image"].verdict == "problem"
    assert "machines are x86_64" in found["image"].told
    assert "quota" in found


def test_it_is_explained_without_asking_anybody() -> None:
    assert f'"DeviceName": "{USUAL_ROOT}"' in opened(image="").explained(GROUP)


def test_the_size_is_that_of_the_root_alone() -> None:
    """As DescribeImages of the EC2 API Reference has it: of another disk, and of none."""
    root = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "snap-1", "VolumeSize": 8}}
    other = {"DeviceName": "/dev/xvdb", "Ebs": {"VolumeSize": 500}}
    none = {"DeviceName": "/dev/xvdc", "VirtualName": "ephemeral0"}
    told = {"ImageId": "ami-1", "Architecture": "x86_64", "RootDeviceName": "/dev/xvda"}
    found = read_image({**told, "BlockDeviceMappings": [none, other, root]})
    assert (found.root, found.least_gib) == ("/dev/xvda", 8)
    assert read_image(told).least_gib == 0
