import pytest

from perdure.environments.conda.provided import conflict, constraints, names, python_name
from perdure.errors import EnvironmentFailed
from perdure.model.image import CondaPackage


def package(name: str, version: str = "1.0", python: str = "") -> CondaPackage:
    return CondaPackage(name, version, "h1_0", f"https://x/{name}", "0" * 64, python)


@pytest.mark.parametrize(
    ("name", "pypi", "for_python", "expected"),
    [
        ("numpy", None, True, "numpy"),
        ("pytorch", None, True, "torch"),
        ("Ruamel.Yaml", None, True, "ruamel-yaml"),
        ("libpng", None, False, ""),
        ("python", None, True, ""),
        ("python_abi", None, True, ""),
        ("_openmp_mutex", None, True, ""),
        ("anything", "Other_Name", False, "other-name"),
        # The channel says that it is nothing of pip's.
        ("r-base", "", True, ""),
    ],
)
def test_a_conda_package_has_pips_name(
    name: str, pypi: str | None, for_python: bool, expected: str
) -> None:
    assert python_name(name, pypi, for_python=for_python) == expected


def test_what_conda_brings_binds_pip() -> None:
    packages = [package("numpy", "1.26.4", "numpy"), package("libpng"), package("b", "9e", "b")]
    assert names(packages) == ("b", "numpy")
    # pip cannot read `9e`, so it cannot be bound to it.
    assert constraints(packages) == ("numpy==1.26.4",)


UV = """`uv lock` failed (exit code 1):
  x No solution found when resolving dependencies:
  `-> Because your project depends on numpy==1.26.4 and needs==1.0 depends on numpy>=2, ..."""


def test_a_conflict_names_both_sides() -> None:
    error = conflict(EnvironmentFailed(UV), [package("numpy", "1.26.4", "numpy")])
    assert "conda brings `numpy` 1.26.4" in error.message
    assert "needs==1.0 depends on numpy>=2" in error.message
    assert "`numpy`" in (error.hint or "")


@pytest.mark.parametrize(
    "text", ["`uv lock` failed: no route to host", UV.replace("numpy", "other-numpy")]
)
def test_another_failure_stays_what_it_is(text: str) -> None:
    error = EnvironmentFailed(text)
    assert conflict(error, [package("numpy", "1.26.4", "numpy")]) is error
