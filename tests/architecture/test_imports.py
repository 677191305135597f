"""What importing costs and brings in: start-up is a feature."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, SRC, imported, python_files, relative

#: Modules of the runtime that the rest may import: the standard library and xxhash do for them.
SHARED = {
    "perdure.runtime.array",
    "perdure.runtime.gang",
    "perdure.runtime.names",
    "perdure.runtime.settled",
    "perdure.runtime.generation",
    "perdure.runtime.metrics",
    "perdure.runtime.result",
}
#: The driver of a sweep is a supervisor itself; what else imports one would start slower for it.
SUPERVISING = {f"perdure.sweeps.{name}" for name in ("asking", "inside", "program")}
#: What a training imports: doors to the runtime.
TRAININGS = {"perdure", "perdure.lightning", "perdure.huggingface"}
SUPERVISOR_MAY = {
    "perdure.runtime.array",
    "perdure.runtime.gang",
    "perdure.runtime.names",
    "perdure.runtime.generation",
    "perdure.runtime.settled",
}
#: Ours, and what the machine's start-up brings (an editable install's finder).
OURS = {"perdure", "__main__"}


def loaded_by(code: str, *flags: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after `code`."""
    program = f"import sys\nsys.path.insert(0, {str(ROOT / 'src')!r})\n{code}\n"
    program += "import json\nsys.stdout.write('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", *flags, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    names = json.loads(done.stdout.rsplit("\n", 1)[-1])
    return {name.split(".")[0] for name in names}


def outside_standard_library(names: set[str]) -> set[str]:
    return names - set(sys.stdlib_module_names) - OURS


def package(path: Path) -> str:
    """Return the dotted name of a source file."""
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_help_imports_the_standard_library_only() -> None:
    code = (
        "from perdure.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
    )
    assert outside_standard_library(loaded_by(code)) == set()


def test_importing_perdure_brings_in_nothing_else() -> None:
    assert outside_standard_library(loaded_by("import perdure")) == set()


def test_the_runtime_brings_in_neither_torch_nor_numpy() -> None:
    site = [path for path in sys.path if path.endswith("site-packages")]
    code = f"sys.path += {site!r}\nimport perdure.runtime.run"
    loaded = loaded_by(code)
    assert outside_standard_library(loaded) <= {"xxhash"}
    assert not loaded & {"torch", "numpy", "multiprocessing", "asyncio"}


def test_shared_modules_of_the_runtime_need_little() -> None:
    site = [path for path in sys.path if path.endswith("site-packages")]
    code = f"sys.path += {site!r}\n" + "\n".join(f"import {name}" for name in sorted(SHARED))
    assert outside_standard_library(loaded_by(code)) <= {"xxhash"}


def test_the_supervisor_needs_the_standard_library_only() -> None:
    for path in sorted((SRC / "runtime" / "supervisor").rglob("*.py")):
        names = imported(path, nested=True)
        ours = {name for name in names if name.startswith("perdure")}
        allowed = (*SUPERVISOR_MAY, "perdure.runtime.supervisor", "perdure.__version__")
        strangers = {name for name in ours if not name.startswith(allowed)}
        # `from perdure.runtime import names` reads perdure.runtime.names here.
        assert strangers == set(), relative(path)
        assert outside_standard_library({name.split(".")[0] for name in names}) == set(), path


def test_the_rest_imports_only_the_shared_part_of_the_runtime() -> None:
    offenders = {}
    for path in python_files("src"):
        if package(path).startswith("perdure.runtime") or package(path) in TRAININGS:
            continue
        runtime = {
            name for name in imported(path, nested=True) if name.startswith("perdure.runtime.")
        }
        strangers = {name for name in runtime if ".".join(name.split(".")[:3]) not in SHARED}
        if package(path) in SUPERVISING:
            strangers = {n for n in strangers if not n.startswith("perdure.runtime.supervisor.")}
        if strangers:
            offenders[relative(path)] = sorted(strangers)
    assert offenders == {}


@pytest.mark.parametrize(
    "heavy", ["msgspec", "rich", "jinja2", "shtab", "tomlkit", "torch", "numpy"]
)
def test_no_command_imports_anything_heavy_at_its_top(heavy: str) -> None:
    """The verb table is imported for every verb, `--help` among them."""
    offenders = [
        relative(path)
        for path in [SRC / "cli" / "main.py", SRC / "cli" / "verbs.py", SRC / "cli" / "parser.py"]
        if path.exists() and heavy in {name.split(".")[0] for name in imported(path, nested=False)}
    ]
    assert offenders == []
