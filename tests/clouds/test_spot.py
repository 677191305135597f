"""A job on an AWS whose machines are taken away: what a user types, and what comes of it.

The AWS is moto's, with its IAM; processes stand in for machines, booted by their user-data.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from perdure.clouds import aws_iam, aws_setup
from perdure.model.settings import CloudSettings
from perdure.runtime.result import read_result
from tests.cli.command import is_one_error, perdure
from tests.clouds.conftest import REGION
from tests.clouds.machines import Machines, client
from tests.clouds.planes import Answer, Values, address, close, serve
from tests.clouds.submitter import Submitter
from tests.environments.conftest import wheel

JOB_S = 300
TIMES = 20
BUCKET = "s3://lab/perdure"
WANTED = CloudSettings(REGION, BUCKET, ("m5.large", "m5.xlarge"))
TRAINING = """\
import random, sys, time
import perdure

steps, pause_s = int(sys.argv[1]), float(sys.argv[2])
run = perdure.start(save_every=0.5)
state = {"weight": 0.0, "seen": []}
run.track(state=state)
print("from step", run.step, flush=True)
loader = run.loader(list(range(steps * 4)), batch_size=4, shuffle=True)
for epoch in run.epochs(1):
    for batch in loader:
        state["weight"] = 0.9 * state["weight"] + random.random() * sum(batch)
        run.log(weight=state["weight"])
        time.sleep(pause_s)
(run.outputs / "the result.txt").write_text(repr(state["weight"]))
print("done at", run.step, flush=True)
"""
PROJECT = """\
[project]
name = "cats"
version = "0.1"

[tool.perdure]
format = 1
package = "cats"

[tool.perdure.tasks]
train = "python train.py"
"""
_TARGET = f"""\
[targets.aws]
kind = "aws"
region = "{REGION}"
bucket = "{BUCKET}"
types = ["m5.large", "m5.xlarge"]
image = "ami-12c6146b"
max_restarts = 3
lease_s = 6
"""


@dataclass
class Cloud(Submitter):
    """A user with a project, and an AWS whose machines this test is."""

    machines: Machines
    root: tuple[str, str]

    @property
    def folder_of_machines(self) -> Path:
        return self.machines.folder

    def step(self) -> None:
        self.machines.step()

    def until_gone(self) -> None:
        """Return once the cloud has no machine, and wants none."""
        self.until(lambda: not self.machines.ids() and not self.machines.alive())

    def until_saved(self, name: str, step: int = 1) -> None:
        """Return once a machine has a checkpoint in the bucket of that step or a later one."""
        self.until(lambda: any(each >= step for each in self.saved(name)))

    def saved(self, name: str) -> list[int]:
        keys = self.s3().list_objects_v2(Bucket="lab").get("Contents", [])
        manifests = [each["Key"] for each in keys if f"/{name}/checkpoints/" in each["Key"]]
        return [int(key[-15:-5]) for key in manifests if key.endswith(".json")]

    def s3(self) -> Any:  # noqa: ANN401
        return client("s3", self.machines.url, REGION, self.root)

    def tagged(self) -> tuple[int, int, int]:
        """Return how many groups, templates and machines there are."""
        autoscaling = client("autoscaling", self.machines.url, REGION, self.root)
        groups = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        templates = self.machines.ec2.describe_launch_templates()["LaunchTemplates"]
        return len(groups), len(templates), len(self.machines.ids())


def set_up(url: str, wanted: CloudSettings) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    """Return the keys of the machines' role, and those of a user and of the provider itself."""

    def asked(service: str) -> Any:  # noqa: ANN401
        return client(service, url, REGION, ("setup", "setup"))

    iam, arn = asked("iam"), ""
    for service, operation, values in aws_setup.setup_calls(wanted):
        answer = getattr(asked(service), operation)(**values)
        arn = answer["Role"]["Arn"] if operation == "create_role" else arn
    # moto asks for it of the bucket, where S3 asks for it of each object.
    quirk = {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::lab"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [quirk]})
    iam.put_role_policy(RoleName=aws_iam.ROLE, PolicyName="quirk", PolicyDocument=document)
    person = [*aws_setup.person_policy(wanted)["Statement"], quirk]
    anything = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    keys = {}
    for name, statements in (("ada", person), ("provider", anything)):
        iam.create_user(UserName=name)
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName="perdure", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys[name] = (key["AccessKeyId"], key["SecretAccessKey"])
    # EC2 does this for its machines; moto would ask who it is.
    role = asked("sts").assume_role(RoleArn=arn, RoleSessionName="machine")
    return role["Credentials"], keys


def make_project(folder: Path, ssh_from: tuple[str, ...] = ()) -> Path:
    project = folder / "a laptop" / "cats"
    (project / ".perdure").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "train.py").write_text(TRAINING)
    (project / ".perdure/local.toml").write_text(f"{_TARGET}ssh_from = {[*ssh_from]}\n")
    return project


def price_list(method: str, path: str, query: Values, headers: Message, body: Values) -> Answer:
    """Return what GetProducts answers: an hour of any type costs ten cents on demand."""
    assert {each["Field"] for each in body["Filters"]} >= {"instanceType", "regionCode"}
    hour = {"unit": "Hrs", "pricePerUnit": {"USD": "0.1000000000"}}
    term = {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": hour}}}}
    return 200, {"FormatVersion": "aws_v1", "PriceList": [json.dumps({"terms": term})]}


@contextlib.contextmanager
def open_cloud(
    kind: type[Machines],
    aws: str,
    home: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    ssh_from: tuple[str, ...] = (),
) -> Iterator[Cloud]:
    """Yield an AWS that was set up for a user who may do no more than is needed."""
    role, keys = set_up(aws, replace(WANTED, ssh_from=ssh_from))
    # Of what was set up nobody asked who did it; from now on everybody is asked.
    monkeypatch.setattr("moto.core.responses.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    provider = keys["provider"]
    machines = kind(aws, REGION, folder, role, client("ec2", aws, REGION, provider))
    ada = {"AWS_ACCESS_KEY_ID": keys["ada"][0], "AWS_SECRET_ACCESS_KEY": keys["ada"][1]}
    prices = serve(price_list)
    environ = {**ada, "AWS_ENDPOINT_URL": aws, "HOME": str(home)}
    # moto has no price list.
    environ["AWS_ENDPOINT_URL_PRICING"] = f"http://{address(prices)}"
    try:
        yield Cloud(make_project(home, ssh_from), environ, machines, provider)
    finally:
        machines.close()
        close(prices)


@pytest.fixture
def cloud(aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    folder = tmp_path / "machines"
    folder.mkdir()
    with open_cloud(Machines, aws, tmp_path, folder, monkeypatch) as found:
        yield found


def check_cost(cost: dict[str, Any], machines: int) -> None:
    assert (cost["machines"], cost["each"][0]["kind"]) == (machines, "m5.large")
    assert 0 < cost["paid"] < cost["on_demand"]


@pytest.mark.timeout(1800)
def test_a_job_survives_its_machines_and_leaves_nothing(cloud: Cloud) -> None:
    steps = 50 * TIMES
    arguments = ("--seed", "7", "train", str(steps), "0.1")
    cloud.perdure("run", "--name", "alone", *arguments[:-1], "0")
    expected = read_result(str(cloud.project / "results/alone"))
    cloud.perdure("run", "--on", "aws", "--name", "otter", "-d", *arguments)
    assert cloud.job("otter")["state"] == "QUEUED"
    chance = random.Random(3)
    for turn in range(TIMES):
        cloud.until_saved("otter", 1 if turn == 0 else max(cloud.saved("otter")) + 1)
        machine = cloud.machines.alive()[0]
        assert cloud.job("otter")["state"] == "RUNNING"
        if chance.random() < 0.5:
            cloud.machines.notify(machine)
            cloud.until(lambda gone=machine: gone.process.poll() is not None)  # type: ignore[misc]
        else:
            cloud.machines.reclaim(machine)
    cloud.until_gone()
    found = cloud.job("otter")
    assert (found["state"], found["step"]) == ("SUCCEEDED", steps), cloud.logs()
    assert read_result(str(cloud.project / "results/otter")) == expected
    assert f"done at {steps}" in cloud.perdure("logs", "otter").out
    check_cost(json.loads(cloud.perdure("cost", "otter", "--json").out)[0], TIMES + 1)
    cloud.perdure("pull", "results", "otter", "--on", "aws", "--checkpoints")
    written = "outputs/the result.txt"
    here, alone = (cloud.project / "results" / name for name in ("otter", "alone"))
    assert (here / written).read_text() == (alone / written).read_text()
    assert [each.stat().st_size for each in here.glob("checkpoints/*/state.safetensors")]
    cloud.perdure("reap", "--on", "aws", "--yes")
    assert cloud.tagged() == (0, 0, 0)


@pytest.mark.timeout(JOB_S)
def test_a_job_that_fails_leaves_nothing(cloud: Cloud) -> None:
    cloud.perdure("run", "--on", "aws", "--name", "bad", "--retries", "0", "-d", "--", "false")
    cloud.until_gone()
    found = cloud.job("bad")
    reason = "crashed before its first step: exit code 1"
    assert (found["state"], found["reason"]) == ("FAILED", reason), cloud.logs()
    cloud.perdure("reap", "--on", "aws", "--yes")
    assert cloud.tagged() == (0, 0, 0)


@pytest.mark.timeout(JOB_S)
def test_a_cloud_is_set_up_and_that_is_undone(aws: str, tmp_path: Path) -> None:
    project = make_project(tmp_path)

    def told(*words: str) -> str:
        ended = perdure("cloud", *words, cwd=project, env={"AWS_ENDPOINT_URL": aws})
        assert ended.code == 0, ended
        return ended.out + ended.err

    explained = told("setup", "aws", "--explain")
    assert "aws iam create-role --cli-input-json" in explained
    assert '"Sid": "Groups"' in explained
    assert client("iam", aws, REGION, ("a", "b")).list_roles()["Roles"] == []
    assert told("setup", "aws", "--yes").count(": done") == 6
    assert "create_role: was there already" in told("setup", "aws", "--yes")
    assert told("teardown", "aws", "--yes").count(": done") == 4
    assert told("teardown", "aws", "--yes").count("there was none") == 4
    assert client("iam", aws, REGION, ("a", "b")).list_roles()["Roles"] == []


@pytest.mark.timeout(JOB_S)
def test_what_is_wrong_is_found_before_a_job(cloud: Cloud) -> None:
    said = cloud.perdure("doctor", "aws", "--json").out
    seen = {each["name"]: each["verdict"] for each in json.loads(said)["findings"]}
    assert {name for name, verdict in seen.items() if verdict == "problem"} == set()
    assert {"credentials", "bucket", "clock", "machines", "image", "quota"} <= seen.keys()
    assert seen["ec2:CreateLaunchTemplate"] == "ok"
    assert "m5.large" in cloud.perdure("targets", "--check").out
    gpus = cloud.perdure("run", "--on", "aws", "--gpus", "1", "train", "9", "0", code=2)
    assert is_one_error(gpus, 2, "m5.large", "fewer than 1 GPUs")
    local = cloud.project / ".perdure/local.toml"
    text = local.read_text()
    local.write_text(text.replace("m5.xlarge", "z9.huge"))
    assert is_one_error(cloud.perdure("run", "--on", "aws", "train", code=2), 2, "z9.huge")
    local.write_text(text.replace("//lab/", "//nobodys/"))
    another = cloud.perdure("run", "--on", "aws", "train", "9", "0", code=None)
    assert is_one_error(another, 5, "permission denied", "is the bucket yours?")
    local.write_text(text)
    quotas = serve(lambda *_: (200, {"Quota": {"Value": 0.0}}))
    cloud.environ["AWS_ENDPOINT_URL_SERVICE_QUOTAS"] = f"http://{address(quotas)}"
    none = cloud.perdure("run", "--on", "aws", "train", "9", "0", code=4)
    close(quotas)
    assert is_one_error(none, 4, "a quota is 0: standard machines, spot", "perdure doctor aws")
    nobody = {"AWS_ACCESS_KEY_ID": "AKIA0000000000000000", "AWS_SECRET_ACCESS_KEY": "x"}
    cloud.environ.update(nobody)
    refused = cloud.perdure("run", "--on", "aws", "train", "9", "0", code=4)
    assert is_one_error(refused, 4, "does not know the credentials")
    assert cloud.tagged() == (0, 0, 0)


@pytest.mark.timeout(JOB_S)
def test_a_job_is_interrupted_gone_on_with_and_killed(cloud: Cloud) -> None:
    explained = cloud.perdure("run", "--on", "aws", "--explain", "train", "9", "0").out
    assert "aws autoscaling create-auto-scaling-group --cli-input-json" in explained
    assert re.search(
        r"^# m5.large: \$1e-05 an hour.*on demand \$0.1: 100% saved", explained, re.MULTILINE
    )
    assert cloud.tagged() == (0, 0, 0)
    cloud.perdure("run", "--on", "aws", "--name", "otter", "-d", "train", "9000", "0.1")
    assert "already running" in cloud.perdure("resume", "otter", code=3).err
    cloud.until_saved("otter")
    cloud.perdure("interrupt", "--no-wait", "otter")
    cloud.until_gone()
    assert cloud.job("otter")["state"] == "INTERRUPTED"
    assert "aws" in cloud.perdure("show", "otter").out
    assert is_one_error(cloud.perdure("attach", "otter", code=2), 2, "let nobody in")
    cloud.perdure("resume", "-d", "otter")
    cloud.until(lambda: bool(cloud.machines.alive()))
    cloud.until(lambda: cloud.job("otter")["state"] == "RUNNING")
    assert "killed `otter`" in cloud.perdure("kill", "otter").err
    assert cloud.job("otter")["state"] == "CANCELLED"
    cloud.until_gone()
    cloud.perdure("rerun", "-d", "otter")
    states = [each["state"] for each in json.loads(cloud.perdure("ps", "-a", "--json").out)]
    assert sorted(states) == ["CANCELLED", "QUEUED"]
    cloud.perdure("kill", "@last")
    cloud.until_gone()
    cloud.perdure("reap", "--on", "aws", "--yes")
    assert cloud.tagged() == (0, 0, 0)


@pytest.mark.timeout(JOB_S)
def test_machines_of_a_job_whose_bucket_vanished_can_be_ended(cloud: Cloud) -> None:
    cloud.perdure("run", "--on", "aws", "--name", "otter", "-d", "train", "9000", "0.1")
    cloud.until_saved("otter")
    # It would write beside this.
    cloud.machines.kill(cloud.machines.alive()[0])
    for each in cloud.s3().list_objects_v2(Bucket="lab")["Contents"]:
        cloud.s3().delete_object(Bucket="lab", Key=each["Key"])
    cloud.s3().delete_bucket(Bucket="lab")
    assert cloud.job("otter")["problem"] == "there is no bucket `lab`"
    killed = cloud.perdure("kill", "otter", code=2)
    assert is_one_error(killed, 2, "no bucket `lab`", "perdure reap")
    # No job can want what it has there.
    said = cloud.perdure("reap", "--on", "aws", "--yes").out
    assert {"group", "template", "machine"} <= set(said.split())
    assert cloud.tagged() == (0, 0, 0)


def bring_along(project: Path) -> None:
    """Have a project depend on a wheel of its own."""
    file = project / "vendor/brought-1.0-py3-none-any.whl"
    file.parent.mkdir()
    file.write_bytes(wheel("brought", "1.0", "where = 'vendor'\n"))
    text = (project / "pyproject.toml").read_text()
    needs = 'requires-python = ">=3.11"\ndependencies = ["brought"]\n'
    text = text.replace('version = "0.1"\n', f'version = "0.1"\n{needs}')
    source = f'[tool.uv.sources]\nbrought = {{ path = "vendor/{file.name}" }}\n'
    (project / "pyproject.toml").write_text(text + source)


@pytest.mark.timeout(JOB_S)
def test_a_jobs_packages_and_data_are_brought_to_its_machine(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("UV_OFFLINE", "1"),
        ("UV_NO_CONFIG", "1"),
        ("PIP_CONFIG_FILE", "/dev/null"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    bring_along(cloud.project)
    (cloud.project / "data").mkdir()
    (cloud.project / "data/all ü.txt").write_text("the data\n")
    cloud.perdure("push", "data", "--on", "aws")
    script = "import brought, sys; print(brought.where, sys.prefix, open(sys.argv[1]).read())"
    data = "../../../data/all ü.txt"
    words = ("--", "python", "-c", script, data)
    cloud.perdure("run", "--on", "aws", "--name", "otter", "-d", *words)
    cloud.until_gone()
    assert cloud.job("otter")["state"] == "SUCCEEDED", cloud.logs()
    said = cloud.perdure("logs", "otter").out
    assert "vendor" in said
    assert "the data" in said
    assert "/project/.perdure/environments/" in said


@pytest.mark.timeout(JOB_S)
def test_machines_in_a_row_without_progress_end_it(cloud: Cloud) -> None:
    # Each is gone before it has saved anything.
    cloud.perdure("run", "--on", "aws", "--name", "otter", "-d", "--", "sleep", "1000")
    for _ in range(4):
        cloud.until(lambda: cloud.job("otter")["state"] == "RUNNING")
        cloud.machines.notify(cloud.machines.alive()[0])
        gone = cloud.machines.alive()[0].process
        cloud.until(lambda process=gone: process.poll() is not None)  # type: ignore[misc]
    cloud.until_gone()
    found = cloud.job("otter")
    assert (found["state"], found["reason"]) == ("FAILED", "4 machines in a row made no progress")
