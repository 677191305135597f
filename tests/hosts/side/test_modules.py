from __future__ import annotations

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import perdure
from perdure.hosts.side import modules
from perdure.hosts.side.channel import boot_words

ROOT = Path(perdure.__file__).parent


def test_every_module_that_is_streamed_is_there_and_sorted() -> None:
    assert list(modules.MODULES) == sorted(modules.MODULES)
    packed = zipfile.ZipFile(io.BytesIO(modules.archive())).namelist()
    assert packed == [f"perdure/{module}.py" for module in modules.MODULES]


def test_equal_sources_are_equal_bytes() -> None:
    first = modules.archive()
    modules.archive.cache_clear()
    assert modules.archive() == first
    assert len(modules.digest()) == 16


def test_all_of_them_can_be_imported_with_the_standard_library_alone(tmp_path: Path) -> None:
    (tmp_path / "side.zip").write_bytes(modules.archive())
    names = [f"perdure.{each.replace('/', '.')}" for each in modules.MODULES]
    names = [name.removesuffix(".__init__") for name in names]
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path / "side.zip")!r})
import importlib
for name in {names!r}:
    importlib.import_module(name)
where = sys.modules["perdure"].__file__
assert "side.zip" in where, where
"""
    # -S: no site-packages, so that nothing but the standard library is found.
    argv = [sys.executable, "-I", "-S", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# What is imported where it is used, and never is over there.
ONLY_HERE = frozenset(
    {
        "hosts.here",
        "jobs.mirror",
        "jobs.witness",
        "project.settings",
        "runtime.run",
        "targets.command",
    }
)


def imported(module: str) -> set[str]:
    """Return the modules of perdure that one imports, in its functions too, but not for types."""
    found = set()
    tree = ast.parse((ROOT / f"{module}.py").read_text())
    typing = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in typing and node.module:
            base = node.module.partition("perdure")[2].lstrip(".")
            if node.module.partition(".")[0] == "perdure":
                inner = [f"{base}.{name.name}".lstrip(".") for name in node.names]
                modules_ = [each for each in inner if is_module(each)]
                found |= set(modules_) if len(modules_) == len(inner) else {base, *modules_}
    return {name for name in found if name}


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("module", modules.MODULES)
def test_what_they_import_when_they_are_used_is_streamed_too(module: str) -> None:
    streamed = {each.removesuffix("/__init__").replace("/", ".") for each in modules.MODULES}
    assert imported(module) - streamed - ONLY_HERE == set()


def test_the_words_that_begin_a_side_suit_any_shell() -> None:
    text = " ".join(boot_words())
    assert "\n" not in text
    assert "!" not in text
