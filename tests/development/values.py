"""A project made of values, and a container's facts as an engine would tell them."""

from __future__ import annotations

from pathlib import Path

from perdure.development.container import (
    CONTENTS_LABEL,
    IMAGE_LABEL,
    PROJECT_LABEL,
    WISHES_LABEL,
    Made,
)
from perdure.development.wishes import Wishes
from perdure.hosts.engine import ContainerFacts
from perdure.model.image import ImageUser
from perdure.model.project import Project

MADE = Made("perdure/cats:dev-0123456789abcdef", ImageUser(1000, 1000), "{}")


def project_in(root: Path) -> Project:
    """Return a project in a folder, which is made."""
    for name in ("data", "results"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text('[project]\nname = "cats"\nversion = "0"\n')
    return Project(root, "cats", "cats", {})


def facts(
    root: Path, *, state: str = "running", tag: str = MADE.tag, wishes: Wishes | None = None
) -> ContainerFacts:
    """Return the facts of a development container."""
    labels = {
        PROJECT_LABEL: str(root),
        IMAGE_LABEL: tag,
        WISHES_LABEL: (wishes or Wishes()).to_label(),
        CONTENTS_LABEL: '{"pip six":"1.16.0"}',
    }
    return ContainerFacts("id", "perdure-x-dev", "image", state, 0, 1, labels, "")
