"""Jobs in containers of a small image: what perdure's own images hold, without the packages."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdure.jobs import image as images
from perdure.jobs.folder import is_alive
from perdure.jobs.launch import JobRequest, start, submit
from perdure.jobs.lifecycle import read_status
from perdure.jobs.workspace import Workspace
from perdure.model.job import EnvironmentUsed, ImageUsed, JobRecord, JobStatus
from perdure.model.settings import Settings
from perdure.targets.invocation import container_name
from tests.engines.engines import RealEngine
from tests.engines.small import small_image
from tests.jobs.projects import TRAINING, make_project
from tests.waiting import until


@dataclass(frozen=True)
class Yard:
    """A project whose jobs run in containers of one engine."""

    workspace: Workspace
    engine: RealEngine
    image: ImageUsed

    def submit(self, *command: str, **settings: object) -> JobRecord:
        """Return a command as a submitted job."""
        given = {"grace_s": 5.0, "retries": 0, "seed": 1, "target": "docker", **settings}
        return submit(self.workspace, JobRequest(command=command, **given))  # type: ignore[arg-type]

    def shell(self, script: str, **settings: object) -> JobRecord:
        """Return a shell script as a submitted job."""
        return self.submit("sh", "-c", script, **settings)

    def finished(self, record: JobRecord) -> JobStatus:
        """Start a job and return its status once it has ended."""
        start(self.workspace, record)
        until(lambda: not is_alive(record.folder))
        return read_status(record.folder)

    def said(self, script: str, **settings: object) -> str:
        """Return what a shell script wrote, in a job of its own."""
        record = self.shell(script, **settings)
        self.finished(record)
        return (record.folder / "logs" / "000001.log").read_text()

    def container(self, record: JobRecord) -> str:
        """Return the name of a job's container."""
        return container_name(self.workspace.project.root, record.job)

    def containers(self) -> list[str]:
        """Return the project's containers that the engine has, in any state."""
        label = f"label=perdure.project={self.workspace.project.root}"
        return self.engine.docker("ps", "--all", "--quiet", "--filter", label).split()

    def clear(self) -> None:
        """Remove the project's containers."""
        for name in self.containers():
            self.engine.docker("rm", "--force", name, check=False)


def make_yard(
    root: Path,
    engine: RealEngine,
    monkeypatch: pytest.MonkeyPatch,
    files: Mapping[str, str] | None = None,
) -> Yard:
    """Return a project in `root` whose image is the small one."""
    image = small_image(engine)
    used = EnvironmentUsed(None, None, "", None, image)
    monkeypatch.setattr(images, "image_for", lambda *_, **__: used)
    project = make_project(root, {"train.py": TRAINING, **(files or {})}, train="python train.py")
    return Yard(Workspace(project, Settings()), engine, image)


def runtime_files() -> dict[str, Path]:
    """Return what a training imports of perdure, and where it is here: by its path in a project."""
    import xxhash

    from perdure import runtime

    package = Path(runtime.__file__).parents[1]
    files = [package / "__init__.py", *(package / "runtime").rglob("*.py")]
    found = {f"src/perdure/{file.relative_to(package)}": file for file in files}
    own = Path(xxhash.__file__).parent
    assert sys.version_info[:2] == (3, 11)  # as in the image
    return found | {f"src/xxhash/{file.name}": file for file in own.iterdir() if file.is_file()}
