import tomllib
from pathlib import Path
from typing import Any

from perdure.environments.indexes import replacements, without_credentials
from perdure.environments.manifest import Manifest, normalised
from perdure.model.settings import Index, IndexFormat

TEXT = """
[build-system]
requires = ["hatchling"]
[project]
name = "cats"
version = "1"
description = "a \\"text\\" \\\\ $(x) é \\u007f"
requires-python = "==3.11.*"
dependencies = ["numpy>=2", "Scikit_Learn"]
[project.optional-dependencies]
cpu = ["torch==2.13.0"]
cuda = ["torch==2.13.0 ; sys_platform == 'linux'"]
[dependency-groups]
dev = ["pytest", {include-group = "lint"}]
lint = ["ruff==0.12.*"]
[tool.hatch]
when = 2026-01-02T03:04:05Z
numbers = [1, 2.5, true, false]
[tool.uv]
conflicts = [[{extra = "cpu"}, {extra = "cuda"}]]
[tool.uv.sources]
torch = [{index = "pytorch-cpu", extra = "cpu"}]
toy = {path = "vendor/toy.whl"}
near = {path = "../near"}
[[tool.uv.index]]
name = "pytorch-cpu"
url = "https://wheels.example/cpu"
format = "flat"
explicit = true
"""


def document() -> dict[str, Any]:
    return tomllib.loads(TEXT)


def test_what_a_manifest_asks_for() -> None:
    manifest = Manifest.of(document())
    assert manifest.requires_python == "==3.11.*"
    assert manifest.indexes() == {"pytorch-cpu": "https://wheels.example/cpu"}
    assert manifest.packages_from("pytorch-cpu") == {"torch"}
    assert manifest.packages_from("other") == frozenset()
    assert manifest.pins("torch") == {"2.13.0"}
    assert manifest.pins("ruff") == manifest.pins("numpy") == frozenset()
    assert manifest.direct("cpu") == {"numpy", "scikit-learn", "torch"}
    assert manifest.direct(None) == {"numpy", "scikit-learn"}


def test_an_empty_manifest_asks_for_nothing(tmp_path: Path) -> None:
    manifest = Manifest.of({"project": 3, "tool": {"uv": {"index": "x", "sources": []}}})
    assert manifest.indexes() == {}
    assert manifest.requires_python == ""
    assert manifest.direct("cpu") == frozenset()
    assert tomllib.loads(manifest.staged({}, "../"))["project"] == 3
    assert manifest.digest(tmp_path, [])


def test_the_digest_follows_what_is_installed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor/toy.whl").write_bytes(b"1")
    before = Manifest.of(document()).digest(tmp_path, [])
    same = document()
    same["project"]["description"] = "another"
    same["tool"]["ruff"] = {"line-length": 80}
    assert Manifest.of(same).digest(tmp_path, []) == before
    other = document()
    other["project"]["dependencies"].append("rich")
    assert Manifest.of(other).digest(tmp_path, []) != before
    index = Index("pytorch-cpu", "https://mirror.example", IndexFormat.SIMPLE)
    assert Manifest.of(document()).digest(tmp_path, [index]) != before
    (tmp_path / "vendor/toy.whl").write_bytes(b"2")
    assert Manifest.of(document()).digest(tmp_path, []) != before


def test_the_staged_manifest_differs_in_its_indexes_and_outer_paths_only() -> None:
    index = Index("pytorch-cpu", "file:///a%20folder", IndexFormat.SIMPLE)
    staged = tomllib.loads(Manifest.of(document()).staged({"pytorch-cpu": index}, "../../"))
    expected = document()
    expected["tool"]["uv"]["index"] = [
        {"name": "pytorch-cpu", "url": "file:///a%20folder", "explicit": True}
    ]
    expected["tool"]["uv"]["sources"]["toy"] = [{"path": "vendor/toy.whl"}]
    expected["tool"]["uv"]["sources"]["near"] = [{"path": "../../../near"}]
    assert staged == expected


def test_a_flat_index_says_so() -> None:
    index = Index("pytorch-cpu", "file:///wheels", IndexFormat.FLAT)
    staged = tomllib.loads(Manifest.of(document()).staged({"pytorch-cpu": index}, "../../"))
    assert staged["tool"]["uv"]["index"][0]["format"] == "flat"


def test_names_are_compared_as_indexes_do() -> None:
    assert normalised("Scikit_.-Learn") == "scikit-learn"


def wheels(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_the_users_index_comes_before_the_machines_folder(tmp_path: Path) -> None:
    folder = wheels(tmp_path / "w", "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl")
    manifest = Manifest.of(document())
    chosen = Index("pytorch-cpu", "https://mirror.example", IndexFormat.SIMPLE)
    other = Index("other", "https://other.example", IndexFormat.SIMPLE)
    assert replacements(manifest, {"pytorch-cpu": chosen, "other": other}, [folder]) == {
        "pytorch-cpu": chosen
    }


def test_a_folder_replaces_an_index_only_if_it_has_what_is_asked_for(tmp_path: Path) -> None:
    manifest = Manifest.of(document())
    others = wheels(tmp_path / "o", "torchvision-2.13.0-py3-none-any.whl", "notes.txt")
    older = wheels(tmp_path / "old", "torch-2.12.0+cpu-cp311-cp311-linux_x86_64.whl")
    assert replacements(manifest, {}, [others, older, tmp_path / "missing"]) == {}
    right = wheels(tmp_path / "a folder é", "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl")
    assert replacements(manifest, {}, [others, older, right]) == {
        "pytorch-cpu": Index("pytorch-cpu", right.as_uri(), IndexFormat.FLAT)
    }


def test_passwords_leave_the_url_for_the_environment() -> None:
    index = Index("my-index.1", "https://me:p%40ss@x.example:8443/simple", IndexFormat.SIMPLE)
    bare, secrets = without_credentials(index)
    assert bare.url == "https://x.example:8443/simple"
    assert secrets == {"UV_INDEX_MY_INDEX_1_USERNAME": "me", "UV_INDEX_MY_INDEX_1_PASSWORD": "p@ss"}
    assert without_credentials(bare) == (bare, {})
