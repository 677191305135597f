"""Processes that stand in for the machines of an AWS: booted by their user-data, taken away."""

from __future__ import annotations

import base64
import json
import shutil
import socketserver
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from tests.clouds.booting import boot, cut_power
from tests.clouds.imds import Metadata, serve_on_loopback

ALIVE = ["pending", "running"]
LIMIT_S = 120.0


@dataclass
class Machine:
    """A machine that runs what cloud-init would, with a metadata service of its own."""

    id: str
    folder: Path
    process: subprocess.Popen[bytes]
    metadata: Metadata
    server: socketserver.BaseServer
    action: dict[str, str] | None = None

    @property
    def project(self) -> Path:
        return self.folder / "opt/perdure/project"


@dataclass
class Machines:
    """All machines of a region: `step` does what time does."""

    url: str
    region: str
    folder: Path
    #: The keys of the machines' role.
    role: dict[str, Any]
    #: How EC2 itself asks: it is no user of the account.
    ec2: Any
    booted: list[Machine] = field(default_factory=list)

    def alive(self) -> list[Machine]:
        return [each for each in self.booted if each.process.poll() is None]

    def ids(self) -> set[str]:
        answer = self.ec2.describe_instances(
            Filters=[{"Name": "instance-state-name", "Values": ALIVE}]
        )
        return {
            each["InstanceId"]
            for reservation in answer["Reservations"]
            for each in reservation["Instances"]
        }

    def step(self) -> None:
        """Boot what is new, kill what is gone, and end what has turned itself off."""
        wanted = self.ids()
        for each in self.booted:
            if each.process.poll() is None and each.id not in wanted:
                self.kill(each)
            elif each.process.poll() is not None and each.id in wanted:
                # InstanceInitiatedShutdownBehavior: terminate.
                self.ec2.terminate_instances(InstanceIds=[each.id])
                shutil.rmtree(each.project, ignore_errors=True)
        known = {each.id for each in self.booted}
        for new in sorted(self.ids() - known):
            self.boot(new)

    def notify(self, machine: Machine, after_s: float = 20.0) -> None:
        """Have a machine be told that it is taken away."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + after_s))
        machine.action = {"action": "terminate", "time": at}

    def reclaim(self, machine: Machine) -> None:
        """Take a machine away without a word."""
        self.kill(machine)
        self.ec2.terminate_instances(InstanceIds=[machine.id])

    def kill(self, machine: Machine) -> None:
        """Cut the power: nothing on the machine does another step."""
        cut_power(machine.folder, machine.process)
        _end(machine.server)

    def boot(self, name: str) -> None:
        answer = self.ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")
        text = base64.b64decode(answer["UserData"]["Value"]).decode()
        # Paths begin at the machine's own root, and that is a folder here.
        folder = self.folder / name
        folder.mkdir()
        metadata = Metadata(self._words(name), text)
        process, server = self.begin(folder, metadata)
        machine = Machine(name, folder, process, metadata, server)
        metadata.words["spot/instance-action"] = lambda: (
            json.dumps(machine.action) if machine.action else None
        )
        self.booted.append(machine)

    def begin(
        self, folder: Path, metadata: Metadata
    ) -> tuple[subprocess.Popen[bytes], socketserver.BaseServer]:
        """Return the process that is a machine, and the server of its metadata."""
        server, url = serve_on_loopback(metadata)
        names = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_METADATA_ENDPOINT")
        variables = {"AWS_ENDPOINT_URL": self.url, **dict.fromkeys(names, url)}
        return boot(folder, metadata.user_data, variables), server

    def _words(self, name: str) -> dict[str, Any]:
        return {
            "instance-id": name,
            "instance-type": "m5.large",
            "placement/region": self.region,
            "iam/security-credentials/perdure-instance": self._credentials,
        }

    def _credentials(self) -> str:
        keys = self.role
        return json.dumps(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "LastUpdated": "2026-01-01T00:00:00Z",
                "AccessKeyId": keys["AccessKeyId"],
                "SecretAccessKey": keys["SecretAccessKey"],
                "Token": keys["SessionToken"],
                "Expiration": "2036-01-01T00:00:00Z",
            }
        )

    def close(self) -> None:
        for each in self.booted:
            if each.process.poll() is None:
                self.kill(each)
            else:
                _end(each.server)


def _end(server: socketserver.BaseServer) -> None:
    server.shutdown()
    server.server_close()


def client(service: str, url: str, region: str, keys: tuple[str, str]) -> Any:  # noqa: ANN401
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
    )
