"""Podman as root has it, and as an ordinary user has it: `tests/engines/podman`."""

from __future__ import annotations

import pwd
import subprocess
from pathlib import Path

from tests.engines.engines import LIMIT_S, RealEngine
from tests.engines.user import USER_ID

SCRIPT = Path(__file__).with_name("podman")
FOLDER = Path("/var/lib/perdure-podman")
OWN_FOLDER = Path("/var/lib/perdure-podman-rootless")


def engine_in(folder: Path, user: str | None = None) -> RealEngine:
    """Return the engine whose settings are in a folder, root's or a user's; nothing is run."""
    variables = {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }
    if user is not None:
        # Without a session of systemd's, podman wants to be told where a user's sockets are.
        variables |= {"XDG_RUNTIME_DIR": str(folder / "runtime"), "USER": user}
    return RealEngine(
        "rootless" if user else "podman", "/usr/bin/podman", variables, folder / "data"
    )


def start_podman() -> RealEngine:
    """Return root's podman, installed and given the base image if need be.

    Raises:
        RuntimeError: it cannot be had here; with what the script said.
    """
    _up(str(FOLDER))
    return engine_in(FOLDER)


def start_rootless() -> RealEngine:
    """Return the podman of the tests' ordinary user.

    Raises:
        RuntimeError: there is no user of that id with a name, or it cannot be had here.
    """
    try:
        name = pwd.getpwuid(USER_ID).pw_name
    except KeyError as error:
        raise RuntimeError(f"no user {USER_ID} with a name: rootless podman wants one") from error
    _up(str(OWN_FOLDER), name)
    return engine_in(OWN_FOLDER, name)


def stop_rootless(engine: RealEngine) -> None:
    """End the process that holds the user's ids while no container runs."""
    who = ["setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups"]
    environ = {**engine.environ, "HOME": str(OWN_FOLDER / "home")}
    argv = [*who, engine.client, "system", "migrate"]
    subprocess.run(argv, env=environ, cwd=OWN_FOLDER, capture_output=True, timeout=120, check=True)


def _up(*words: str) -> None:
    argv = [str(SCRIPT), "up", *words]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S)
    if done.returncode != 0:
        raise RuntimeError(f"no podman here: {done.stderr.decode()}")
