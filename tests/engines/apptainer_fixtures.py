"""The real Apptainer on the PATH of a real Slurm's nodes; and an image, said to be built."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from perdure.jobs import image as images
from perdure.model.image import Image, ImageUser, Stage
from perdure.model.job import ImageUsed
from tests.engines.apptainer import bring, on_path, prepare
from tests.engines.engines import RealEngine
from tests.engines.slurm import Cluster
from tests.engines.small import training_image

_APT = Path(__file__).resolve().parents[2] / "scripts" / "apt"


@pytest.fixture(scope="session")
def _apptainer_there() -> None:
    try:
        prepare()
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)
    if shutil.which("mksquashfs") is None:
        subprocess.run([str(_APT), "squashfs-tools"], check=True, timeout=400)


@pytest.fixture
def apptainer(
    _apptainer_there: None,
    slurm: Cluster,
    modern_engine: RealEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Return the folder that has it, which is on the nodes' PATH; an engine is here."""
    folder = bring(tmp_path / "programs")
    monkeypatch.setenv("PATH", on_path(folder))
    return folder


@pytest.fixture
def cluster_image(modern_engine: RealEngine, monkeypatch: pytest.MonkeyPatch) -> ImageUsed:
    """Return the image that the engine is said to have built for a project."""
    small = training_image(modern_engine)
    user = ImageUser(small.user_id, small.group_id)
    built = Image(small.tag, small.id, Stage.RUNTIME, None, user)
    monkeypatch.setattr(images, "ensure_image_on", lambda *_, **__: built)
    return small
