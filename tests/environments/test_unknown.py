from pathlib import Path

import pytest

from perdure.environments.lock import ensure_lock
from perdure.errors import EnvironmentFailed
from perdure.model.project import Project
from perdure.model.settings import Settings
from tests.environments.conftest import declare, wheel


def test_a_package_that_there_is_not_is_named(plain: Project) -> None:
    ensure_lock(plain, Settings())
    declare(plain, '["toy", "toyy"]')
    with pytest.raises(EnvironmentFailed) as caught:
        ensure_lock(plain, Settings())
    assert caught.value.message == (
        "there is no package `toyy` in any index that this machine uses; "
        "asked for in `project.dependencies`"
    )
    assert (caught.value.hint or "").startswith("did you mean `toy`")


def test_a_package_of_a_variant_that_there_is_not_is_named(plain: Project) -> None:
    declare(plain, '["toy"]', '["numpyy[fast]"]')
    with pytest.raises(EnvironmentFailed, match=r"`project.optional-dependencies.cpu`") as caught:
        ensure_lock(plain, Settings())
    assert "no package `numpyy`" in caught.value.message
    assert "`numpy`" in (caught.value.hint or "")


def test_a_version_that_there_is_not_is_no_missing_package(plain: Project) -> None:
    declare(plain, '["toy==99"]')
    with pytest.raises(EnvironmentFailed, match=r"no version of toy==99"):
        ensure_lock(plain, Settings())


def test_an_index_that_was_not_asked_has_no_say(
    plain: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.setenv("UV_OFFLINE", "1")
    declare(plain, '["toyy"]')
    with pytest.raises(EnvironmentFailed, match="network was disabled"):
        ensure_lock(plain, Settings())


def test_a_package_that_is_well_known_was_not_mistyped(plain: Project) -> None:
    declare(plain, '["torch"]')
    with pytest.raises(EnvironmentFailed, match="no package `torch`") as caught:
        ensure_lock(plain, Settings())
    assert "is the index reachable" in (caught.value.hint or "")


def test_a_package_that_another_one_needs_is_named(plain: Project, wheels: Path) -> None:
    (wheels / "needy-1.0-py3-none-any.whl").write_bytes(wheel("needy", "1.0", "", "absentee"))
    declare(plain, '["needy"]')
    with pytest.raises(EnvironmentFailed, match="no package `absentee`") as caught:
        ensure_lock(plain, Settings())
    assert "depends on it" in caught.value.message
