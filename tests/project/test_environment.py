from pathlib import Path
from typing import Any

import pytest

from perdure.errors import UsageError
from perdure.model.project import BASE, Environment, Step
from perdure.project.decode import decode_project


def decode(root: Path, environment: dict[str, Any]) -> Environment:
    document = {
        "project": {"name": "cats", "optional-dependencies": {"cpu": [], "cuda": []}},
        "tool": {"perdure": {"format": 1, "package": "cats", "environment": environment}},
    }
    return decode_project(document, root).environment


def complaint(root: Path, environment: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        decode(root, environment)
    return caught.value.message


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project's folder with lists of Debian packages and an environment.yml."""
    root = tmp_path / "a project $(x) é"
    (root / "requirements").mkdir(parents=True)
    (root / "requirements/apt-build.txt").write_text("# to compile\nbuild-essential  # gcc\n\n")
    (root / "environment.yml").write_text("dependencies: [libpng]\n")
    return root


def test_what_the_code_needs_is_declared(root: Path) -> None:
    environment = decode(
        root,
        {
            "variants": ["cpu", "cuda"],
            "default_variant": "cuda",
            "python": "3.12",
            "apt": {
                "build": "requirements/apt-build.txt",
                "runtime": ["libgl1", "git=1:2.39.5-0+deb12u2", "libstdc++6"],
            },
            "conda": "environment.yml",
            "base": "localhost:5000/team/base:12@sha256:" + "0" * 64,
            "steps": [{"run": "make -C vendor 'it $(x)'", "stage": "build"}, {"run": "true"}],
        },
    )
    assert environment.variants == ("cpu", "cuda")
    assert environment.default_variant == "cuda"
    assert environment.python == "3.12"
    assert dict(environment.apt) == {
        "build": root / "requirements/apt-build.txt",
        "runtime": ("libgl1", "git=1:2.39.5-0+deb12u2", "libstdc++6"),
    }
    assert environment.conda == root / "environment.yml"
    assert environment.base.startswith("localhost:5000/team/base:12@sha256:")
    assert environment.steps == (
        Step("make -C vendor 'it $(x)'", "build"),
        Step("true", "runtime"),
    )


def test_without_a_word_the_base_is_debian(root: Path) -> None:
    environment = decode(root, {})
    assert environment.base == BASE
    assert environment.conda is None
    assert environment.steps == ()


def test_all_that_has_the_wrong_shape_is_told_at_once(root: Path) -> None:
    message = complaint(
        root,
        {
            "bse": "x",
            "base": "",
            "conda": 3,
            "apt": {"runtme": ["git"], "dev": 3, "build": ["git", 4]},
            "steps": [{"run": "true", "stage": "runtim"}, {"rn": "x"}, "make", {"run": ""}],
        },
    )
    assert message.startswith("11 problems")
    at = "tool.perdure.environment"
    for line in (
        f"{at}.bse: unknown key; did you mean `base`?",
        f"{at}.base: expected `str` of length >= 1",
        f"{at}.conda: expected `str`, got `int`",
        f"{at}.apt.runtme: unknown key; did you mean `runtime`?",
        f"{at}.apt.dev: expected `str | array`, got `int`",
        f"{at}.apt.build[1]: expected `str`, got `int`",
        f"{at}.steps[0].stage: `runtim` is not a choice here; did you mean `runtime`?",
        f"{at}.steps[1].rn: unknown key; did you mean `run`?",
        f"{at}.steps[1].run: is missing",
        f"{at}.steps[2]: expected a table, got `str`",
        f"{at}.steps[3].run: expected `str` of length >= 1",
    ):
        assert f"\n  {line}" in message


def test_all_that_cannot_be_is_told_at_once(root: Path) -> None:
    (root / "requirements/apt-dev.txt").write_text("git\nlibGL1\nless vim\n")
    message = complaint(
        root,
        {
            "base": "--privileged",
            "conda": "enviroment.yml",
            "apt": {
                "build": "requirements/apt-biuld.txt",
                "runtime": ["Git", "libgl1; rm", "x"],
                "dev": "requirements/apt-dev.txt",
            },
            "steps": [{"run": "a\nb"}, {"run": " "}],
        },
    )
    assert message.startswith("10 problems")
    at = "tool.perdure.environment"
    for line in (
        f"{at}.base: `--privileged` cannot be the name of an image",
        f"{at}.conda: there is no file `enviroment.yml`; did you mean `environment.yml`?",
        f"{at}.apt.build: there is no file `requirements/apt-biuld.txt`; did you mean",
        f"{at}.apt.runtime: `Git` cannot be a Debian package; did you mean `git`?",
        f"{at}.apt.runtime: `libgl1; rm` is more than one word",
        f"{at}.apt.runtime: `x` cannot be a Debian package",
        f"{at}.apt.dev: in `requirements/apt-dev.txt`: `libGL1` cannot be",
        f"{at}.apt.dev: in `requirements/apt-dev.txt`: `less vim` is more than one word",
        f"{at}.steps[0].run: is one line for a shell",
        f"{at}.steps[1].run: is one line for a shell",
    ):
        assert f"\n  {line}" in message


@pytest.mark.parametrize(
    "base", [" ", "a b", "-v", "debian\n", "débian", "debian@sha256:12", "UPPER:x", "lab/Cats"]
)
def test_a_base_that_is_no_image_is_refused(root: Path, base: str) -> None:
    assert "tool.perdure.environment.base" in complaint(root, {"base": base})


@pytest.mark.parametrize(
    "base", ["Lab.example:5000/cats:V1", "a/b/c", "ubuntu:24.04", "debian:Latest"]
)
def test_a_registry_and_a_tag_may_have_capitals(root: Path, base: str) -> None:
    assert decode(root, {"base": base}).base == base


def test_a_file_that_cannot_be_read_is_told(root: Path) -> None:
    message = complaint(root, {"conda": "requirements", "apt": {"dev": "nowhere/apt.txt"}})
    assert "environment.conda: cannot read `requirements`: is a directory" in message
    assert "environment.apt.dev: there is no file `nowhere/apt.txt`\n" in message + "\n"


def test_a_name_with_a_null_character_is_no_file(root: Path) -> None:
    assert "environment.conda: cannot read" in complaint(root, {"conda": "a\0b"})
