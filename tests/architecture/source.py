"""The repository's Python files, as the architecture tests read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "perdure"
FOLDERS = ("src", "tests", "scripts", "benchmarks")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> list[Path]:
    """Return every Python file under the folders (all of them without any), sorted.

    The project template is not ours: its files are rendered first, then checked by its own tools.
    """
    found = (path for name in folders or FOLDERS for path in (ROOT / name).rglob("*.py"))
    return sorted(path for path in found if SRC / "template" not in path.parents)


def relative(path: Path) -> str:
    """Return the path as people write it, from the repository's root."""
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of one file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[Function]:
    """Yield every function of a file, methods and inner ones included."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: Function) -> int:
    """Return a function's lines, without its decorators, docstring and comments between."""
    first = function.body[0]
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def imported(path: Path, *, nested: bool) -> set[str]:
    """Return the dotted names that a file imports; `nested` counts imports inside functions.

    What stands under `if TYPE_CHECKING:` is imported by no program, and is left out.
    """
    names: set[str] = set()
    waiting: list[ast.AST] = [parse(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        if is_for_types(node) or (is_function(node) and not nested):
            continue
        waiting.extend(ast.iter_child_nodes(node))
    return names


def is_function(node: ast.AST) -> bool:
    """Return whether the node is a function or a lambda."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def is_for_types(node: ast.AST) -> bool:
    """Return whether the node is an `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
