"""The image of a cluster's jobs, brought to the file system that its nodes share: made here, once.

An image is one file there, named by its contents. It is there whole or not at all: a file that is
sent is a draft until all of it has arrived, and one that is made there is one until it was read.
"""

from __future__ import annotations

from pathlib import Path

from perdure.environments.exclusive import alone
from perdure.environments.uv import prepare_state
from perdure.hosts import sending
from perdure.hosts.engine import find_engine
from perdure.hosts.progress import Progress
from perdure.images.ship_image import read_image
from perdure.images.squashfs import write_squashfs
from perdure.model.job import ImageUsed
from perdure.model.report import Report
from perdure.model.settings import Settings
from perdure.targets import slurm_image
from perdure.targets.place import Place

_HELD = "images.lock"
# Where it is made that is to be sent.
_SENDING = "sending"


def is_there(place: Place, image: ImageUsed) -> bool:
    """Return whether the nodes have an image, whole. Asks the host; has a home for its jobs there.

    Raises:
        HostUnreachable: it does not answer.
        StorageError: the folder cannot be written.
    """
    with place.writing():
        return place.host.call(slurm_image.ready, place.root, slurm_image.file_name(image))


def bring(place: Place, image: ImageUsed, settings: Settings, report: Report) -> None:
    """Return once the nodes have an image that this machine's engine has.

    What broke off is gone on with by the next who calls this.

    Raises:
        EnvironmentFailed: the engine does not answer, or does not give the image whole.
        StorageError: no space here or there, or what arrived is not what was sent.
        HostUnreachable: the connection was lost.
    """
    prepare_state(place.local / ".perdure")
    name = slurm_image.file_name(image)
    with alone(place.local / ".perdure" / _HELD, "bringing an image", report):
        if is_there(place, image):
            return
        file = place.local / slurm_image.FOLDER / name
        if place.is_here:
            _make(image, file, settings, report)
            return
        draft = file.parent / _SENDING / name
        if not draft.is_file():
            _make(image, draft, settings, report)
        tell = Progress(report, f"sending {name}", draft.stat().st_size)
        with place.writing():
            sending.send(place.host, draft, place.path(file), tell=tell)
        draft.unlink()


def _make(image: ImageUsed, file: Path, settings: Settings, report: Report) -> None:
    engine = find_engine(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    report(f"making {file.name} of the image")
    write_squashfs(engine, image.reference, read_image(engine, image.reference), file, report)
