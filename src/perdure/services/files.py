"""The project's results and data in the browser: copyparty, to be read only unless asked."""

from __future__ import annotations

from perdure.model.report import Report
from perdure.services.program import SOCKET, Program
from perdure.services.spot import Spot

NAME = "files"
_READ, _WRITE = "r", "rwmd"
# Everybody who comes through the gate comes from one address: one mistyped address bans all.
_NO_BANS = tuple(f"--ban-{kind}=no" for kind in ("403", "404", "422", "url", "pw"))


def prepare(spot: Spot, report: Report, *, writable: bool) -> Program:
    """Return the file server for a spot, installed there.

    Raises:
        EnvironmentFailed: it cannot be installed.
    """
    return program(spot, spot.tools(NAME, report), writable=writable)


def program(spot: Spot, installed: str, *, writable: bool) -> Program:
    """Return the server's command. Pure."""
    own = f"{spot.services}/{NAME}"
    # Named from the folder it runs in: a path may have colons in it.
    volumes = (f"results:results:{_WRITE if writable else _READ}", f"data:data:{_READ}")
    return Program(
        argv=(
            *(f"{installed}/bin/python", "-I", "-m", "copyparty", "-q", "-s", "-j1"),
            *("-i", f"unix:600:{SOCKET}", "--hist", f"{own}/history"),
            *(word for volume in volumes for word in ("-v", volume)),
            *("--no-script", "--no-dav", "--no-crt", "--no-reload", "--name=perdure", *_NO_BANS),
        ),
        cwd=spot.root,
        path="/results/",
        environment={"XDG_CONFIG_HOME": f"{own}/config"},
        said={"writable": writable},
    )
