"""The browser of this machine, opened on an address that holds a secret.

The browser is given a file of this user's that leads on to the address: a command line is there
for everybody to read.
"""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from pathlib import Path

from perdure.hosts import local
from perdure.services.side import record

_PAGE = """<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<title>{name}</title><meta http-equiv="refresh" content="0; url={address}">
<p><a href="{address}">{name}</a></p>
"""


def show(
    name: str, address: str, folder: Path, *, opener: Callable[[str], bool] | None = None
) -> bool:
    """Return whether a browser was opened on the address. `folder` is the project's own state.

    Starts a program, if there is a browser.
    """
    page = folder / "services" / f"open-{name}.html"
    page.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = _PAGE.format(name=html.escape(name), address=html.escape(address))
    record.write(page, text)
    return (opener or _open)(page.absolute().as_uri())


def _open(address: str) -> bool:
    import webbrowser

    if not _has_display():
        return False
    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False


def _has_display() -> bool:
    """Return whether a browser has somewhere to open; a terminal's own would take the terminal."""
    import sys

    names = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
    return sys.platform == "darwin" or any(os.environ.get(name) for name in names)


def show_folder(folder: Path) -> bool:
    """Return whether the system's own program for folders was started."""
    import shutil
    import sys

    name = "open" if sys.platform == "darwin" else "xdg-open"
    program = shutil.which(name)
    if program is None or not _has_display():
        return False
    local.spawn_detached((program, os.fspath(folder)), log=Path(os.devnull))
    return True
