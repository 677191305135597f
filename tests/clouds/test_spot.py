"""A job on an AWS whose machines are taken away: what a user types, and what comes of it.

The AWS is moto's, with its IAM; processes stand in for machines, booted by their user-data.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perdure.clouds import aws_iam, aws_requests
from perdure.moving.address import parse_address
from perdure.runtime.result import read_result
from tests.cli.command import Ended, perdure
from tests.clouds.conftest import REGION
from tests.clouds.machines import Machines, client

JOB_S = 300
PATIENCE_S = 60.0
BUCKET = "s3://lab/perdure"
TRAINING = """\
import random, sys, time
import perdure

steps, pause_s = int(sys.argv[1]), float(sys.argv[2])
run = perdure.start()
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
_PROJECT = """\
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
"""


@dataclass
class Cloud:
    """A user with a project, and an AWS whose machines this test is."""

    project: Path
    machines: Machines
    environ: dict[str, str]
    root: tuple[str, str]

    def perdure(self, *words: str, code: int | None = 0) -> Ended:
        ended = perdure(*words, cwd=self.project, env=self.environ)
        assert code is None or ended.code == code, (words, ended, self.logs())
        return ended

    def job(self, name: str) -> dict[str, Any]:
        found = json.loads(self.perdure("ps", "-a", "--json").out)
        return next(each for each in found if each["job"] == name)

    def until(self, what: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_S
        while not what():
            self.machines.step()
            assert time.monotonic() < until, self.logs()
            time.sleep(0.1)

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

    def logs(self) -> str:
        return "\n".join(
            f"--- {path}\n{path.read_text()[-3000:]}" for path in self.machines.folder.glob("*/log")
        )


@pytest.fixture
def cloud(aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Return an AWS that was set up for a user who may do no more than is needed."""
    # Of what was set up here nobody asks who does it; from then on everybody is asked.
    iam = client("iam", aws, REGION, ("setup", "setup"))
    calls = aws_iam.setup_calls(parse_address(BUCKET), REGION)
    arn = ""
    for service, operation, values in calls:
        answer = getattr(client(service, aws, REGION, ("setup", "setup")), operation)(**values)
        arn = answer["Role"]["Arn"] if operation == "create_role" else arn
    keys = {}
    for name, policy in (
        ("ada", aws_iam.person_policy(parse_address(BUCKET))),
        ("provider", {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}),
    ):
        iam.create_user(UserName=name)
        document = json.dumps({"Version": "2012-10-17", **policy})
        iam.put_user_policy(UserName=name, PolicyName="perdure", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys[name] = (key["AccessKeyId"], key["SecretAccessKey"])
    # EC2 does this for its machines; moto would ask who it is.
    role = client("sts", aws, REGION, ("setup", "setup")).assume_role(
        RoleArn=arn, RoleSessionName="machine"
    )["Credentials"]
    monkeypatch.setattr("moto.core.responses.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    provider = keys["provider"]
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    project = tmp_path / "a laptop" / "cats"
    project.mkdir(parents=True)
    (project / "pyproject.toml").write_text(_PROJECT)
    (project / "train.py").write_text(TRAINING)
    (project / ".perdure").mkdir()
    (project / ".perdure/local.toml").write_text(_TARGET)
    folder = tmp_path / "machines"
    folder.mkdir()
    machines = Machines(
        aws,
        REGION,
        folder,
        role,
        client("ec2", aws, REGION, provider),
    )
    ada = {"AWS_ACCESS_KEY_ID": keys["ada"][0], "AWS_SECRET_ACCESS_KEY": keys["ada"][1]}
    environ = {**ada, "AWS_ENDPOINT_URL": aws, "HOME": str(tmp_path)}
    yield Cloud(project, machines, environ, provider)
    machines.close()


@pytest.mark.timeout(JOB_S)
def test_a_job_survives_its_machines_and_leaves_nothing(cloud: Cloud) -> None:
    arguments = ("--seed", "7", "train", "60", "0.1")
    cloud.perdure("run", "--name", "alone", *arguments)
    expected = read_result(cloud.project / "results/alone")
    cloud.perdure("run", "--on", "aws", "--name", "otter", "-d", *arguments)
    assert cloud.job("otter")["state"] == "QUEUED"
    chance = random.Random(3)
    for turn in range(3):
        cloud.until_saved("otter", 1 if turn == 0 else max(cloud.saved("otter")) + 1)
        machine = cloud.machines.alive()[0]
        assert cloud.job("otter")["state"] == "RUNNING"
        if chance.random() < 0.5 or turn == 1:
            cloud.machines.notify(machine)
            cloud.until(lambda gone=machine: gone.process.poll() is not None)  # type: ignore[misc]
        else:
            cloud.machines.reclaim(machine)
    cloud.until_gone()
    found = cloud.job("otter")
    assert (found["state"], found["step"]) == ("SUCCEEDED", 60), cloud.logs()
    assert read_result(cloud.project / "results/otter") == expected
    assert "done at 60" in cloud.perdure("logs", "otter").out
    cloud.perdure("reap", "--on", "aws", "--yes")
    assert cloud.tagged() == (0, 0, 0)
    assert aws_requests.TAG
