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
