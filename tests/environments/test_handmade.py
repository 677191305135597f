"""What somebody installed in a container, against its own image, on real engines."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.environments.handmade import drift_of_container
from perdure.errors import EnvironmentFailed
from perdure.hosts.engine import find_engine
from perdure.model.project import Project
from perdure.model.settings import Settings
from tests.engines.engines import RealEngine

BASE = "debian:bookworm-slim"
#: A virtual environment as the development stage has it, without pip.
SETUP = """\
set -e
mkdir -p /opt/dev/bin /opt/dev/lib/python3.11/site-packages
printf 'home = /usr/bin\\nversion = 3.11.2\\n' > /opt/dev/pyvenv.cfg
ln -s /usr/bin/python3 /opt/dev/bin/python
"""
#: What pip leaves behind when somebody installs `toy`, which brings `bell`; what apt leaves behind.
INSTALL = """\
set -e
cd /opt/dev/lib/python3.11/site-packages
mkdir toy-2.0.dist-info bell-1.0.dist-info
printf 'Metadata-Version: 2.1\\nName: toy\\nVersion: 2.0\\nRequires-Dist: bell\\n' \\
  > toy-2.0.dist-info/METADATA
printf pip > toy-2.0.dist-info/INSTALLER
touch toy-2.0.dist-info/REQUESTED
printf 'Metadata-Version: 2.1\\nName: bell\\nVersion: 1.0\\n' > bell-1.0.dist-info/METADATA
apt-mark manual libpython3.11-minimal
"""


@pytest.fixture
def container(engine: RealEngine) -> Iterator[tuple[str, str]]:
    """Return the name of a container that runs, and its image: laid out like perdure's own."""
    name = f"perdure-tests-handmade-{secrets.token_hex(4)}"
    run = ("run", "--detach", "--pull=never", "--network=none", f"--name={name}")
    engine.docker(
        "run", "--pull=never", "--network=none", f"--name={name}", BASE, "sh", "-c", SETUP
    )
    engine.docker("commit", name, name)
    engine.docker("rm", name)
    engine.docker(*run, name, "sleep", "300")
    yield name, name
    engine.docker("rm", "--force", name)
    engine.docker("rmi", name)


def test_a_container_is_compared_with_its_image(
    engine: RealEngine, container: tuple[str, str], tmp_path: Path
) -> None:
    project, client = Project(tmp_path, "cats", "cats", {}), find_engine(Settings())
    name, image = container
    assert drift_of_container(project, client, name, image).none
    engine.docker("exec", name, "sh", "-c", INSTALL)
    found = drift_of_container(project, client, name, image)
    assert [(each.name, each.version) for each in found.wished] == [("toy", "2.0")]
    assert [each.name for each in found.brought] == ["bell"]
    assert list(found.apt) == ["libpython3.11-minimal"]
    assert found.apt["libpython3.11-minimal"].startswith("3.11.")
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["toy>=2.0"]\n')
    declared = drift_of_container(project, client, name, image)
    assert not declared.wished
    assert not declared.brought
    assert not found.changed
    assert not found.missing
    engine.docker("exec", name, "rm", "/opt/dev/bin/python")
    with pytest.raises(EnvironmentFailed, match="does not say what is installed"):
        drift_of_container(project, client, name, image)
