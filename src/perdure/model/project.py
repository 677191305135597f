"""A project: its folder, its package, its tasks and what its environment needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

GRACE_S = 30.0
RETRIES = 2
BASE = "debian:bookworm-slim"
PULL = ("**/*.ipynb",)


@dataclass(frozen=True, slots=True)
class Task:
    """A named command, with how long it may take to stop and how often it is tried again.

    `axes` is how a sweep's axes become its arguments: `flags` (`--lr 1e-3`) or `hydra` (`lr=1e-3`);
    with `seed_argument` the axis `seed` becomes one too.
    """

    name: str
    command: tuple[str, ...]
    grace_s: float = GRACE_S
    retries: int = RETRIES
    axes: Literal["flags", "hydra"] = "flags"
    seed_argument: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A line for a shell that runs while an image is built, in the stage that needs it."""

    run: str
    stage: str = "runtime"


@dataclass(frozen=True, slots=True)
class Environment:
    """What the code needs: extras that exclude each other, a Python, Debian packages, conda.

    No variants: the project has one environment only. `python` is a version such as `3.11`, None
    where `requires-python` decides. `apt` maps `build`, `runtime` and `dev` to package names, or to
    a file that lists one a line. `conda` is an environment.yml, `base` the image that all begins
    with.
    """

    variants: tuple[str, ...] = ()
    default_variant: str | None = None
    python: str | None = None
    apt: Mapping[str, Path | tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    conda: Path | None = None
    base: str = BASE
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Project:
    """A folder whose pyproject.toml has `[tool.perdure]`.

    `pull` are patterns of files that come back from other hosts when they are changed there.
    """

    root: Path
    name: str
    package: str
    tasks: Mapping[str, Task]
    environment: Environment = Environment()
    pull: tuple[str, ...] = PULL

    @property
    def results(self) -> Path:
        """Return the folder of run folders."""
        return self.root / "results"

    @property
    def state(self) -> Path:
        """Return the folder of what perdure keeps for itself: never in git, always rebuildable."""
        return self.root / ".perdure"

    @property
    def data(self) -> Path:
        """Return the folder of data sets."""
        return self.root / "data"

    @property
    def source(self) -> Path:
        """Return the folder that has to be importable: the package is not installed for a job."""
        return self.root / "src"
