"""What a repository holds that perdure can run: its package, and what in it is a program."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import UsageError
from perdure.project.decode import package_problem

# Folders of a repository's root that are no package of it.
_ASIDE = frozenset(
    (
        *("benchmarks", "bin", "build", "conf", "configs", "data", "dist", "doc", "docs", "env"),
        *("examples", "experiments", "notebooks", "outputs", "requirements", "results", "scripts"),
        *("src", "test", "tests", "tools", "vendor", "venv"),
    )
)
# Files of a repository's root that are for other programs.
_TOOLS = frozenset(("conftest.py", "fabfile.py", "noxfile.py", "setup.py", "tasks.py"))
_PROGRAMS = re.compile(r"(pre)?train|finetune|main|run|eval(uate)?|test_model|predict|infer(ence)?")
_MOST_TASKS = 20
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """A package's name and its folder, `""` where the repository has none: only scripts."""

    package: str
    folder: str


def find_layout(root: Path, name: str, chosen: str | None) -> Layout:
    """Return the package of a repository called `name`: below src/, or in its root. Reads folders.

    `chosen` is the user's word for which of several.

    Raises:
        UsageError: there are several, or it has a name that no package can have.
    """
    found = _in_src(root) or _in_root(root)
    named = {layout.package: layout for layout in found}
    wanted = chosen or (found[0].package if len(found) == 1 else _like(name))
    if wanted in named:
        return _checked(named[wanted])
    if chosen and found:
        raise UsageError(
            f"there is no package `{chosen}` in `{root}`", hint=f"it has {_listed(sorted(named))}"
        )
    if found:
        raise UsageError(
            f"`{root}` has several packages: {_listed(sorted(named))}",
            hint=f"perdure adopt --package {min(named)}",
        )
    if package_problem(wanted):
        wanted = wanted if chosen else f"{_like(name)}_project"
    return _checked(Layout(wanted, ""))


def find_tasks(root: Path, layout: Layout) -> dict[str, tuple[str, ...]]:
    """Return the commands of the repository's programs by the names of their tasks. Reads files."""
    tasks: dict[str, tuple[str, ...]] = {}
    for where, name, command in _programs(root, layout):
        for each in (name, f"{where}.{name}"):
            if each not in tasks:
                tasks[each] = command
                break
        if len(tasks) == _MOST_TASKS:
            break
    return tasks


def _programs(root: Path, layout: Layout) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield where each program is, its task's name, and its command."""
    if layout.folder:
        folder = root / layout.folder
        for file in _python_files(folder.rglob("*.py")):
            words = [layout.package, *file.relative_to(folder).with_suffix("").parts]
            if all(word.isidentifier() for word in words) and "tests" not in words:
                module = ".".join(words).removesuffix(".__main__")
                if words[-1] == "__main__" or _is_program(file):
                    yield layout.package, module.split(".")[-1], ("python", "-m", module)
    for where, files in (("scripts", (root / "scripts").glob("*.py")), ("root", root.glob("*.py"))):
        for file in _python_files(files):
            if file.name in _TOOLS or not (_is_program(file) or _PROGRAMS.fullmatch(file.stem)):
                continue
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._") or "script"
            path = file.relative_to(root).as_posix()
            # A name such as `-c.py` is an option to Python; `./-c.py` is a file.
            yield where, name, ("python", f"./{path}" if path.startswith("-") else path)


def _python_files(files: Iterable[Path]) -> list[Path]:
    return sorted(file for file in files if file.is_file() and file.stat().st_size < _LARGEST)


def _is_program(file: Path) -> bool:
    """Return whether a file does something when it is run: it has `if __name__ == ...`."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return False
    tests = (ast.unparse(each.test) for each in body if isinstance(each, ast.If))
    return any("__name__" in test and "__main__" in test for test in tests)


def _in_src(root: Path) -> list[Layout]:
    source = root / "src"
    if not source.is_dir():
        return []
    below = [
        Layout(folder.name, f"src/{folder.name}")
        for folder in sorted(source.iterdir())
        if _is_package(folder, marked=False)
    ]
    if (source / "__init__.py").is_file() or (not below and any(source.glob("*.py"))):
        # `from src.model import ...`: src is the package itself.
        return [Layout("src", "src")]
    return below


def _in_root(root: Path) -> list[Layout]:
    return [
        Layout(folder.name, folder.name)
        for folder in sorted(root.iterdir())
        if folder.name not in _ASIDE and _is_package(folder, marked=True)
    ]


def _is_package(folder: Path, *, marked: bool) -> bool:
    """Return whether a folder holds modules; `marked`: and an `__init__.py` says so."""
    if not folder.is_dir() or folder.name.startswith((".", "__")) or "." in folder.name:
        return False
    return (folder / "__init__.py").is_file() if marked else any(folder.glob("*.py"))


def _checked(layout: Layout) -> Layout:
    problem = package_problem(layout.package)
    if problem:
        where = f" in `{layout.folder}`" if layout.folder else ""
        raise UsageError(
            f"the package{where} cannot stay as it is: {problem}",
            hint=f"git mv {layout.folder or layout.package} ANOTHER_NAME, and change its imports",
        )
    return layout


def _like(name: str) -> str:
    """Return a package's name for a project's."""
    like = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "project"
    return f"project_{like}" if like[0].isdigit() else like


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
