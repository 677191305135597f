"""A job in an image on machines that are taken away: its layers by way of the bucket.

The laptop has one container engine, the machines another one, which has the image after the first.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdure.clouds.images import called
from perdure.images.mounts import CODE
from perdure.runtime.result import read_result
from tests.cli.command import is_one_error
from tests.clouds.submitter import Submitter
from tests.clouds.test_planes import Cloud, cloud
from tests.clouds.test_spot import TRAINING
from tests.engines.engines import RealEngine
from tests.engines.small import USER_ID, smaller_image
from tests.jobs.contained import runtime_files

__all__ = ["cloud"]

STEPS = 200
QUICK = ("--seed", "7", "train", str(STEPS), "0")
LONG = (*QUICK[:-1], "1")
#: Of a long one the first two machines come to step 20 and 40, and then take minutes: whenever the
#: test gets to it, they are at work.
_PAUSING = """\
turn = int(os.environ["PERDURE_GENERATION"])
        time.sleep(pause_s * (turn < 3 and run.step >= 20 * turn))
"""
only_google = pytest.mark.parametrize("cloud", ["gcp"], indirect=True)
_SETTINGS = f"""\
engine = "docker"
[docker]
user_id = {USER_ID}
group_id = {USER_ID}
"""


@dataclass
class Yard:
    """A user whose project has an image, and the engine of the machines."""

    cloud: Cloud
    engine: RealEngine
    #: What their engine calls the image.
    image: str

    def end_containers(self) -> None:
        """End what runs on the machines' engine."""
        for folder in self.cloud.plane.folder.glob("*"):
            label = f"label=perdure.project={folder}/opt/perdure/project"
            for name in self.engine.docker("ps", "-aq", "--filter", label).split():
                self.engine.docker("rm", "--force", name, check=False)

    def empty(self) -> None:
        """Leave nothing of the machines on their engine."""
        self.end_containers()
        self.engine.docker("rmi", "--force", self.image, check=False)

    def layers(self) -> dict[str, int]:
        """Return what the bucket has of images, and when each object was written."""
        bucket = self.cloud.project.parent / "a bucket"
        found = [*bucket.glob("*/layers/**/*"), *bucket.glob("*/images/*")]
        return {str(each): each.stat().st_mtime_ns for each in found if each.is_file()}


def give_image(user: Submitter, engine: RealEngine) -> tuple[str, str]:
    """Have an image be taken for the built one of a user's project; return its tag and its name."""
    user.environ.update(engine.variables)
    for name, file in runtime_files().items():
        (user.project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, user.project / name)
    table = user.project / "pyproject.toml"
    needs = 'version = "0.1"\nrequires-python = "==3.11.*"\n'
    table.write_text(table.read_text().replace('version = "0.1"\n', needs))
    local = user.project / ".perdure/local.toml"
    local.write_text(local.read_text() + _SETTINGS)
    user.perdure("lock")
    tag = re.search(r"--tag=(\S+)", user.perdure("build", "--explain").out)
    assert tag is not None
    known = smaller_image(engine).id
    engine.docker("tag", known, tag[1])
    return tag[1], called(known)


@pytest.fixture
def yard(cloud: Cloud, old_engine: RealEngine, modern_engine: RealEngine) -> Iterator[Yard]:
    """Return a project that has an image."""
    training = TRAINING.replace("time.sleep(pause_s)\n", _PAUSING)
    (cloud.project / "train.py").write_text(f"import os\n{training}")
    cloud.environ["PATH"] = _path_without(modern_engine)
    tag, image = give_image(cloud, old_engine)
    found = Yard(cloud, modern_engine, image)
    found.empty()
    yield found
    for machine in list(cloud.plane.alive.values()):
        cloud.plane.end(machine)
    found.empty()
    old_engine.docker("rmi", tag, check=False)


def _path_without(modern: RealEngine) -> str:
    """Return where programs are for who has not the modern engine's client."""
    own = str(Path(modern.client).parent)
    return ":".join(each for each in os.environ["PATH"].split(":") if each != own)


def survive(yard: Yard) -> None:
    """See a job through the loss of two machines, the first one without a word."""
    cloud = yard.cloud
    sent = cloud.perdure("run", "--on", "cloud", "--name", "otter", "-d", *LONG)
    assert re.search(r"the image is in the bucket: [1-9][0-9]* layers sent", sent.err)
    cloud.until_saved()
    code = "import os; print(os.getcwd(), os.geteuid())"
    visit = cloud.perdure("attach", "otter", "--", "python", "-c", code)
    assert visit.out == f"{CODE} {USER_ID}\n"
    # Without a word: the container goes with the rest of it.
    cloud.plane.end(cloud.machine())
    yard.end_containers()
    cloud.until(lambda: any(each.name.startswith("g000002") for each in cloud.saved()))
    cloud.take_away(cloud.machine())
    cloud.until_gone()
    found = cloud.job("otter")
    assert (found["state"], found["step"]) == ("SUCCEEDED", STEPS), cloud.logs()
    assert cloud.plane.count == 3
    assert "preempt" in cloud.perdure("show", "otter").out
    cloud.perdure("pull", "results", "otter", "--on", "cloud")


def go_on_here(yard: Yard) -> None:
    """See another job of the same image, with other code, send nothing of it, and go on here."""
    cloud, had = yard.cloud, yard.layers()
    train = cloud.project / "train.py"
    train.write_text(train.read_text() + "print('again')\n")
    again = cloud.perdure("run", "--on", "cloud", "--name", "badger", "-d", *QUICK)
    assert "layers sent" not in again.err
    assert yard.layers() == had
    # No machine has come yet.
    cloud.perdure("interrupt", "--no-wait", "badger")
    refused = cloud.perdure("resume", "badger", "--on", "local", code=2)
    assert is_one_error(refused, 2, "cannot go on on `local`", "`docker`")
    cloud.perdure("resume", "badger", "--on", "docker")
    assert cloud.job("badger")["state"] == "SUCCEEDED"


@only_google
def test_a_job_in_an_image_survives_its_machines(yard: Yard) -> None:
    cloud = yard.cloud
    cloud.perdure("run", "--name", "alone", *QUICK)
    explained = cloud.perdure("run", "--on", "cloud", "--explain", *LONG).out
    assert "--network=host" in explained
    assert not yard.layers()
    survive(yard)
    go_on_here(yard)
    results = cloud.project / "results"
    alone, otter, badger = (results / name for name in ("alone", "otter", "badger"))
    assert read_result(str(otter)) == read_result(str(badger)) == read_result(str(alone))
    written = "outputs/the result.txt"
    assert (otter / written).read_text() == (alone / written).read_text()
