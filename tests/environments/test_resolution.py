from pathlib import Path

import pytest

from perdure.environments.resolution import Resolution
from perdure.errors import EnvironmentFailed

LOCK = """\
version = 1
[[package]]
name = "cats"
source = { editable = "." }
dependencies = [{ name = "numpy" }, { name = "tool", extra = ["fast"] }]
[package.optional-dependencies]
cpu = [{ name = "torch", version = "2+cpu" }]
cuda-x = [{ name = "torch", version = "2" }]
[package.dev-dependencies]
dev = [{ name = "pytest" }]
[[package]]
name = "numpy"
version = "2.0"
source = { registry = "https://example.invalid/simple" }
wheels = [{ url = "https://example.invalid/a.whl", size = 10 }, { url = "b.whl", size = 30 }]
[[package]]
name = "tool"
version = "1.0"
source = { path = "../vendor $(x)/tool-1.0-py3-none-any.whl" }
wheels = [{ filename = "tool-1.0-py3-none-any.whl", hash = "sha256:00" }]
dependencies = [{ name = "tool" }]
[package.optional-dependencies]
fast = [{ name = "speed", marker = "sys_platform == 'linux'" }]
slow = [{ name = "sloth" }]
[[package]]
name = "torch"
version = "2+cpu"
source = { registry = "wheels dir" }
wheels = [{ path = "torch-2+cpu-cp311-cp311-linux_x86_64.whl" }]
[[package]]
name = "torch"
version = "2"
source = { registry = "https://example.invalid/simple" }
dependencies = [{ name = "nvidia-x" }]
[[package]]
name = "nvidia-x"
version = "1"
[[package]]
name = "speed"
version = "3"
source = { git = "https://example.invalid/speed#abc" }
[[package]]
name = "sloth"
[[package]]
name = "pytest"
version = "8"
"""


@pytest.fixture
def resolution(tmp_path: Path) -> Resolution:
    root = tmp_path / "project"
    for file, size in (
        (tmp_path / "vendor $(x)/tool-1.0-py3-none-any.whl", 7),
        (root / "wheels dir/torch-2+cpu-cp311-cp311-linux_x86_64.whl", 9),
    ):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * size)
    return Resolution.of(LOCK, root)


def test_what_the_variants_need_is_found_and_nothing_else(resolution: Resolution) -> None:
    both = [(each.name, each.version) for each in resolution.installed(("cpu", "CUDA_x"))]
    assert sorted(both) == [
        ("numpy", "2.0"),
        ("nvidia-x", "1"),
        ("speed", "3"),
        ("tool", "1.0"),
        ("torch", "2"),
        ("torch", "2+cpu"),
    ]
    assert [each.name for each in resolution.installed(())] == ["numpy", "tool", "speed"]


def test_files_of_this_machine_are_known(resolution: Resolution) -> None:
    files = {each.version: each.file for each in resolution.installed(("cpu",))}
    assert files["1.0"] == resolution.root / "../vendor $(x)/tool-1.0-py3-none-any.whl"
    torch = resolution.root / "wheels dir/torch-2+cpu-cp311-cp311-linux_x86_64.whl"
    assert files["2+cpu"] == torch
    assert files["2.0"] is None


def test_sizes_are_the_locks_or_the_files(resolution: Resolution) -> None:
    assert resolution.sizes() == {"numpy": 30, "tool": 7, "torch": 9}


def test_a_file_that_is_elsewhere_has_no_size(tmp_path: Path) -> None:
    assert Resolution.of(LOCK, tmp_path / "nowhere").sizes() == {"numpy": 30}


def test_a_lock_that_is_none_is_told() -> None:
    with pytest.raises(EnvironmentFailed, match="not valid TOML") as caught:
        Resolution.of("<<<<<<< HEAD\n", Path())
    assert "perdure lock" in (caught.value.hint or "")
    assert Resolution.of("", Path()).installed(("cpu",)) == ()
