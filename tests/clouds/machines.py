"""Processes that stand in for the machines of an AWS: booted by their user-data, taken away."""

from __future__ import annotations

import base64
import http.server
import json
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import boto3

from tests.clouds.booting import boot, cut_power

ALIVE = ["pending", "running"]
LIMIT_S = 120.0


@dataclass
class Machine:
    """A machine that runs what cloud-init would, with a metadata service of its own."""

    id: str
    folder: Path
    process: subprocess.Popen[bytes]
    metadata: http.server.ThreadingHTTPServer
    action: dict[str, str] | None = None

    @property
    def project(self) -> Path:
        return self.folder / "opt/perdure/project"


class Metadata(http.server.BaseHTTPRequestHandler):
    """IMDSv2: nothing without a token; a spot notice where there is one."""

    words: ClassVar[dict[str, Any]] = {}

    def log_message(self, template: str, *arguments: object) -> None:
        pass

    def do_PUT(self) -> None:
        if "X-aws-ec2-metadata-token-ttl-seconds" not in self.headers:
            self._answer(400, b"")
        else:
            self._answer(200, b"a-token")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != "a-token":
            self._answer(401, b"")
            return
        found = self.words.get(self.path.removeprefix("/latest/meta-data/"))
        found = found() if callable(found) else found
        self._answer(404, b"") if found is None else self._answer(200, found.encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


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
        machine.metadata.shutdown()
        machine.metadata.server_close()

    def boot(self, name: str) -> None:
        answer = self.ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")
        text = base64.b64decode(answer["UserData"]["Value"]).decode()
        # Paths begin at the machine's own root, and that is a folder here.
        folder = self.folder / name
        folder.mkdir()
        server, words = self._metadata(name)
        process = boot(folder, text, self._variables(server.server_address[1]))
        machine = Machine(name, folder, process, server)
        words["spot/instance-action"] = lambda: machine.action and json.dumps(machine.action)
        self.booted.append(machine)

    def _variables(self, port: int) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}",
            "AWS_METADATA_ENDPOINT": f"http://127.0.0.1:{port}",
        }

    def _metadata(self, name: str) -> tuple[http.server.ThreadingHTTPServer, dict[str, Any]]:
        words: dict[str, Any] = {
            "instance-id": name,
            "instance-type": "m5.large",
            "iam/security-credentials/": "perdure-instance",
            "iam/security-credentials/perdure-instance": self._credentials,
        }
        handler = type("Handler", (Metadata,), {"words": words})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server, words

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
                each.metadata.shutdown()
                each.metadata.server_close()


def client(service: str, url: str, region: str, keys: tuple[str, str]) -> Any:  # noqa: ANN401
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
    )
