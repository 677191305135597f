"""What every test gets: a user without settings, a git identity, no variables of a job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.engines.fixtures import (  # noqa: F401 - fixtures, found by their names
    _modern_running,
    _old_running,
    _podman_there,
    as_user,
    engine,
    modern_engine,
    old_engine,
    podman_engine,
    rootless_podman,
)
from tests.engines.host_fixtures import (  # noqa: F401 - fixtures, found by their names
    _hosts_running,
    hosts,
    hosts_here,
    laptop,
    root_laptop,
)

# A shared machine is slow at times; an example that takes long is no finding.
settings.register_profile("checks", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("checks")

#: What only one process of the tests may start and stop.
ENGINES = frozenset(
    {
        *("engine", "old_engine", "modern_engine", "_old_running", "_modern_running"),
        *("podman_engine", "rootless_podman", "_podman_there"),
        "_hosts_running",
    }
)

#: Folders of a user's settings that a test's package installs still need: this machine's indexes.
PACKAGE_SETTINGS = ("pip", "uv")

GIT_CONFIG = """\
[user]
    name = Perdure's tests
    email = tests@perdure.invalid
[init]
    defaultBranch = main
[commit]
    gpgSign = false
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of a file to one process, to one all that need container engines.

    All that need other hosts, whose engines are their own, go to one, too.
    """
    for item in items:
        fixtures = ENGINES.intersection(getattr(item, "fixturenames", ()))
        name = "engines" if fixtures else item.path.as_posix()
        if "_hosts_running" in fixtures:
            name = "hosts"
        if fixtures and item.get_closest_marker("timeout") is None:
            # The first one waits until the engine is installed.
            item.add_marker(pytest.mark.timeout(600))
        item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(scope="session")
def user_settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a configuration folder that holds nothing but this machine's package settings."""
    folder = tmp_path_factory.mktemp("config")
    real = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for name in PACKAGE_SETTINGS:
        if (real / name).is_dir():
            (folder / name).symlink_to(real / name)
    (folder / "gitconfig").write_text(GIT_CONFIG)
    return folder


@pytest.fixture(autouse=True)
def clean_environment(user_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own settings, and the job that the tests may run in, out of the tests."""
    for name in [*os.environ]:
        if name.startswith(("PERDURE_", "GIT_")) and name != "GIT_SSL_CAINFO":
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(user_settings))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(user_settings / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
