"""Nothing here is larger than a head: files, functions, arguments."""

from __future__ import annotations

import ast

from tests.architecture.source import Function, functions, length, python_files, relative

FILE_LINES = 400
FUNCTION_LINES = 30
ARGUMENTS = 6


def arguments(function: Function) -> int:
    spec = function.args
    named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
    if named and named[0].arg in ("self", "cls"):
        named = named[1:]
    return len(named) + (spec.vararg is not None) + (spec.kwarg is not None)


def test_there_are_files_to_check() -> None:
    assert len(python_files("src")) > 20


def test_no_file_is_longer_than_400_lines() -> None:
    lines = {relative(path): path.read_text().count("\n") for path in python_files()}
    assert {path: count for path, count in lines.items() if count > FILE_LINES} == {}


def test_no_function_is_longer_than_30_lines() -> None:
    too_long = {
        f"{relative(path)}:{function.lineno} {function.name}": length(function)
        for path in python_files()
        for function in functions(path)
        if length(function) > FUNCTION_LINES
    }
    assert too_long == {}


def test_no_function_takes_more_than_6_arguments() -> None:
    too_many = {
        f"{relative(path)}:{function.lineno} {function.name}": arguments(function)
        for path in python_files("src")
        for function in functions(path)
        if arguments(function) > ARGUMENTS
    }
    assert too_many == {}


def test_a_long_function_is_counted_without_its_docstring() -> None:
    source = 'def f(self, a, *, b, **rest):\n    """One.\n\n    More.\n    """\n    return 1\n'
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert length(function) == 2
    assert arguments(function) == 3
