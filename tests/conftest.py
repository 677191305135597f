"""What every test gets: a user without settings, a git identity, no variables of a job."""

from __future__ import annotations

import os
from collections.abc import Set
from pathlib import Path

import pytest
from _pytest.nodeid import coerce_node_id
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.engines.apptainer_fixtures import (  # noqa: F401 - fixtures, found by their names
    _apptainer_there,
    apptainer,
    cluster_image,
)
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
    sshd,
)
from tests.engines.kubernetes import is_built
from tests.engines.kubernetes_fixtures import (  # noqa: F401 - fixtures, found by their names
    _kubernetes_running,
    end_kubernetes,
    kubernetes,
    kubernetes_image,
)
from tests.engines.slurm_fixtures import (  # noqa: F401 - fixtures, found by their names
    _slurm_running,
    slurm,
)

# A shared machine is slow at times; an example that takes long is no finding.
settings.register_profile("checks", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("checks")

#: What only one process of the tests may start and stop, or shares since it takes long to make.
ENGINES = frozenset(
    {
        *("engine", "old_engine", "modern_engine", "_old_running", "_modern_running"),
        *("podman_engine", "rootless_podman", "_podman_there"),
        *("_hosts_running", "_slurm_running", "_kubernetes_running", "demonstrated"),
    }
)

#: The groups that `group_of` knows, the longest first.
GROUPS = ("hosts", "engines", "demonstrated", "kubernetes", "slurm")

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
    """Give all that need container engines to one process, and so hosts, and a scheduler."""
    for item in items:
        fixtures = ENGINES.intersection(getattr(item, "fixturenames", ()))
        name = group_of(fixtures) if fixtures else ""
        if fixtures and item.get_closest_marker("timeout") is None:
            # The first one waits until the engine is installed.
            item.add_marker(pytest.mark.timeout(600))
        if "_kubernetes_running" in fixtures and not is_built():
            # To build it takes minutes, once: `tests/engines/kubernetes build`.
            item.add_marker(pytest.mark.long)
            item.add_marker(pytest.mark.timeout(3000))
        if fixtures and hasattr(item.config, "workerinput"):
            # As xdist's own marker for it would, which pytest 9.2 no longer hears.
            item._id = coerce_node_id(f"{item.nodeid}@{name}")


def group_of(fixtures: Set[str]) -> str:
    """Return which of the processes a test belongs to by what it needs."""
    if "_kubernetes_running" in fixtures:
        return "kubernetes"
    if "_slurm_running" in fixtures and "_hosts_running" not in fixtures:
        return "slurm"
    if "demonstrated" in fixtures:
        return "demonstrated"
    return "hosts" if "_hosts_running" in fixtures else "engines"


@pytest.hookimpl(trylast=True)  # what a test leaves is taken away first
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the cluster after the last of the tests with it, which one process has in a row."""
    in_a_row = hasattr(item.config, "workerinput")
    if in_a_row and uses_kubernetes(item) and not uses_kubernetes(nextitem):
        end_kubernetes()


def uses_kubernetes(item: pytest.Item | None) -> bool:
    return "_kubernetes_running" in getattr(item, "fixturenames", ())


class ByFile(LoadScopeScheduling):
    """Gives the tests of a file to one process, and those of a named group to one as well.

    The groups take longest: they come first, so that none is left for one process at the end.
    """

    def _assign_work_unit(self, node: WorkerController) -> None:
        waiting = [name for name in GROUPS if name in self.workqueue]
        # Of the files, those with few tests have the long ones, and many have been sorted first.
        chosen = waiting[0] if waiting else next(reversed(self.workqueue))
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        _, at, group = nodeid.rpartition("@")
        return group if at and "]" not in group else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Return who gives the tests to the processes."""
    return ByFile(config, log)


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
