"""A tag says what is in an image, and nothing of the machine that would build it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.images import tag
from perdure.images.tag import contents_digest, repository, tag_of
from perdure.model.image import CondaPackage, ImageUser, Stage, Tier
from perdure.model.project import Step
from tests.images.recipes import GOMP, INICONFIG, RECIPE

CODE = {"a.py": "1", "sub/b.py": "2"}


def code(folder: Path, files: dict[str, str], mode: int = 0o644) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    return folder


def test_it_names_project_stage_and_variant() -> None:
    assert tag_of(RECIPE, Stage.RUNTIME).startswith("perdure/cats:runtime-cpu-")
    assert len(tag_of(RECIPE, Stage.DEV)) == len("perdure/cats:dev-cpu-") + 16
    plain = tag_of(replace(RECIPE, variant=None), Stage.RUNTIME)
    assert plain.rpartition("-")[0] == "perdure/cats:runtime"
    assert tag_of(RECIPE, Stage.RUNTIME) == tag_of(RECIPE, Stage.RUNTIME)


@pytest.mark.parametrize(
    "changed",
    [
        replace(RECIPE, base=replace(RECIPE.base, layers="00")),
        replace(RECIPE, user=ImageUser(1, 1)),
        replace(RECIPE, platform="linux/arm64"),
        replace(RECIPE, uv="0.0.1"),
        replace(RECIPE, tiers={**RECIPE.tiers, Tier.LIGHT: (INICONFIG,)}),
        replace(RECIPE, tiers={Tier.LIGHT: RECIPE.packages()}),
        replace(RECIPE, apt={"runtime": (GOMP,)}),
        replace(RECIPE, apt={"runtime": (replace(GOMP, sha256="00" * 32),)}),
        replace(RECIPE, steps=(Step("true"),)),
        replace(RECIPE, conda=(CondaPackage("a", "1", "0", "https://127.0.0.1:9/a", "00"),)),
    ],
    ids=str,
)
def test_what_is_in_the_image_changes_it(changed: object) -> None:
    assert contents_digest(changed, Stage.RUNTIME) != contents_digest(RECIPE, Stage.RUNTIME)  # type: ignore[arg-type]


def test_what_only_the_dev_stage_has_changes_that_alone() -> None:
    more = replace(RECIPE, development=(), apt={"dev": (GOMP,)})
    assert tag_of(more, Stage.RUNTIME) == tag_of(RECIPE, Stage.RUNTIME)
    assert tag_of(more, Stage.DEV) != tag_of(RECIPE, Stage.DEV)


def test_the_generator_and_the_supervisor_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = tag_of(RECIPE, Stage.RUNTIME)
    with monkeypatch.context() as patch:
        patch.setattr(tag, "GENERATOR", 99)
        assert tag_of(RECIPE, Stage.RUNTIME) != before
    monkeypatch.setattr(tag, "supervisor_files", lambda: {"supervisor/x": b"other"})
    assert tag_of(RECIPE, Stage.RUNTIME) != before


def test_the_code_counts_by_contents_names_and_kinds(tmp_path: Path) -> None:
    first = tag_of(RECIPE, Stage.RUNTIME, code(tmp_path / "a", CODE))
    same = code(tmp_path / "elsewhere", CODE)
    os.utime(same / "a.py", (5, 5))
    (same / "data").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a" / "data").symlink_to("/other")
    assert tag_of(RECIPE, Stage.RUNTIME, same) == tag_of(RECIPE, Stage.RUNTIME, tmp_path / "a")
    others = [
        code(tmp_path / "b", {**CODE, "a.py": "3"}),
        code(tmp_path / "c", {**CODE, "new.py": ""}),
        code(tmp_path / "d", CODE, 0o755),
        code(tmp_path / "e \u00e9", {"b.py": "1", "sub/b.py": "2"}),
    ]
    (code(tmp_path / "f", CODE) / "link").symlink_to("a.py")
    tags = {tag_of(RECIPE, Stage.RUNTIME, each) for each in [*others, tmp_path / "f"]}
    assert len(tags | {first, tag_of(RECIPE, Stage.RUNTIME)}) == 7


def test_a_file_with_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder = code(tmp_path / "a", CODE)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_text("x")
    assert tag_of(RECIPE, Stage.RUNTIME, folder) == tag_of(RECIPE, Stage.RUNTIME, folder)


@pytest.mark.parametrize(
    ("project", "expected"),
    [
        ("cats", "perdure/cats"),
        ("My Cats", "perdure/my-cats"),
        ("a__b..c", "perdure/a-b-c"),
        ("-\u732b-", "perdure/project"),
        ("code", "perdure/code"),
    ],
)
def test_a_project_of_any_name_has_a_repository(project: str, expected: str) -> None:
    assert repository(project) == expected
