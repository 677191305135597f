"""`[targets.NAME]` of a cloud, as it is written and as it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.errors import UsageError
from perdure.model.settings import CloudSettings
from perdure.project.settings import load_settings

GOOD = """\
[targets.aws]
kind = "aws"
region = "eu-central-1"
bucket = "s3://lab/perdure/"
types = ["g5.xlarge"]
"""


def load(root: Path, text: str) -> CloudSettings:
    (root / ".perdure").mkdir(exist_ok=True)
    (root / ".perdure/local.toml").write_text(text)
    found = load_settings(root, environ={"HOME": str(root)}).targets["aws"].cloud
    assert found is not None
    return found


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    found = load(tmp_path, GOOD)
    assert found == CloudSettings("eu-central-1", "s3://lab/perdure", ("g5.xlarge",))
    assert (found.market, found.max_hours, found.max_restarts) == ("spot", 24.0, 5)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("eu-central-1", "Frankfurt", ("targets.aws.region", "`Frankfurt` is no region")),
        ("s3://lab/perdure/", "s3://lab", ("targets.aws.bucket", "no folder of a bucket")),
        ("s3://lab/perdure/", "s3://lab/../x", ("targets.aws.bucket",)),
        ("s3://lab/perdure/", "gs://lab/x", ("targets.aws.bucket",)),
        ('["g5.xlarge"]', '["big one"]', ("targets.aws.types", "`big one` is no type of machine")),
        ('["g5.xlarge"]', "[]", ("targets.aws.types", "is empty")),
        ('region = "eu-central-1"\n', "", ("targets.aws.region", "is missing")),
        ('kind = "aws"', 'kind = "aws"\nhost = "x"', ("targets.aws.host", "is a key of")),
        ('kind = "aws"', 'kind = "ssh"\nhost = "x"', ("targets.aws.types", "is a key of")),
        ('kind = "aws"', 'kind = "aws"\nmarket = "black"', ("targets.aws.market",)),
        ('kind = "aws"', 'kind = "aws"\nmax_hours = 0', ("targets.aws.max_hours",)),
        ('kind = "aws"', 'kind = "aws"\nimage = "ubuntu"', ("targets.aws.image", "neither an AMI")),
        ('kind = "aws"', 'kind = "aws"\nmax_hour = 1', ("max_hour", "did you mean `max_hours`")),
    ],
)
def test_what_cannot_be_is_one_clear_error(
    tmp_path: Path, before: str, after: str, words: tuple[str, ...]
) -> None:
    assert before in GOOD
    with pytest.raises(UsageError) as refused:
        load(tmp_path, GOOD.replace(before, after))
    for word in words:
        assert word in str(refused.value) + str(refused.value.hint)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('["0.0.0.0/0"]', ("0.0.0.0/0",)),
        ("[]", ()),
        # As each provider takes them: one address, a mask, twice, and one within another.
        ('["192.0.2.7"]', ("192.0.2.7/32",)),
        ('["192.0.2.0/255.255.255.0", "192.0.2.0/24"]', ("192.0.2.0/24",)),
        (
            '["198.51.100.0/24", "192.0.2.0/24", "192.0.2.7/32"]',
            ("192.0.2.0/24", "198.51.100.0/24"),
        ),
    ],
)
def test_networks_from_which_machines_are_visited(
    tmp_path: Path, written: str, read: tuple[str, ...]
) -> None:
    for text in (GOOD, GOOGLE, AZURE):
        found = load(tmp_path, f"{text}ssh_from = {written}\n")
        assert (found.ssh_from, found.opened_to) == (read, read)
    own = load(tmp_path, f'{GOOD}ssh_from = {written}\nsubnets = ["subnet-0"]\n')
    assert (own.ssh_from, own.opened_to) == (read, ())


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('["::/0"]', ("`::/0` is no network of IPv4", "write `192.0.2.0/24`")),
        ('["192.0.2.1/24"]', ("`192.0.2.1/24` is no network", "has host bits set")),
        ('["x"]', ("`x` is no network",)),
        ('[""]', ("targets.aws.ssh_from",)),
        ('["192.0.2.0/33"]', ("`192.0.2.0/33` is no network",)),
        ('"192.0.2.0/24"', ("targets.aws.ssh_from", "array")),
        ("[1]", ("targets.aws.ssh_from",)),
    ],
)
def test_what_is_no_network(tmp_path: Path, written: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as refused:
        load(tmp_path, f"{GOOD}ssh_from = {written}\n")
    for word in ("targets.aws.ssh_from", *words):
        assert word in str(refused.value) + str(refused.value.hint)


GOOGLE = """\
[targets.aws]
kind = "gcp"
project = "my-project"
region = "europe-west4"
bucket = "gs://lab/perdure"
types = ["g2-standard-4"]
"""
AZURE = """\
[targets.aws]
kind = "azure"
subscription = "00000000-1111-2222-3333-444444444444"
group = "perdure"
account = "labstorage"
region = "westeurope"
bucket = "az://jobs/perdure"
types = ["Standard_NC4as_T4_v3"]
"""


def test_each_cloud_has_keys_of_its_own(tmp_path: Path) -> None:
    google, azure = load(tmp_path, GOOGLE), load(tmp_path, AZURE)
    assert (google.project, google.where, google.lease_s) == ("my-project", "europe-west4", 20.0)
    assert (azure.group, azure.where) == ("perdure", "westeurope/labstorage")


@pytest.mark.parametrize(
    ("text", "before", "after", "words"),
    [
        (GOOGLE, 'project = "my-project"\n', "", ("targets.aws.project", "is missing")),
        (GOOGLE, "my-project", "My Project", ("targets.aws.project", "no id of a project")),
        (GOOGLE, "europe-west4", "eu-central-1", ("targets.aws.region", "no region of GCP")),
        (GOOGLE, "gs://lab", "s3://lab", ("targets.aws.bucket", "write `gs://lab/perdure`")),
        (GOOGLE, "g2-standard-4", "g5.xlarge", ("targets.aws.types", "no type of machine")),
        (GOOGLE, "[targets.aws]", '[targets.aws]\ngroup = "x"', ("targets.aws.group", "azure")),
        (GOOGLE, "[targets.aws]", '[targets.aws]\nimage = "ami-1"', ("targets.aws.image",)),
        (GOOGLE, "[targets.aws]", "[targets.aws]\nlease_s = 1", ("targets.aws.lease_s",)),
        (AZURE, 'account = "labstorage"\n', "", ("targets.aws.account", "is missing")),
        (AZURE, "00000000-1111", "mine", ("targets.aws.subscription", "no id of a")),
        (AZURE, "labstorage", "Lab-Storage", ("targets.aws.account", "no storage account")),
        (AZURE, "az://jobs/perdure", "az://jobs", ("targets.aws.bucket", "a container")),
        (AZURE, "Standard_NC4as_T4_v3", "g5.xlarge", ("targets.aws.types", "no size")),
        (AZURE, "[targets.aws]", '[targets.aws]\nproject = "x"', ("targets.aws.project", "gcp")),
    ],
)
def test_what_cannot_be_on_gcp_and_azure(
    tmp_path: Path, text: str, before: str, after: str, words: tuple[str, ...]
) -> None:
    assert before in text
    with pytest.raises(UsageError) as refused:
        load(tmp_path, text.replace(before, after))
    for word in words:
        assert word in str(refused.value) + str(refused.value.hint)


SKY = """\
[targets.aws]
kind = "sky"
bucket = "s3://lab/perdure"
region = "eu-central-1"
types = ["L4", "A100-80GB"]
infra = ["aws", "gcp/us-west1", "*/us-east-1"]
"""


def test_skypilot_needs_no_more_than_a_bucket(tmp_path: Path) -> None:
    found = load(tmp_path, SKY)
    assert (found.infra, found.types) == (
        ("aws", "gcp/us-west1", "*/us-east-1"),
        ("L4", "A100-80GB"),
    )
    least = load(tmp_path, '[targets.aws]\nkind = "sky"\nbucket = "gs://lab/perdure"\n')
    assert (least.where, least.infra, least.types) == ("", (), ())


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('bucket = "s3://lab/perdure"\n', "", ("targets.aws.bucket", "is missing", "s3://lab")),
        ("s3://lab/perdure", "s3://lab", ("targets.aws.bucket", "no folder of a bucket")),
        ("s3://lab/perdure", "http://lab/x", ("targets.aws.bucket",)),
        ('region = "eu-central-1"\n', "", ("targets.aws.region", "is missing", "the bucket's")),
        ("s3://lab/perdure", "az://lab/perdure", ("targets.aws.account", "is missing")),
        ("L4", "L 4", ("targets.aws.types", "no kind of GPU")),
        ("gcp/us-west1", "gcp us-west1", ("targets.aws.infra", "neither a cloud nor a region")),
        ("infra =", "infar =", ("infar", "did you mean `infra`")),
        ("[targets.aws]", '[targets.aws]\nprofile = "x"', ("targets.aws.profile", "is a key of")),
        ("[targets.aws]", "[targets.aws]\nssh_from = []", ("targets.aws.ssh_from", "is a key of")),
        ('kind = "sky"', 'kind = "skye"', ("targets.aws.kind", "sky")),
    ],
)
def test_what_cannot_be_of_skypilot(
    tmp_path: Path, before: str, after: str, words: tuple[str, ...]
) -> None:
    assert before in SKY
    with pytest.raises(UsageError) as refused:
        load(tmp_path, SKY.replace(before, after))
    for word in words:
        assert word in str(refused.value) + str(refused.value.hint)
