"""Conda packages in an image of a real engine, which has no conda in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perdure.hosts.engine import find_engine
from perdure.images.build import ensure_image
from perdure.model.image import Stage
from perdure.model.project import Environment, Project
from perdure.model.settings import Docker, Settings
from tests.engines.engines import RealEngine
from tests.environments.conda.channel import MINOR, Channel
from tests.environments.conftest import wheel
from tests.environments.told import Told

PYPROJECT = f"""\
[project]
name = "conda-cats"
version = "0.1.0"
requires-python = "=={MINOR}.*"
dependencies = ["uses"]
[dependency-groups]
dev = []
[tool.uv.sources]
uses = {{ path = "vendor/uses-1.0-py3-none-any.whl" }}
[tool.perdure]
format = 1
package = "cats"
"""
SHOW = "import greet, numb, uses; print(greet.greet(), greet.share(), numb.__file__)"


@pytest.mark.timeout(300)
def test_an_image_has_what_conda_brings_and_no_conda(
    project: Project, channel: Channel, offline: None, wheels: Path, old_engine: RealEngine
) -> None:
    root = project.root
    (root / "vendor").mkdir()
    uses = wheel("uses", "1.0", "", "numb>=1")
    (root / "vendor" / "uses-1.0-py3-none-any.whl").write_bytes(uses)
    (wheels / "numb-1.26-py3-none-any.whl").write_bytes(wheel("numb", "1.26", "raise OSError\n"))
    (root / "pyproject.toml").write_text(PYPROJECT)
    file = root / "environment.yml"
    folder = channel.folder.as_uri()
    file.write_text(f"channels: ['{folder}']\ndependencies: [greet, numb=1.26]\n")
    conda = replace(project, environment=Environment(conda=file, python=MINOR))
    settings = Settings(docker=Docker(user_id=1000, group_id=1000))
    image = ensure_image(conda, settings, Stage.RUNTIME, report=Told())
    engine = find_engine(settings)
    try:
        words = ["run", "--rm", "--network=none", "--entrypoint", "python", image.tag, "-c", SHOW]
        said = engine.run(words, timeout_s=120)
        assert said.text.split() == [
            "hello",
            "/opt/conda-env/share/greet",
            f"/opt/conda-env/lib/python{MINOR}/site-packages/numb/__init__.py",
        ], said.complaint
        words = ["run", "--rm", "--network=none", "--entrypoint", "sh", image.tag, "-c"]
        found = engine.run([*words, "greet; command -v conda mamba pixi || true"], timeout_s=120)
        assert found.text == "hello"
    finally:
        engine.run(["image", "rm", "--force", image.tag], timeout_s=120)
