"""A project with a development container of a small image, which takes a second to make."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdure.development import image as images
from perdure.development.container import exec_words
from perdure.development.lifecycle import Entry, enter, make
from perdure.development.standing import Session, look, open_session
from perdure.development.wishes import NONE, Wishes
from perdure.jobs.workspace import Workspace
from perdure.model.image import Image, ImageUser, Stage
from perdure.model.report import silent
from perdure.model.settings import Settings
from tests.development.values import project_in
from tests.engines.engines import RealEngine
from tests.engines.small import USER_ID, small_image

CONTENTS = {"pip six": "1.17.0"}


@dataclass(frozen=True)
class Yard:
    """A project with a container of a small image in one engine."""

    session: Session
    engine: RealEngine

    def up(self, wishes: Wishes = NONE) -> None:
        """Make the container."""
        make(self.session, wishes, look(self.session), report=silent)

    def said(self, *command: str, root: bool = False) -> str:
        """Return what a command in the container printed."""
        words = exec_words(
            self.session.container, command, folder="/project/code", root=root, terminal=False
        )
        return self.engine.docker(*words)

    def run(self, *command: str) -> int:
        """Return the exit code of a command in the container, entered as `perdure shell` does."""
        return enter(self.session, Entry(command, self.session.project.root))


def make_yard(
    engine: RealEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Yard]:
    """Yield a project whose folder has a name that nothing should trip over."""
    small = small_image(engine)
    user = ImageUser(small.user_id, small.group_id)
    built = Image(small.reference, small.id, Stage.DEV, None, user)

    def build(*_: object, report: object) -> tuple[Image, Mapping[str, str]]:
        return built, CONTENTS

    def plan(*_: object, report: object) -> tuple[str, Mapping[str, str]]:
        return built.tag, CONTENTS

    # The image that perdure builds is another part's; it takes a minute.
    monkeypatch.setattr(images, "build_image", build)
    monkeypatch.setattr(images, "plan_image", plan)
    project = project_in(tmp_path / "a, \"b\" 'c' $HOME $(x)")
    tmp_path.chmod(0o755)
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", f"{USER_ID}:{USER_ID}", str(project.root)], check=True)
    session = open_session(Workspace(project, Settings()))
    yield Yard(session, engine)
    engine.docker("rm", "--force", "--volumes", session.container, check=False)
