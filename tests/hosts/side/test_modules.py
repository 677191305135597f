from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

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
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_words_that_begin_a_side_suit_any_shell() -> None:
    text = " ".join(boot_words())
    assert "\n" not in text
    assert "!" not in text
