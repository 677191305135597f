from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments.fingerprint import Fingerprint, apt_packages, fingerprint
from perdure.environments.manifest import Manifest
from perdure.errors import StorageError
from perdure.model.project import Environment, Project, Step

MANIFEST = Manifest.of({"project": {"dependencies": ["numpy"], "requires-python": ">=3.11"}})


def of(environment: Environment, manifest: Manifest = MANIFEST) -> Fingerprint:
    return fingerprint(Project(Path("/p"), "cats", "cats", {}, environment), manifest)


def test_what_concerns_packages_and_what_concerns_images_are_apart() -> None:
    before = of(Environment())
    more = of(Environment(), Manifest.of({"project": {"requires-python": ">=3.11"}}))
    assert more.packages != before.packages
    assert more.image == before.image
    based = of(Environment(base="debian:13"))
    assert based.packages == before.packages
    assert based.image != before.image


@pytest.mark.parametrize(
    "environment",
    [
        Environment(base="debian:13"),
        Environment(python="3.12"),
        Environment(apt={"dev": ("git",)}),
        Environment(apt={"runtime": ("git",)}),
        Environment(steps=(Step("true"),)),
        Environment(steps=(Step("true", "dev"),)),
    ],
)
def test_each_declaration_counts(environment: Environment) -> None:
    assert of(environment).image != of(Environment()).image


def test_a_list_counts_by_what_it_says(tmp_path: Path) -> None:
    file = tmp_path / "apt $(x).txt"
    file.write_text("# for people\nless\ngit\n")
    listed, inline = Environment(apt={"dev": file}), Environment(apt={"dev": ("git", "less")})
    assert apt_packages(listed, "dev") == ("less", "git")
    assert apt_packages(listed, "build") == ()
    assert of(listed) == of(inline)
    file.write_text("git\n")
    assert of(listed) != of(inline)


def test_conda_counts_by_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "environment.yml"
    file.write_text("dependencies: [libpng]\n")
    before = of(Environment(conda=file))
    file.write_text("dependencies: [libpng=1]\n")
    assert of(Environment(conda=file)).image != before.image != of(Environment()).image


def test_a_file_that_has_gone_is_told(tmp_path: Path) -> None:
    environment = Environment(apt={"dev": tmp_path / "gone.txt"})
    with pytest.raises(StorageError, match=r"gone\.txt"):
        of(environment)


def test_where_the_project_lies_does_not_count(tmp_path: Path) -> None:
    project = Project(tmp_path, "cats", "cats", {})
    assert fingerprint(project, MANIFEST) == fingerprint(
        replace(project, root=tmp_path / "other"), MANIFEST
    )
