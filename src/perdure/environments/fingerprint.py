"""Digests of what a project declares: a lock that was made for others is out of date."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from perdure.environments.manifest import Manifest
from perdure.errors import StorageError
from perdure.model import debian
from perdure.model.project import Environment, Project


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digests of the Python declarations, and of those that concern images only."""

    packages: str
    image: str


def fingerprint(project: Project, manifest: Manifest) -> Fingerprint:
    """Return the digests of what the project declares now. Reads the files that it names.

    They are the same on every machine: a user's settings have no part in them.

    Raises:
        StorageError: such a file cannot be read.
    """
    environment = project.environment
    image = {
        "apt": {stage: sorted(apt_packages(environment, stage)) for stage in debian.STAGES},
        "base": environment.base,
        "conda": _digest(environment.conda) if environment.conda else None,
        "python": environment.python,
        "requires-python": manifest.requires_python,
        "steps": [[step.stage, step.run] for step in environment.steps],
    }
    text = json.dumps(image, sort_keys=True).encode("utf-8", "surrogatepass")
    packages = manifest.digest(project.root, ())
    if environment.conda:
        # uv resolves beside what conda brings.
        beside = [packages, image["conda"], environment.python, environment.variants]
        packages = hashlib.sha256(json.dumps(beside).encode()).hexdigest()
    return Fingerprint(packages, hashlib.sha256(text).hexdigest())


def apt_packages(environment: Environment, stage: str) -> tuple[str, ...]:
    """Return the Debian packages declared for a stage, in the order they stand in.

    Raises:
        StorageError: the file that lists them cannot be read.
    """
    declared = environment.apt.get(stage, ())
    if not isinstance(declared, Path):
        return declared
    return debian.listed(_read(declared).decode("utf-8", "replace"))


def _digest(file: Path) -> str:
    return hashlib.sha256(_read(file)).hexdigest()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read `{file}`: {(error.strerror or '').lower()}") from error
