"""Virtual machines of the tests: QEMU with the image of `tests/engines/vm`, and no network.

A machine is in a network namespace with nothing in it but its loopback; its own network is QEMU's,
which answers DHCP and leads nowhere but to the sockets that it is given (`restrict=on`).
"""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.engines.relay import Relay

SCRIPT = Path(__file__).with_name("vm")
LIMIT_S = 1500.0
MEMORY_MIB = 1024
MAC = "52:54:00:12:34:56"
#: What its DHCP gives a machine.
ADDRESS = "169.254.10.15"
_NETWORK = f"net=169.254.0.0/16,host=169.254.0.2,dhcpstart={ADDRESS}"
# QEMU hands connections to its programs over loopback.
_ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
#: "" lets the machine decide, `kvm` or `tcg` do not.
_WANTED = os.environ.get("PERDURE_TESTS_VM_ACCELERATOR", "")


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a machine finds of itself in its firmware: by that cloud-init knows whose it is."""

    vendor: str
    product: str
    serial: str

    def option(self) -> str:
        told = f"manufacturer={self.vendor},product={self.product},serial={self.serial}"
        try:
            return f"type=1,{told},uuid={uuid.UUID(self.serial)}"
        except ValueError:
            return f"type=1,{told}"


@dataclass(frozen=True, slots=True)
class Image:
    """The image that all machines have in common, and what there is to run it with."""

    folder: Path

    def versions(self) -> str:
        return (self.folder / "versions").read_text()

    def start(
        self,
        folder: Path,
        hardware: Hardware,
        ways: Mapping[str, Path],
        variables: Mapping[str, str],
        port: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Return the process of a machine that boots; it ends when the machine is off.

        `ways` lead from an address and port in its network to a socket's path; `variables` are what
        its services find around them. Who asks for `port` on the loopback of the process's own
        network reaches the machine's: see `WayIn`. The folder gets its disk, the `log` of Perdure
        and the one of the console; a command to `monitor` is one to its hardware.
        """
        disk = folder / "disk"
        over = ["-b", str(self.folder / "root.img"), "-F", "raw", str(disk)]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *over], check=True, timeout=60)
        words = ["root=/dev/vda", "rw", "console=ttyS0", "net.ifnames=0", "panic=-1"]
        words += [f"systemd.setenv={name}={value}" for name, value in variables.items()]
        argv = [*_ALONE, "qemu-system-x86_64", *accelerator()]
        argv += ["-m", str(MEMORY_MIB), "-display", "none", "-no-reboot"]
        argv += ["-smbios", hardware.option(), "-device", "virtio-rng-pci"]
        argv += ["-kernel", str(self.folder / "vmlinuz"), "-initrd", str(self.folder / "initrd")]
        argv += ["-append", " ".join(words), "-drive", f"file={disk},if=virtio,cache=unsafe"]
        argv += ["-device", f"virtio-net-pci,netdev=lab,mac={MAC}", "-netdev"]
        argv += [_netdev(ways, port)]
        argv += ["-serial", f"file:{folder / 'log of the console'}"]
        argv += ["-serial", f"file:{folder / 'log'}"]
        argv += ["-monitor", f"unix:{folder / 'monitor'},server=on,wait=off"]
        with (folder / "qemu").open("wb") as said:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )


def press_power(folder: Path) -> None:
    """Press a machine's power button, as a provider does (ACPI): its system is to turn it off."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as monitor:
        monitor.settimeout(60)
        monitor.connect(str(folder / "monitor"))
        monitor.sendall(b"system_powerdown\n")
        # It is heard once the next prompt is there.
        heard = b""
        while heard.count(b"(qemu) ") < 2:
            heard += monitor.recv(4096) or b"(qemu) (qemu) "


class WayIn(Relay):
    """Listens on loopback here, and leads to that port of a machine's, until it is cut."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        network = f"--net=/proc/{process.pid}/ns/net"
        self._into = ["nsenter", network, "nc", "-N", "127.0.0.1", str(port)]
        here = ("127.0.0.1", port)
        super().__init__(socket.create_server(here), here)

    def _connect(self) -> socket.socket:
        """Return what leads there: from another network than this process's."""
        near, far = socket.socketpair()

        def lead() -> None:
            with far:
                subprocess.run(self._into, stdin=far.fileno(), stdout=far.fileno(), check=False)

        threading.Thread(target=lead, daemon=True).start()
        return near


def _netdev(ways: Mapping[str, Path], port: int | None) -> str:
    # Each connection has a program of its own: QEMU itself would pass on no more than one.
    leads = [f"guestfwd=tcp:{at}-cmd:nc -N -U {path}" for at, path in ways.items()]
    leads += [] if port is None else [f"hostfwd=tcp:127.0.0.1:{port}-:{port}"]
    return ",".join(["user,id=lab", _NETWORK, "restrict=on", *leads])


@functools.cache
def accelerator() -> tuple[str, ...]:
    """Return QEMU's options for a processor: the machine's own by KVM where that works.

    It may be there and not do: where this machine is a virtual one itself.
    """
    options = {"kvm": ("-accel", "kvm", "-cpu", "host"), "tcg": ("-accel", "tcg", "-cpu", "max")}
    if _WANTED:
        return options[_WANTED]
    return options["kvm"] if _works(options["kvm"]) else options["tcg"]


def _works(options: tuple[str, ...]) -> bool:
    argv = ["qemu-system-x86_64", *options, "-S", "-display", "none", "-nodefaults"]
    argv += ["-monitor", "stdio"]
    done = subprocess.run(argv, input=b"quit\n", capture_output=True, timeout=60)
    return done.returncode == 0


def prepare() -> Image:
    """Return the image, made if it is not there.

    Raises:
        LookupError: this machine can have no QEMU: it is not Linux, or nobody here is root.
        RuntimeError: it could not be made; with what the script said.
    """
    if not shutil.which("apt-get") or os.geteuid() != 0 or os.uname().machine != "x86_64":
        raise LookupError("virtual machines need root on an x86-64 Debian, to install QEMU")
    done = subprocess.run(
        [str(SCRIPT), "prepare"], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S
    )
    if done.returncode != 0:
        raise RuntimeError(f"no image for virtual machines: {done.stderr.decode()}")
    return Image(Path(done.stdout.decode().splitlines()[-1]))
