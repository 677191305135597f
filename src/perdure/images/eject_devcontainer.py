"""A devcontainer.json: the development container in an editor, without perdure. Pure text.

Source: https://containers.dev/implementors/json_reference/
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from perdure.images.mounts import CODE, SHARED_MEMORY, Mount, mount_words
from perdure.model.image import Stage

#: The folder that the editor has opened, whatever its name is where it is opened.
WORKSPACE = "${localWorkspaceFolder}"


def devcontainer(
    project: str, mounts: Sequence[Mount], *, context: str, gpus: bool, user: str
) -> str:
    """Return the text of .devcontainer/devcontainer.json: the same bytes each time.

    `context` is the folder with the Dockerfile, relative to that file; `user` the name that the
    image gives whoever works in it. A mount of the project's own begins with WORKSPACE.
    """
    code, *others = sorted(mounts, key=lambda mount: mount.target != CODE)
    document = {
        "name": project,
        "build": {
            "dockerfile": f"{context}/Dockerfile",
            "context": context,
            "target": Stage.DEV.value,
        },
        "workspaceFolder": CODE,
        "workspaceMount": _words(code),
        "mounts": [_words(mount) for mount in others],
        "init": True,
        "runArgs": ["--shm-size", SHARED_MEMORY, *(("--gpus", "all") if gpus else ())],
        "remoteUser": user,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _words(mount: Mount) -> str:
    return mount_words([mount])[1]
