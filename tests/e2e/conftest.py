"""The project that the tests on one's own machine share."""

from __future__ import annotations

import pytest

from tests.e2e.demonstrated import Demonstrated, perdure


@pytest.fixture(scope="session")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> Demonstrated:
    """Return a project that `perdure demo` has made."""
    project = tmp_path_factory.mktemp("demonstrated") / "my demo"
    return Demonstrated(project, perdure(project.parent, "demo", str(project)))
