"""The peer of benchmarks/images.py: an image as uv's documentation recommends to build one.

Written from "Using uv in Docker" (docs.astral.sh/uv/guides/integration/docker): a builder stage
that installs the locked dependencies before the project is copied, with a cache mount, bytecode and
copies; then the project, not editable; then a final stage without uv that takes over the virtual
environment. The base image, the uv and the wheels of this machine are the same that perdure uses.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from tests.engines.engines import RealEngine

VARIANT = "cpu"
CACHE = "perdure-bench-uv"
LIMIT_S = 3600
IGNORED = (".git", ".perdure", "results", "data", ".venv")

DOCKERFILE = """\
FROM {base} AS builder
COPY --from={wheels} /uv /bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=0 UV_NO_CONFIG=1
WORKDIR /app
RUN {mounts} \\
    --mount=type=bind,source=uv.lock,target=uv.lock \\
    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \\
    --mount=type=bind,source=vendor,target=vendor \\
    {trusting}uv sync --frozen --no-install-project --no-editable --no-dev --extra {variant}
COPY . /app
RUN {mounts} \\
    {trusting}uv sync --frozen --no-editable --no-dev --extra {variant}

FROM {base}
RUN groupadd --gid 1000 app && useradd --uid 1000 --gid 1000 --create-home app
COPY --from=builder --chown=app:app /app/.venv /app/.venv
ENV PATH="/app/.venv/bin:$PATH"
USER app
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """The peer's image of a project: `wheels` is an image with uv and this machine's wheels."""

    engine: RealEngine
    project: Path
    base: str
    tag: str
    wheels: list[str] = field(default_factory=list)

    def prepare(self, uv: Path) -> None:
        """Write the Dockerfile, after giving the engine an image of what the project's lock names.

        Called anew when the lock has changed; nothing of it is timed.
        """
        folder = self.project.parent / "wheels of this machine"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        give(uv, folder / "uv")
        files = list(local_files(self.project / "uv.lock"))
        for file in files:
            give(file, folder / "files" / file.relative_to("/"))
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
        listed = "\n".join(str(file) for file in files)
        wheels = f"{self.tag.partition(':')[0]}-wheels:{sha256(listed.encode()).hexdigest()[:16]}"
        self._client("build", "--quiet", "--tag", wheels, str(folder))
        self.wheels.append(wheels)
        text = DOCKERFILE.format(
            base=self.base,
            wheels=wheels,
            variant=VARIANT,
            mounts=mounts(wheels, files),
            trusting="SSL_CERT_FILE=/run/secrets/ca " if os.environ.get("SSL_CERT_FILE") else "",
        )
        (self.project.parent / "peer.Dockerfile").write_text(text, encoding="utf-8")
        ignored = "".join(f"{name}\n" for name in IGNORED)
        (self.project / ".dockerignore").write_text(ignored, encoding="utf-8")

    def build(self, *, cached: bool = True) -> None:
        """Build it."""
        bundle = os.environ.get("SSL_CERT_FILE")
        words = ["build", "--quiet", "--tag", self.tag]
        words += [] if cached else ["--no-cache"]
        words += ["--secret", f"id=ca,src={bundle}"] if bundle else []
        words += ["--file", str(self.project.parent / "peer.Dockerfile"), str(self.project)]
        self._client(*words)

    def _client(self, *words: str) -> None:
        """Run the client; perdure's builds make no attestations either."""
        environ = {**self.engine.environ, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        argv = [self.engine.client, *words]
        done = subprocess.run(argv, env=environ, capture_output=True, timeout=LIMIT_S, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode("utf-8", "replace"))


def give(source: Path, target: Path) -> None:
    """Put a file there, without a copy where that can be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def mounts(wheels: str, files: list[Path]) -> str:
    """Return the mounts of a step that installs: the cache, the certificates, the wheels."""
    found = [f"--mount=type=cache,id={CACHE},target=/root/.cache/uv"]
    if os.environ.get("SSL_CERT_FILE"):
        found.append("--mount=type=secret,id=ca,target=/run/secrets/ca")
    for folder in sorted({file.parent for file in files}):
        place = f"source=/files{folder},target={folder}"
        found.append(f"--mount=type=bind,from={wheels},{place}")
    return " \\\n    ".join(found)


def local_files(lock: Path) -> Iterator[Path]:
    """Yield the wheels that a lock takes from folders of this machine, outside the project."""
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    for package in packages:
        for wheel in package.get("wheels", []):
            path = Path(str(wheel.get("path", "")))
            if path.is_absolute() and path.is_file() and _is_wanted(package):
                yield path


def _is_wanted(package: Mapping[str, object]) -> bool:
    """Return whether a package may be in this variant: CUDA's are gigabytes."""
    return not str(package["name"]).startswith(("nvidia-", "triton", "cuda-"))
