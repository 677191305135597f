import pytest

from perdure.environments.conda.platforms import subdir_of, this_subdir, virtual_packages
from perdure.errors import EnvironmentFailed


def names(subdir: str, *variants: str) -> list[str]:
    return [name for name, _, _ in virtual_packages(subdir, variants)]


@pytest.mark.parametrize(
    ("platform", "subdir"),
    [
        ("linux/amd64", "linux-64"),
        ("linux/arm64", "linux-aarch64"),
        ("linux/arm64/v8", "linux-aarch64"),
        ("osx-arm64", "osx-arm64"),
    ],
)
def test_platforms_have_conda_names(platform: str, subdir: str) -> None:
    assert subdir_of(platform) == subdir


def test_a_platform_without_packages_is_told() -> None:
    with pytest.raises(EnvironmentFailed, match="platform `linux/s390"):
        subdir_of("linux/s390x")


def test_this_machine_has_one() -> None:
    assert virtual_packages(this_subdir())


def test_linux_has_an_old_glibc_and_no_driver() -> None:
    assert names("linux-64") == ["__unix", "__archspec", "__linux", "__glibc"]
    assert "__osx" in names("osx-arm64")


@pytest.mark.parametrize(
    ("variants", "cuda"),
    [((), False), (("cpu", "cuda"), False), (("cuda",), True), (("cu124", "cu128"), True)],
)
def test_cuda_is_there_only_where_every_variant_has_it(
    variants: tuple[str, ...], cuda: bool
) -> None:
    assert ("__cuda" in names("linux-64", *variants)) is cuda
