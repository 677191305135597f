"""JupyterLab in a container of the image that the project is worked in.

It listens on a socket in a folder that the container shares with its keeper: no port is opened, on
the host or in the container's network. Its own packages lie beside the project's, in a folder that
only the server looks into first.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from perdure.environments.pinned import read_pinned
from perdure.errors import EnvironmentFailed
from perdure.images.mounts import CODE
from perdure.jobs.image import ensure_image_on
from perdure.model.image import Image, Stage
from perdure.model.report import Report
from perdure.services import jupyter
from perdure.services.program import PRIVATE, SOCKET, Program
from perdure.services.side import contained, record
from perdure.services.spot import Spot
from perdure.targets.invocation import PODMAN, container_name

_ROLE = "jupyter"
_PRIVATE = "/run/perdure/service"
_HOME = "/home/perdure"
_PYTHON = "/opt/dev/bin/python"
# The image's own Python without any packages but the server's: those of the project may not suit.
_SERVE = "import sys; sys.path.append(sys.argv.pop(1)); from jupyterlab.labapp import main; main()"


def prepare(spot: Spot, variant: str | None, gpus: str | None, report: Report) -> Program:
    """Return JupyterLab for a spot whose jobs run in images; the image is built if need be.

    Raises:
        EnvironmentFailed: the image or the engine cannot be had.
    """
    image = ensure_image_on(spot.host, spot.workspace, Stage.DEV, variant=variant, report=report)
    pinned = read_pinned(spot.workspace.project)
    version = ".".join((pinned.python if pinned else "").split(".")[:2])
    if not version:
        raise EnvironmentFailed(
            "the lock does not say which Python the image has", hint="perdure lock"
        )
    name = Path(spot.tools(jupyter.NAME, report, version=version)).name
    lab = f"{CODE}/{record.SERVICES}/tools/{name}"
    title = spot.workspace.project.name + (f" ({image.variant})" if image.variant else "")
    inside = _inside(spot, lab, title)
    return _in_container(spot, image, inside, gpus)


def _inside(spot: Spot, lab: str, title: str) -> Program:
    """Return the server's command as it is in the container. Pure but for a look at the folders."""
    kernel = jupyter.kernel_spec(CODE, None, _PYTHON, lab, title)
    start = "notebooks" if (spot.workspace.project.root / "notebooks").is_dir() else ""
    plain = jupyter.program(CODE, "", kernel, start=start)
    own = f"{CODE}/{record.SERVICES}/{jupyter.NAME}"
    options = [word for word in plain.argv if word.startswith("--")]
    options = [word.replace(SOCKET, f"{_PRIVATE}/s") for word in options]
    return replace(
        plain,
        argv=(
            *("-I", "-S", "-c", _SERVE, lab),
            *options,
            f"--LabApp.app_dir={lab}/share/jupyter/lab",
        ),
        environment={
            **plain.environment,
            "JUPYTER_PATH": f"{own}/share:{lab}/share/jupyter",
            "JUPYTER_CONFIG_PATH": f"{lab}/etc/jupyter",
            "HOME": _HOME,
        },
    )


def _in_container(spot: Spot, image: Image, inside: Program, gpus: str | None) -> Program:
    """Return the command of the engine's client that runs another one in a container."""
    docker = spot.workspace.settings.docker
    endpoint = docker.endpoint if spot.place.is_here else None
    program = docker.program if spot.place.is_here else None
    found = spot.host.call(contained.ground, spot.root, program, endpoint)
    user = image.user
    name = container_name(Path(spot.root), _ROLE)
    groups = found["groups"] if found["user"] == user.user_id else []
    words = (
        *("run", "--rm", "--init", "--pull", "never", "--name", name),
        *("--label", f"perdure.project={spot.root}", "--label", f"perdure.role={_ROLE}"),
        *("--user", f"{user.user_id}:{user.group_id}", "--workdir", CODE),
        *(word for each in groups if each != user.group_id for word in ("--group-add", str(each))),
        *found["words"],
        *("--mount", f"type=bind,source={PRIVATE},target={_PRIVATE}"),
        *gpu_words(found["kind"], gpus),
        *(word for pair in inside.environment.items() for word in ("--env", "=".join(pair))),
        *("--entrypoint", "python3", image.tag, *inside.argv),
    )
    client = tuple(found["client"])
    return replace(
        inside,
        argv=(*client, *words),
        cwd=spot.root,
        environment=found["environment"],
        after=((*client, "rm", "--force", name),),
        owner=(user.user_id, user.group_id),
    )


def gpu_words(kind: str, gpus: str | None) -> tuple[str, ...]:
    """Return the words that hand GPUs to a container; `gpus` is `all`, a number, or None. Pure."""
    if gpus is None:
        return ()
    if kind != PODMAN:
        return ("--gpus", gpus)
    names = ("all",) if gpus == "all" else map(str, range(int(gpus)))
    return tuple(word for name in names for word in ("--device", f"nvidia.com/gpu={name}"))
