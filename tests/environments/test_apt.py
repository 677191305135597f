import subprocess
from collections.abc import Mapping

import pytest

from perdure.environments.apt import Asked, near_packages, question, read_answer
from perdure.environments.apt_machine import AptSettings
from perdure.errors import EnvironmentFailed
from perdure.model.image import AptPackage

SHA = "0123456789abcdef" * 4
ORIGINS = {"runtime": "`apt.runtime`", "dev": "`requirements/apt-dev.txt`"}


def asked(packages: Mapping[str, tuple[str, ...]], *, python: bool = True) -> Asked:
    return Asked(packages, ORIGINS, python)


def uri(file: str, sha256: str = SHA) -> str:
    return f"'http://deb.invalid/pool/{file}' {file} 12 SHA256:{sha256}"


def answer(*lines: str) -> str:
    return "\n".join(["Reading package lists...", *lines, ""])


def test_each_stage_is_asked_for_with_what_lies_below_it() -> None:
    script = question(asked({"dev": ("htop",), "runtime": ("libgl1",)}), AptSettings())
    calls = [line for line in script.splitlines() if line.startswith("closure ")]
    assert calls == [
        "closure build",
        "closure runtime ca-certificates libgl1",
        "closure dev ca-certificates libgl1 git openssh-client less htop",
        "closure build+python",
        "closure runtime+python ca-certificates libgl1 python3",
        "closure dev+python ca-certificates libgl1 python3 git openssh-client less htop",
    ]
    assert "declared='ca-certificates libgl1 git openssh-client less htop'" in script


def test_a_base_with_a_python_is_not_asked_for_another() -> None:
    assert "+python" not in question(asked({}, python=False), AptSettings())


def test_the_machines_settings_are_said_in_no_words_of_a_shell() -> None:
    secret = "deb http://me:it's $(touch x) `y`@mirror.invalid/debian é\n"
    settings = AptSettings(sources=secret, conf=secret, auth=secret)
    script = question(asked({}), settings)
    assert "touch" not in script
    done = subprocess.run(
        ["sh", "-c", f"{script.partition('declared=')[0]}\necho $sources | base64 -d"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == secret


def test_the_script_is_one_that_every_shell_reads() -> None:
    subprocess.run(["sh", "-n"], input=question(asked({}), AptSettings()), text=True, check=True)


def test_a_lock_has_every_file_of_a_stage_but_those_below() -> None:
    git, less = "git_1%3a2.39-1_amd64.deb", "less_590_amd64.deb"
    python = "python3_3.11.2-1_amd64.deb"
    told = answer(
        *("@perdure python 3.11.2-1+b1", "@perdure stage build"),
        *("@perdure stage runtime", uri(less)),
        *("@perdure stage dev", uri(less), uri(git)),
        *("@perdure stage runtime+python", uri(python), uri(less)),
        *("@perdure stage dev+python", uri(python), uri(less), uri(git)),
    )
    lock = read_answer(told, asked({}))
    package = AptPackage("git", "1:2.39-1", git, SHA, 12)
    assert dict(lock.stages) == {
        "build": (),
        "runtime": (AptPackage("less", "590", less, SHA, 12),),
        "dev": (package,),
    }
    assert [each.name for each in lock.with_python["runtime"]] == ["less", "python3"]
    assert lock.with_python["dev"] == (package,)
    assert lock.python == "3.11.2"


def test_a_debian_without_python_has_none() -> None:
    assert read_answer(answer("@perdure python (none)"), asked({})).python is None


def test_a_package_that_there_is_not_is_named_with_who_asked() -> None:
    declared = {"runtime": ("libgl", "git=1:2"), "dev": ("libgl", "hto")}
    with pytest.raises(EnvironmentFailed) as caught:
        read_answer(
            answer(
                "@perdure missing libgl",
                "@perdure missing hto",
                "@perdure names",
                *("zsh", "libgl1", "htop", "git"),
            ),
            asked(declared),
        )
    assert caught.value.message == (
        "the base image's Debian has no package "
        "`libgl` (asked for in `apt.runtime` and `requirements/apt-dev.txt`), "
        "`hto` (asked for in `requirements/apt-dev.txt`)"
    )
    assert caught.value.hint == "did you mean, for `libgl`: `libgl1`; for `hto`: `htop`?"


def test_a_package_like_no_other_has_no_near_miss() -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        read_answer(answer("@perdure missing qqqq", "@perdure names", "git"), asked({}))
    assert caught.value.hint == "look at packages.debian.org"


def test_what_was_meant_has_the_name_in_it_or_looks_like_it() -> None:
    names = ["opensc", "python3-opencv", "libopencv-dev", "opencv-data", "git"]
    assert near_packages("opencv", names) == ("opencv-data", "libopencv-dev", "python3-opencv")
    assert near_packages("gti", ["git", "gtk", "zgti2"])[0] == "zgti2"
    assert near_packages("libgll1", ["libgl1", "libgl2", "zsh"])[0] == "libgl1"
    assert near_packages("git", ["git"]) == ()


def test_a_version_that_there_is_not_is_told() -> None:
    with pytest.raises(EnvironmentFailed, match=r"Version '9' for 'git' was not found") as caught:
        read_answer(
            answer(
                "@perdure stage runtime",
                "@perdure refused",
                "E: Version '9' for 'git' was not found",
            ),
            asked({"runtime": ("git=9",)}),
        )
    assert "asked for in `apt.runtime`" in caught.value.message


def test_an_archive_out_of_reach_is_told_without_its_password() -> None:
    with pytest.raises(EnvironmentFailed, match="cannot be reached") as caught:
        read_answer(
            answer(
                "@perdure unreachable",
                "Get:1 x",
                "E: Failed to fetch http://me:secret@mirror.invalid/debian  Could not resolve",
            ),
            asked({}),
        )
    assert "mirror.invalid" in caught.value.message
    assert "secret" not in caught.value.message


def test_an_archive_without_digests_is_refused() -> None:
    line = uri("git_1_amd64.deb").replace("SHA256:", "MD5Sum:")
    with pytest.raises(EnvironmentFailed, match="no SHA-256"):
        read_answer(answer("@perdure stage dev", line), asked({}))
