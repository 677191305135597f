"""Processes in the place of machines: booted by their user-data, and the power cut."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.ports import free_port

LIMIT_S = 120.0


def boot(folder: Path, user_data: str, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Return the process of a machine whose own root is `folder`: it does what cloud-init would."""
    assert user_data.startswith("#cloud-config\n")
    content = json.loads(user_data.partition("\n")[2])
    for each in content["write_files"]:
        path = folder / each["path"].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(each["content"])
    kept = {
        key: each
        for key, each in os.environ.items()
        if not key.startswith(("AWS_", "GCE_", "IDENTITY_", "AZURE_"))
    }
    # All of them have one network.
    variables = {**variables, "PERDURE_DOOR_PORT": str(free_port())}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            # As a new machine's: nothing but the standard library.
            [sys.executable, "-I", "-S", "boot.py"],
            cwd=folder / "opt/perdure",
            env={**kept, **variables, "HOME": str(folder), "PERDURE_TESTS_MACHINE": str(folder)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def cut_power(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Have nothing on a machine do another step; whoever comes next has an empty disk."""
    marker = os.fsencode(folder)
    for entry in Path("/proc").iterdir():
        try:
            known = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            if entry.name.isdigit() and marker in known and int(entry.name) != os.getpid():
                os.kill(int(entry.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue
    process.wait(timeout=LIMIT_S)
    shutil.rmtree(folder / "opt", ignore_errors=True)
