"""A project installed where it lies, as files: what `pip install --editable` would write. Pure.

The image that has them does not depend on the code: only on what pyproject.toml says of names,
versions and commands. What the project depends on is left out, so that one more package is one
more layer and nothing else. Sources: PEP 660; the specifications of recorded installations
(`RECORD`), core metadata, entry points and direct URLs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping

from perdure.images.mounts import CODE
from perdure.project.distribution import Distribution, Groups, call

SITE = "installed/site"
COMMANDS = "installed/bin"
#: Where its modules are: as a job sees them, below `src` first.
_PATHS = f"{CODE}/src\n{CODE}\n"


def installed_files(distribution: Distribution) -> Mapping[str, str]:
    """Return the files to install by their path in the context of a build.

    A command lacks its first line, which names the Python that it runs on. Without a version, which
    only a build backend knows, there is no metadata, but the project can be imported.
    """
    commands = distribution.commands()
    found = {f"{SITE}/_perdure_project.pth": _PATHS}
    found |= {f"{COMMANDS}/{name}": _command(target) for name, target in commands.items()}
    if distribution.version is None:
        return found
    folder = f"{_escaped(distribution.name)}-{distribution.version.replace('-', '_')}.dist-info"
    inside = {
        "_perdure_project.pth": _PATHS,
        f"{folder}/METADATA": _metadata(distribution),
        f"{folder}/INSTALLER": "perdure\n",
        f"{folder}/direct_url.json": json.dumps(
            {"dir_info": {"editable": True}, "url": f"file://{CODE}"}
        ),
    }
    if distribution.groups:
        inside[f"{folder}/entry_points.txt"] = _entry_points(distribution.groups)
    # The first line of a command is not known yet, and so neither is its digest: none is right.
    rows = [_recorded(name, text) for name, text in inside.items()]
    rows += [f"../../../bin/{name},," for name in commands]
    inside[f"{folder}/RECORD"] = "\n".join([*rows, f"{folder}/RECORD,,", ""])
    return found | {f"{SITE}/{name}": text for name, text in inside.items()}


def _command(target: str) -> str:
    imported, called = call(target)
    body = f'if __name__ == "__main__":\n    sys.exit({called})\n'
    return f"import sys\n\n{imported}\n\n{body}"


def _metadata(distribution: Distribution) -> str:
    python = distribution.requires_python
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {distribution.name}",
        f"Version: {distribution.version}",
        *([f"Requires-Python: {python}"] if python else []),
    ]
    return "\n".join([*lines, ""])


def _entry_points(groups: Groups) -> str:
    sections = (
        "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in points.items()), ""])
        for group, points in sorted(groups.items())
    )
    return "\n".join(sections)


def _escaped(name: str) -> str:
    """Return a name as files of an installation have it."""
    return re.sub(r"[-_.]+", "_", name).lower()


def _recorded(name: str, text: str) -> str:
    content = text.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(content)}"
