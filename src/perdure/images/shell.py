"""What the steps of a build share: their mounts, and the lines of shell that they begin with."""

from __future__ import annotations

import json
from collections.abc import Sequence

RUN = "/run/perdure"
SECRETS = "/run/secrets"

# Empty while a step runs, and gone after it: no mount leaves its mount point in the image.
SCRATCH = "type=tmpfs,target=/run"
UV = f"type=bind,source=uv/uv,target={RUN}/uv"
UV_CACHE = f"type=cache,id=perdure-uv,target={RUN}/cache"

# What the machine needs to reach anything: seen by a step while it runs, never in the image.
MACHINE = (
    f"type=secret,id=machine,target={SECRETS}/machine",
    f"type=secret,id=netrc,target={SECRETS}/netrc",
    f"type=secret,id=ca,target={SECRETS}/ca",
)
APT_SECRETS = (
    f"type=secret,id=apt_sources,target={SECRETS}/apt.sources",
    f"type=secret,id=apt_conf,target={SECRETS}/apt.conf",
    f"type=secret,id=apt_auth,target={SECRETS}/apt.auth",
)

MACHINE_LINES = (
    f"if [ -s {SECRETS}/machine ]; then . {SECRETS}/machine; fi",
    f"if [ -s {SECRETS}/netrc ]; then export NETRC={SECRETS}/netrc; fi",
    f"if [ -s {SECRETS}/ca ]; then export SSL_CERT_FILE={SECRETS}/ca PIP_CERT={SECRETS}/ca; fi",
)
# The same bytes each time: no time of day, and compiled files that are never checked again.
EPOCH = 315532800  # 1980-01-01: a zip, and so a wheel, knows no earlier day
SAME_BYTES = f"SOURCE_DATE_EPOCH={EPOCH} PYC_INVALIDATION_MODE=UNCHECKED_HASH"
UV_LINES = (
    (
        f"export {SAME_BYTES} UV_CACHE_DIR={RUN}/cache UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 "
        "UV_NO_CONFIG=1 UV_NO_PROGRESS=1 "
        "UV_NO_INSTALLER_METADATA=1 UV_PYTHON_INSTALL_DIR=/opt/python"
    ),
)


def bind(source: str, name: str) -> str:
    """Return the mount of a file or folder of the context, at `name` in the scratch folder."""
    return f"type=bind,source={source},target={RUN}/{name}"


# Steps leave no time of day behind. BuildKit can rewrite times, but not for an image that is to be
# run where it is built, and it takes longer than the step: here it is the few files of one layer.
_MOUNTED = ("/dev", "/proc", "/run", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
_STARTED = f"touch -d '2 seconds ago' {RUN}/started"
_AGED = f"-exec touch -h -d @{EPOCH} {{}} +"


def started() -> str:
    """Return the command that `settle_system` needs to have come first."""
    return f"mkdir -p {RUN}; {_STARTED}"


def settle_system() -> str:
    """Return the command that gives what a step wrote anywhere the time that all files have."""
    mounted = " -o ".join(f"-path {each}" for each in _MOUNTED)
    return f"find / -xdev \\( {mounted} \\) -prune -o -newer {RUN}/started {_AGED}"


def settle(*folders: str) -> str:
    """Return the command that does so in folders that are all perdure's own."""
    return f"find {' '.join(folders)} -newermt @{EPOCH} {_AGED}"


def run(mounts: Sequence[str], commands: Sequence[str]) -> str:
    """Return a RUN that stops at the first command which fails."""
    words = [f"--mount={mount}" for mount in mounts]
    body = "; \\\n    ".join(["set -eu", *commands])
    return "RUN " + " \\\n    ".join([*words, body])


def run_declared(mounts: Sequence[str], command: str) -> str:
    """Return a RUN of a line that a user wrote: as JSON, in which no letter means anything."""
    before = "; ".join(MACHINE_LINES)
    words = [f"--mount={mount}" for mount in mounts]
    lines = [f"cd /; {started()}; {before}", command, settle_system()]
    words.append(json.dumps(["/bin/sh", "-euc", "\n".join(lines)]))
    return "RUN " + " \\\n    ".join(words)
