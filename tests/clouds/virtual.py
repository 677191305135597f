"""Virtual machines in the place of a cloud's: Debian under QEMU, whose cloud-init boots them."""

from __future__ import annotations

import socketserver
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from tests.clouds.google_plane import GooglePlane
from tests.clouds.imds import Metadata, serve_at
from tests.clouds.machines import Machine, Machines
from tests.clouds.planes import address
from tests.engines import vm
from tests.engines.relay import Relay, unix_relay
from tests.ports import free_port

_METADATA = "169.254.169.254:80"
_PROVIDER = "169.254.0.100:5555"
_BUCKET = "169.254.0.101:80"


@dataclass
class VirtualMachines(Machines):
    """All machines of a region, each with a kernel, a disk and a network of its own.

    What the network has is the metadata service, and the provider at another address than AWS's:
    what a user's own endpoint would be to a machine, `AWS_ENDPOINT_URL` tells it.
    """

    image: ClassVar[vm.Image]
    _relays: list[Relay] = field(default_factory=list)
    #: At which port machines let visitors in, one of them at a time, and what leads there.
    _port: int = field(default_factory=free_port)
    _way_in: vm.WayIn | None = None

    def begin(
        self, folder: Path, metadata: Metadata
    ) -> tuple[subprocess.Popen[bytes], socketserver.BaseServer]:
        metadata.words.update(_words())
        name = str(metadata.words["instance-id"])
        server = serve_at(folder / "imds", metadata)
        self._relays.append(unix_relay(folder / "aws", _host_and_port(self.url)))
        ways = {_METADATA: folder / "imds", _PROVIDER: folder / "aws"}
        metadata.words["public-ipv4"] = "127.0.0.1"
        variables = {
            "AWS_ENDPOINT_URL": f"http://{_PROVIDER}",
            "PERDURE_DOOR_PORT": str(self._port),
        }
        process = self.image.start(folder, hardware(name), ways, variables, self._port)
        if self._way_in is not None:
            self._way_in.cut()
        self._way_in = vm.WayIn(process, self._port)
        return process, server

    def kill(self, machine: Machine) -> None:
        super().kill(machine)
        (machine.folder / "disk").unlink(missing_ok=True)

    def close(self) -> None:
        super().close()
        for each in self._relays:
            each.cut()
        if self._way_in is not None:
            self._way_in.cut()


@dataclass
class VirtualGooglePlane(GooglePlane):
    """Compute Engine with such machines. Its metadata server is what cloud-init asks there, too."""

    image: ClassVar[vm.Image]
    #: The address of the server that has the bucket.
    storage: ClassVar[str]
    _relays: list[Relay] = field(default_factory=list)

    def begin(self, folder: Path, text: str, metadata: str) -> subprocess.Popen[bytes]:
        near = {"metadata": f"http://{metadata}", "plane": f"http://{address(self.server)}"}
        for name, url in {**near, "storage": self.storage}.items():
            self._relays.append(unix_relay(folder / name, _host_and_port(url)))
        ways = {
            _METADATA: folder / "metadata",
            _PROVIDER: folder / "plane",
            _BUCKET: folder / "storage",
        }
        variables = {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"http://{_PROVIDER}/compute/v1/",
            "STORAGE_EMULATOR_HOST": f"http://{_BUCKET}",
        }
        kind = vm.Hardware("Google", "Google Compute Engine", f"GoogleCloud-{folder.name}")
        return self.image.start(folder, kind, ways, variables)

    def close(self) -> None:
        super().close()
        for each in self._relays:
            each.cut()


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def hardware(name: str) -> vm.Hardware:
    """Return what EC2's firmware says: "Detect whether a host is an EC2 instance" in its guide."""
    digits = f"{name.removeprefix('i-'):0<17}"
    serial = f"ec2{digits[:5]}-{digits[5:9]}-{digits[9:13]}-8{digits[13:16]}-{digits[:12]}"
    return vm.Hardware("Amazon EC2", "m5.large", serial)


def _words() -> dict[str, str]:
    """Return what is told of any machine, in eu-central-1's first zone."""
    interface = f"network/interfaces/macs/{vm.MAC}"
    return {
        "ami-id": "ami-12c6146b",
        "hostname": "ip-169-254-10-15.eu-central-1.compute.internal",
        "local-hostname": "ip-169-254-10-15.eu-central-1.compute.internal",
        "local-ipv4": vm.ADDRESS,
        "mac": vm.MAC,
        "instance-life-cycle": "spot",
        "placement/availability-zone": "eu-central-1a",
        "services/domain": "amazonaws.com",
        f"{interface}/device-number": "0",
        f"{interface}/interface-id": "eni-1",
        f"{interface}/local-ipv4s": vm.ADDRESS,
        f"{interface}/mac": vm.MAC,
        f"{interface}/subnet-ipv4-cidr-block": "169.254.0.0/16",
    }
