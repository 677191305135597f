from __future__ import annotations

from perdure.environments.compare import Change
from perdure.environments.drift import Before, Drift, drift_between, merged
from perdure.environments.expected import replayed
from perdure.environments.installed import InstalledConda, InstalledPackage, Inventory
from perdure.environments.wanted import Kind


def package(name: str, version: str = "1", *needs: str, **more: bool | str) -> InstalledPackage:
    return InstalledPackage(name, version, needs, **more)  # type: ignore[arg-type]


def drift(before: dict[str, str], *packages: InstalledPackage) -> Drift:
    return drift_between("x", Before(before), Inventory("3.11.2", packages), ("cats",))


def names(packages: tuple[InstalledPackage, ...]) -> list[str]:
    return [each.name for each in packages]


def test_nothing_new_is_no_drift() -> None:
    seeds = [package(name) for name in ("pip", "setuptools", "wheel", "uv", "cats")]
    assert drift({"six": "1"}, package("six"), *seeds).none


def test_what_came_along_is_not_what_was_asked_for() -> None:
    found = drift(
        {"six": "1"},
        package("six"),
        package("requests", "2", "idna", "urllib3", "six"),
        package("idna", "3"),
        package("urllib3", "2", "brotli"),
        package("brotli"),
    )
    assert names(found.wished) == ["requests"]
    assert names(found.brought) == ["brotli", "idna", "urllib3"]
    assert found.is_new
    assert not found.missing


def test_pip_knows_who_was_asked_for() -> None:
    found = drift({}, package("a", "1", "b"), package("b", requested=True), package("c", "1", "a"))
    assert names(found.wished) == ["b", "c"]
    assert names(found.brought) == ["a"]


def test_a_circle_has_a_name() -> None:
    found = drift({}, package("b", "1", "a"), package("a", "1", "b"), package("z", "1", "z"))
    assert names(found.wished) == ["a", "z"]
    assert names(found.brought) == ["b"]


def test_the_command_line_of_perdure_is_no_wish() -> None:
    found = drift(
        {"perdure": "1"},
        package("perdure", "1", "rich"),
        package("rich", "1", "pygments"),
        package("pygments"),
        package("six"),
    )
    assert names(found.wished) == ["six"]
    assert found.brought == ()


def test_changed_and_missing_versions() -> None:
    found = drift({"a": "1", "b": "1", "pip": "1"}, package("a", "2"))
    assert found.changed == (Change("pip", "a", "1", "2"),)
    assert found.missing == (Change("pip", "b", "1", ""),)
    assert not found.is_new
    assert not found.none


def test_what_comes_from_a_folder_cannot_be_declared() -> None:
    found = drift({}, package("a", "1", "b", url="file:///home/me/a"), package("b"))
    assert names(found.foreign) == ["a"]
    assert found.wished == ()
    assert names(found.brought) == ["b"]


def test_debian_and_conda_packages_that_were_asked_for() -> None:
    now = Inventory(
        "3.11.2",
        (),
        (
            InstalledConda("zlib", "1.3", "h0", "zlib >=1"),
            InstalledConda("libpng", "1.6", "h0", ""),
            InstalledConda("python", "3.11", "h0", "python"),
        ),
        {"git": "2", "bash": "5"},
    )
    found = drift_between("x", Before({}, {"python": "3.11"}, {"bash": "5"}), now, ())
    assert found.apt == {"git": "2"}
    assert [each.name for each in found.conda] == ["zlib"]
    # Where apt was not asked, nothing is known of it.
    assert not drift_between("x", Before({}), now, ()).apt


def test_what_is_declared_by_now_is_not_new() -> None:
    now = Inventory(
        "3.11.2",
        (package("a", "1", "b"), package("b"), package("c", "1", "d"), package("d")),
        (InstalledConda("zlib", "1.3", "h0", "zlib"),),
        {"git": "2", "less": "1"},
    )
    declared = {Kind.PIP: {"a"}, Kind.APT: {"git"}, Kind.CONDA: {"zlib"}}
    found = drift_between("x", Before({}, {}, {}), now, (), declared)
    assert names(found.wished) == ["c"]
    assert names(found.brought) == ["d"]
    assert dict(found.apt) == {"less": "1"}
    assert not found.conda


def test_of_several_environments_the_first_counts() -> None:
    one = drift({"m": "1"}, package("a", "1"))
    other = drift({"m": "1", "n": "1"}, package("a", "2"), package("b", "2"))
    found = merged([one, other])
    assert [(each.name, each.version) for each in found.wished] == [("a", "1"), ("b", "2")]
    assert [each.name for each in found.missing] == ["m"]
    assert found.label == "x and x"


def test_a_plan_of_uv_is_played() -> None:
    plan = "Would uninstall 2 packages\n - Six==1.17.0\n - torch==2+cpu\n + torch==2\n ~ x==1\n"
    assert replayed(plan, {"six": "1.17.0", "torch": "2+cpu", "x": "1"}) == {"torch": "2", "x": "1"}
