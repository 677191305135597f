"""The image of a job in a cloud: made here, brought into the bucket, run on the machine."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

from perdure.clouds import images
from perdure.clouds.side import layers
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.user_data import FOLDER
from perdure.errors import EngineUnreachable, MissingProgram
from perdure.hosts.engine import find_engine
from perdure.hosts.engine_client import DOCKER
from perdure.images.mounts import CODE, DATA, RESULTS, Mount
from perdure.images.shipment import Moved
from perdure.model.job import ImageUsed, JobRecord
from perdure.model.project import BASE, Project
from perdure.model.report import Report
from perdure.model.settings import CloudSettings, Settings
from perdure.moving.address import Address
from perdure.moving.bucket import asking
from perdure.targets import invocation, supervision
from perdure.targets.invocation import Setting

PROCESS = "process"
_ROOT = Path(FOLDER, "project")
# Half of the machine's memory: which machine it will be is not known yet.
_SHM, _SHM_WORD = "--shm-size=0", "--shm-size=HALF-OF-ITS-MEMORY"


def engine_of(project: Project, wanted: CloudSettings) -> str:
    """Return what a project's jobs are run by: `docker` or `process`. Reads lists of packages."""
    if wanted.engine is not None:
        return wanted.engine
    return DOCKER if _needs_image(project) else PROCESS


def is_there(bucket: Bucket, address: Address, image: ImageUsed) -> bool:
    """Return whether a bucket has an image, whole. Touches the network."""
    with asking(address, "read"):
        return layers.find(bucket, image.id) is not None


def bring(
    bucket: Bucket, address: Address, image: ImageUsed, settings: Settings, report: Report
) -> Moved:
    """Return what went into a bucket, which has the image then. Asks this machine's engine.

    Raises:
        EnvironmentFailed: the engine does not answer, or does not give the image whole.
        StorageError, HostUnreachable: the bucket refuses, or does not answer.
    """
    engine = find_engine(settings)
    with asking(address, "write"):
        return images.bring(bucket, engine, image.id, report)


@contextlib.contextmanager
def made_here(name: str) -> Iterator[None]:
    """Have an error that there is no engine here say how jobs of a target do without one."""
    try:
        yield
    except (MissingProgram, EngineUnreachable) as error:
        error.hint = made_here_hint(name)
        raise


def made_here_hint(name: str) -> str:
    """Return what to do where this machine has no engine for the images of a target. Pure."""
    return (
        f"images for `{name}` are built here: start Docker or Podman; "
        f'`engine = "process"` in `[targets.{name}]` does without packages of Debian and conda'
    )


def explained(job: JobRecord) -> str:
    """Return what a machine will run of a job in an image, lines of a shell's comments. Pure."""
    image = job.environment.image
    if image is None:
        return ""
    code = [] if image.pegged or job.code.snapshot is None else [job.code.snapshot]
    mounts = (
        *(Mount(f"{_ROOT}/.perdure/snapshots/{each}", CODE, True) for each in code),
        Mount(f"{_ROOT}/data", DATA, True),
        Mount(f"{_ROOT}/results", RESULTS, False),
    )
    options = supervision.supervisor_options(job, f"{RESULTS}/{job.job}", CODE)
    setting = Setting(_ROOT, DOCKER, DOCKER, 0, lent=True)
    words = invocation.supervised(setting, job, mounts, options)
    shown = shlex.join(_SHM_WORD if word == _SHM else word for word in words)
    return (
        f"# the image {image.tag}: its layers that the bucket lacks are sent there first\n"
        f"# on the machine, once Docker is there and has loaded it:\n# {shown}\n"
    )


def _needs_image(project: Project) -> bool:
    """Return whether the environment has what a machine's own Python and uv do not bring."""
    from perdure.environments.fingerprint import apt_packages

    declared = project.environment
    packages = any(apt_packages(declared, stage) for stage in ("build", "runtime"))
    steps = any(step.stage != "dev" for step in declared.steps)
    return packages or steps or declared.conda is not None or declared.base != BASE
