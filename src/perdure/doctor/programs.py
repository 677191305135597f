"""The programs that perdure itself runs on and with: Python, uv, git; and the files it reads."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator

from perdure.doctor.finding import Finding, fine, problem, warning
from perdure.doctor.surroundings import Surroundings
from perdure.errors import PerdureError
from perdure.hosts import local

UV_FLOOR = (0, 9)
GIT_FLOOR = (2, 30)
ASK_S = 10.0
_NUMBER = re.compile(r"\d+(?:\.\d+)+")


def perdure(_around: Surroundings) -> Iterator[Finding]:
    """Yield which perdure this is, and which Python it runs on."""
    from perdure import __version__

    python = ".".join(map(str, sys.version_info[:3]))
    yield fine("perdure", f"{__version__} on Python {python}")


def files(around: Surroundings) -> Iterator[Finding]:
    """Yield what is wrong with the project's file and the user's settings."""
    if around.project:
        yield fine("project", f"`{around.project.name}` in `{around.project.root}`")
    elif not around.mistakes:
        yield fine("project", "none here; all below is about this machine")
    for mistake in around.mistakes:
        yield problem("configuration", mistake.message, mistake.hint or "mend the file")


def uv(around: Surroundings) -> Iterator[Finding]:
    """Yield which uv there is: it locks and installs environments."""
    from perdure.environments.uv import find_uv

    program = find_uv(around.environ)
    told = local.run([program, "--version"], env=around.environ, timeout_s=ASK_S)
    found = version_in(told.text)
    if told.returncode != 0 or found is None:
        said = told.complaint or told.text or f"exit code {told.returncode}"
        yield problem("uv", f"`{program}` does not run: {said}", "pip install --force-reinstall uv")
    elif found < UV_FLOOR:
        yield problem("uv", f"{told.text}, older than 0.9", "pip install --upgrade uv")
    else:
        yield fine("uv", told.text.removeprefix("uv ").partition(" ")[0])


def git(around: Surroundings) -> Iterator[Finding]:
    """Yield which git there is, and whether it knows the project and its user."""
    try:
        told = local.run(["git", "--version"], env=around.environ, timeout_s=ASK_S)
    except PerdureError as error:
        remedy = "install git: without it no job knows its commit"
        yield warning("git", error.message, remedy)
        return
    found = version_in(told.text)
    number = told.text.removeprefix("git version ").partition(" ")[0]
    if found is None or found < GIT_FLOOR:
        yield warning("git", f"{number or told.complaint}, older than 2.30", "install a newer git")
    else:
        yield fine("git", number)
    yield from _history(around)


def version_in(text: str) -> tuple[int, ...] | None:
    """Return the first version in a text, None where there is none."""
    found = _NUMBER.search(text)
    return tuple(int(part) for part in found[0].split(".")) if found else None


def _history(around: Surroundings) -> Iterator[Finding]:
    """Yield whether git can be used in the project."""
    if around.project is None:
        return
    words = ["git", "-C", str(around.folder), "rev-parse", "--is-inside-work-tree"]
    told = local.run(words, env=around.environ, timeout_s=ASK_S)
    if told.returncode == 0 and told.text == "true":
        return
    if "dubious ownership" in told.complaint:
        remedy = f"git config --global --add safe.directory {shlex.quote(str(around.folder))}"
        yield warning("git", f"`{around.folder}` is not yours, so git does not look at it", remedy)
    else:
        remedy = "git init && git add . && git commit -m Begin"
        yield warning("git", "the project is in no repository: no job knows its commit", remedy)
