import pytest

from perdure.environments.tags import fits

AMD = "linux/amd64"


@pytest.mark.parametrize(
    "wheel",
    [
        "toy-1.0-py3-none-any.whl",
        "toy-1.0-py2.py3-none-any.whl",
        "toy-1.0-1build-py310-none-any.whl",
        "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
        "numpy-2-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "safe-1-cp38-abi3-manylinux_2_17_x86_64.whl",
        "tool-1-py3-none-manylinux1_x86_64.whl",
        "own-1-cp311-none-linux_x86_64.whl",
    ],
)
def test_a_wheel_for_this_python_and_platform_fits(wheel: str) -> None:
    assert fits(wheel, 11, AMD)
    assert fits(wheel, None, AMD)


@pytest.mark.parametrize(
    "wheel",
    [
        "toy-1.0.tar.gz",
        "toy.whl",
        "toy-1.0-py2-none-any.whl",
        "toy-1.0-py312-none-any.whl",
        "torch-2-cp312-cp312-manylinux_2_28_x86_64.whl",
        "torch-2-cp311-cp311-manylinux_2_28_aarch64.whl",
        "torch-2-cp311-cp311t-manylinux_2_28_x86_64.whl",
        "torch-2-cp311-cp311-musllinux_1_2_x86_64.whl",
        "torch-2-cp311-cp311-macosx_11_0_arm64.whl",
        "torch-2-cp311-cp311-win_amd64.whl",
        "safe-1-cp312-abi3-manylinux_2_17_x86_64.whl",
        "pypy-1-pp311-pypy311_pp73-manylinux_2_17_x86_64.whl",
    ],
)
def test_a_wheel_for_another_does_not(wheel: str) -> None:
    assert not fits(wheel, 11, AMD)


def test_the_platform_is_the_images_and_not_this_machines() -> None:
    assert fits("a-1-cp312-cp312-manylinux_2_28_aarch64.whl", 12, "linux/arm64/v8")
    assert not fits("a-1-cp312-cp312-manylinux_2_28_aarch64.whl", 12, "linux/unheard")
