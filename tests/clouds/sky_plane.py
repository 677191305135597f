"""The controller of SkyPilot's managed jobs with the life that is documented, and no more.

"Managed Jobs": PENDING, STARTING, RUNNING; RECOVERING where the machine is gone or the exit code is
one to recover on, on another machine each time; then SUCCEEDED, FAILED, or CANCELLED.
"""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from tests.clouds import sky_cli
from tests.clouds.booting import cut_power
from tests.clouds.imds import Metadata, serve_on_loopback
from tests.engines.amazon import KEYS

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
# The clouds that have machines, one after the other: of the second no metadata service is known.
CLOUDS = ("AWS", "Lambda")


@dataclass
class Machine:
    """A machine that was brought for a managed job: a process, and its metadata service."""

    number: int
    folder: Path
    process: subprocess.Popen[bytes]
    metadata: socketserver.BaseServer
    words: dict[str, Any]


@dataclass
class SkyPlane:
    """All managed jobs of a user, and their machines. `step` does what time does."""

    folder: Path
    url: str
    alive: dict[int, Machine] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.server.mkdir(parents=True)
        self.programs.mkdir()
        program = self.programs / "sky"
        words = f'"{sys.executable}" -m tests.clouds.sky_cli "{self.server}" "$@"'
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec {words}\n')
        program.chmod(0o755)

    @property
    def server(self) -> Path:
        return self.folder / "server"

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    def is_(self, mode: str) -> None:
        """Have `sky` be that way from now on: it hangs, say; "": as it should be."""
        (self.server / "mode").write_text(mode)

    def jobs(self) -> list[dict[str, Any]]:
        return sky_cli.jobs(self.server)

    def statuses(self) -> list[str]:
        return [str(each["status"]) for each in self.jobs()]

    def step(self) -> None:
        for job in self.jobs():
            self._step(job, self.alive.get(job["job_id"]))

    def _step(self, job: dict[str, Any], machine: Machine | None) -> None:
        if job["status"] in ("PENDING", "RECOVERING"):
            self._write(job, "STARTING" if job["status"] == "PENDING" else "RUNNING")
            self._boot(job)
        elif job["status"] == "STARTING":
            self._write(job, "RUNNING")
        elif job["status"] == "CANCELLING":
            self._end(machine)
            self._write(job, "CANCELLED")
        elif job["status"] == "RUNNING" and machine is not None:
            code = machine.process.poll()
            if code is not None:
                self._end(machine)
                self._ended(job, code)

    def _ended(self, job: dict[str, Any], code: int) -> None:
        """Do what `StrategyExecutor.should_restart_on_failure` says of an exit code."""
        recovery = job["task"]["resources"].get("job_recovery", {})
        if code == 0:
            self._write(job, "SUCCEEDED")
        elif code in recovery.get("recover_on_exit_codes", ()):
            self._recover(job)
        elif job.get("errors", 0) < recovery.get("max_restarts_on_errors", 0):
            self._recover({**job, "errors": job.get("errors", 0) + 1})
        else:
            self._write({**job, "failure_reason": f"Job exited with exit code {code}"}, "FAILED")

    def _recover(self, job: dict[str, Any]) -> None:
        self._write({**job, "recovery_count": job["recovery_count"] + 1}, "RECOVERING")

    def preempt(self, machine: Machine) -> None:
        """Take a machine away without a word: SkyPilot recovers."""
        self._end(machine)
        (job,) = (each for each in self.jobs() if each["job_id"] == machine.number)
        self._recover(job)

    def shut_down(self, machine: Machine) -> None:
        """Have a machine be shut down: what runs on it is asked to end."""
        machine.process.terminate()

    def notify(self, machine: Machine) -> None:
        """Have the cloud tell a machine that it is taken away."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 20.0))
        machine.words["spot/instance-action"] = json.dumps({"action": "terminate", "time": at})

    def _write(self, job: dict[str, Any], status: str) -> None:
        sky_cli.write(self.server, {**job, "status": status})

    def _boot(self, job: dict[str, Any]) -> None:
        cloud = CLOUDS[min(self.count, len(CLOUDS) - 1)]
        self.count += 1
        folder = self.folder / "machines" / f"{job['job_name']}-{self.count}"
        home = folder / "home"
        # "remote_identity: LOCAL_CREDENTIALS", the default: the user's own file is on the machine.
        (home / ".aws").mkdir(parents=True)
        (home / ".aws/credentials").write_text(
            f"[default]\naws_access_key_id = {KEYS['AWS_ACCESS_KEY_ID']}\n"
            f"aws_secret_access_key = {KEYS['AWS_SECRET_ACCESS_KEY']}\n"
        )
        for target, source in job["task"].get("file_mounts", {}).items():
            self._mount(home, target, source)
        words: dict[str, Any] = {"instance-id": "i-1", "instance-type": "g5.xlarge"}
        server, url = serve_on_loopback(Metadata(words))
        number = int(job["job_id"])
        process = self._run(job, folder, cloud, url)
        self.alive[number] = Machine(number, folder, process, server, words)

    def _run(
        self, job: dict[str, Any], folder: Path, cloud: str, metadata: str
    ) -> subprocess.Popen[bytes]:
        info = {"cluster_name": f"{job['job_name']}-{job['job_id']}", "zone": None}
        told = {**info, "cloud": cloud, "region": REGION}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "GCE_", "AZURE_"))}
        more = {
            "HOME": str(folder / "home"),
            "PERDURE_TESTS_MACHINE": str(folder),
            "SKYPILOT_CLUSTER_INFO": json.dumps(told),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata,
            "AWS_METADATA_ENDPOINT": metadata,
        }
        with (folder / "log").open("wb") as log:
            return subprocess.Popen(
                ["bash", "-c", job["task"]["run"]],
                cwd=folder / "home",
                env={**kept, **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _mount(self, home: Path, target: str, source: str) -> None:
        assert target.startswith("~/")
        assert source.startswith("s3://")
        bucket, _, key = source.removeprefix("s3://").partition("/")
        file = home / target.removeprefix("~/")
        file.parent.mkdir(parents=True, exist_ok=True)
        found = boto3.client("s3", REGION, endpoint_url=self.url).get_object(Bucket=bucket, Key=key)
        file.write_bytes(found["Body"].read())

    def _end(self, machine: Machine | None) -> None:
        if machine is None:
            return
        cut_power(machine.folder, machine.process)
        machine.metadata.shutdown()
        machine.metadata.server_close()
        del self.alive[machine.number]

    def close(self) -> None:
        for each in list(self.alive.values()):
            self._end(each)
