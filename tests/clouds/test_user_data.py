"""What a machine does whose bucket cannot say any more whether another one is to follow."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from perdure.clouds.side.order import Config
from perdure.clouds.user_data import boot
from tests.clouds.planes import Answer, Values, address, close, serve

OWNERS = {"aws": "", "gcp": "my-project", "azure": "0000-1111/perdure"}
_OF_AZURE = "/subscriptions/0000-1111/resourceGroups/perdure/providers"
#: What sets a group to 0, of each cloud.
ENDS = {
    "aws": ("POST", "/"),
    "gcp": (
        "POST",
        "/projects/my-project/regions/here/instanceGroupManagers/group/resize",
    ),
    "azure": (
        "PATCH",
        f"{_OF_AZURE}/Microsoft.Compute/virtualMachineScaleSets/group",
    ),
}


class Provider:
    """A cloud that has a token for its machines, and no bucket for them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        #: What a bucket answers, one time after the other; the last one for good.
        self.says = [404]
        self.server = serve(self.answer)

    def answer(
        self, method: str, path: str, query: Values, headers: Message, body: Values
    ) -> Answer:
        self.asked.append((method, path))
        if path.endswith("security-credentials/"):
            return 200, "role"
        if path.endswith("security-credentials/role"):
            return 200, json.dumps({"AccessKeyId": "a", "SecretAccessKey": "b", "Token": "c"})
        if "/token" in path:
            return 200, {"access_token": "a-token"}
        if "/lab/" in path or "/b/lab/" in path:
            status = self.says.pop(0) if len(self.says) > 1 else self.says[0]
            return status, {"error": {"message": "as a bucket says it"}}
        return 200, {"sku": {"name": "Mix", "capacity": 1}}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    found = Provider()
    url = f"http://{address(found.server)}"
    for name in (
        "AWS_ENDPOINT_URL",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "STORAGE_EMULATOR_HOST",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE",
        "AZURE_RESOURCE_MANAGER_ENDPOINT",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    ):
        monkeypatch.setenv(name, url)
    monkeypatch.setenv("GCE_METADATA_HOST", address(found.server))
    monkeypatch.setenv("AWS_REGION", "here")
    yield found
    close(found.server)


def begun(cloud: str, folder: Path, where: str, until: float | None, tries: int = 2) -> int:
    """Return the exit code of a machine's program: it asks for its bucket `tries` times."""
    config = Config(cloud, "here", "group", where, "otter", "0" * 16, OWNERS[cloud], "lab", until)
    (folder / "config.json").write_text(config.text())
    names: dict[str, Any] = {"__name__": "boot"}
    exec(boot(cloud, is_folder=where.startswith("file:")), names)
    code: int = names["_begin"](str(folder), tries=tries, pause_s=0.0)
    return code


@pytest.mark.parametrize("cloud", ENDS)
def test_a_machine_whose_bucket_is_gone_has_none_follow_it(
    cloud: str, provider: Provider, tmp_path: Path
) -> None:
    where = {"aws": "s3://lab/p", "gcp": "gs://lab/p", "azure": f"file://{tmp_path}/gone"}
    assert begun(cloud, tmp_path, where[cloud], None) == 0
    assert provider.asked[-1] == ENDS[cloud]


@pytest.mark.parametrize("cloud", ENDS)
def test_a_machine_that_begins_when_the_time_is_long_over_has_none_follow_it(
    cloud: str, provider: Provider, tmp_path: Path
) -> None:
    assert begun(cloud, tmp_path, "s3://another/p", time.time() - 1) == 0
    assert provider.asked[-1] == ENDS[cloud]


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_a_machine_whose_bucket_refuses_it_for_good_has_none_follow_it(
    cloud: str, provider: Provider, tmp_path: Path
) -> None:
    """Each would be refused as this one, until the time of the job is over."""
    where = {"aws": "s3://lab/p", "gcp": "gs://lab/p"}
    provider.says = [404, 403]
    assert begun(cloud, tmp_path, where[cloud], time.time() + 999, tries=4) == 0
    assert provider.asked[-1] == ENDS[cloud]


@pytest.mark.parametrize("says", [[503], [403, 403, 503], [503, 503, 503, 403]])
def test_a_role_that_is_late_is_not_refused_for_good(
    says: list[int], provider: Provider, tmp_path: Path
) -> None:
    provider.says = says
    assert begun("aws", tmp_path, "s3://lab/p", time.time() + 999, tries=4) == 1
    assert ENDS["aws"] not in provider.asked


@pytest.mark.parametrize("cloud", ENDS)
def test_a_machine_whose_python_is_too_old_says_so_and_has_none_follow_it(
    cloud: str,
    provider: Provider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ubuntu 22.04 has 3.10, in which no module of perdure can be read."""
    monkeypatch.setattr("sys.version_info", (3, 10, 12, "final", 0))
    assert begun(cloud, tmp_path, "s3://lab/p", time.time() + 999) == 0
    monkeypatch.undo()
    assert "python3 of the image is 3.10" in capsys.readouterr().err
    assert provider.asked[-1] == ENDS[cloud]


@pytest.mark.parametrize("cloud", [*ENDS, "sky"])
def test_the_program_can_be_read_by_an_older_python(cloud: str) -> None:
    ast.parse(boot(cloud), feature_version=(3, 8))


def test_a_bucket_that_does_not_answer_leaves_the_group_as_it_is(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be back when the next machine asks."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert begun("aws", tmp_path, "s3://lab/p", time.time() + 999) == 1
    assert ENDS["aws"] not in provider.asked


def test_a_group_that_cannot_be_set_to_none_is_an_error(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", "http://127.0.0.1:9")
    assert begun("gcp", tmp_path, "gs://lab/p", None) == 1
