import pytest

from perdure.environments.packages import of_lock
from perdure.errors import EnvironmentFailed
from perdure.model.image import AptPackage, Base, CondaPackage, ImageLock

LOCK = """\
version = 1
requires-python = "==3.11.*"
[[package]]
name = "cats"
version = "0.1.0"
source = { virtual = "." }
[[package]]
name = "torch"
version = "2.13.0+cpu"
source = { registry = "https://house.invalid/simple" }
[[package]]
name = "torch"
version = "2.13.0"
source = { registry = "https://house.invalid/simple" }
[[package]]
name = "six"
version = "1.17.0"
source = { git = "https://house.invalid/six?rev=v1#0123456789abcdef0123" }
[[package]]
name = "near"
source = { editable = "../near" }
"""


def test_a_lock_is_its_packages_without_the_project() -> None:
    found = of_lock("lock", LOCK)
    assert dict(found.pip) == {
        "near": "",
        "six": "1.17.0 (0123456789ab)",
        "torch": "2.13.0, 2.13.0+cpu",
    }
    assert (found.apt, found.conda, found.python, found.base) == (None, None, None, None)


def test_the_lock_of_an_image_adds_what_it_knows() -> None:
    image = ImageLock(
        "w",
        "u",
        {},
        base=Base("debian:bookworm-slim", "debian", "ab" * 32, "bookworm", "3.11.2"),
        python="3.11.2",
        apt={"runtime": (AptPackage("git", "1:2.39", "git.deb", "0" * 64, 1),)},
        conda=(CondaPackage("zlib", "1.3", "h0", "file:///zlib", "0" * 64),),
    )
    found = of_lock("lock", LOCK, image)
    assert found.apt == {"git": "1:2.39"}
    assert found.conda == {"zlib": "1.3 h0"}
    assert found.python == "3.11.2"
    assert found.base == "debian:bookworm-slim abababababab"
    # Without an engine nothing was known of apt and the base.
    bare = of_lock("lock", LOCK, ImageLock("w", "u", {}))
    assert (bare.apt, bare.base, bare.python) == (None, None, None)


def test_what_is_no_lock_is_named() -> None:
    with pytest.raises(EnvironmentFailed, match="`HEAD` is no lock"):
        of_lock("HEAD", "<<<<<<< ours")
