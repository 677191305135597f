"""One module starts processes, no shell is asked, and only the renderer prints."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.source import SRC, imported, parse, python_files, relative

#: The modules that may start processes: the host, what runs beside the training, and a program
#: that is handed over as text.
STARTERS = (
    "src/perdure/hosts/local.py",
    "src/perdure/hosts/side/errand.py",
    "src/perdure/runtime/",
)
#: The renderer; `main`, which writes help and errors before anything else is imported; a script
#: for the Python in a container, and the process of a connection, whose answer is what they print;
#: and the program of a machine that is lent, whose log is its standard error.
PRINTERS = (
    "src/perdure/cli/render.py",
    "src/perdure/cli/main.py",
    "src/perdure/environments/inventory.py",
    "src/perdure/hosts/link_keeper.py",
    "src/perdure/instance/entering.py",
    "src/perdure/instance/program.py",
    "src/perdure/runtime/",
)
STARTING = {"subprocess", "multiprocessing", "pty"}
OS_STARTING = {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"}


def outside(allowed: tuple[str, ...]) -> list[Path]:
    return [path for path in python_files("src") if not relative(path).startswith(allowed)]


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]


def starts_through_os(call: ast.Call) -> bool:
    function = call.func
    if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
        return False
    return function.value.id == "os" and (
        function.attr in OS_STARTING or function.attr.startswith("spawn")
    )


def test_only_the_host_and_the_runtime_import_subprocess() -> None:
    offenders = [
        relative(path)
        for path in outside(STARTERS)
        if {name.split(".")[0] for name in imported(path, nested=True)} & STARTING
    ]
    assert offenders == []


def test_only_the_host_and_the_runtime_start_processes_through_os() -> None:
    offenders = [
        f"{relative(path)}:{call.lineno}"
        for path in outside(STARTERS)
        for call in calls(path)
        if starts_through_os(call)
    ]
    assert offenders == []


def test_nothing_is_given_to_a_shell() -> None:
    offenders = [
        f"{relative(path)}:{call.lineno}"
        for path in python_files()
        for call in calls(path)
        for keyword in call.keywords
        if keyword.arg == "shell" and ast.unparse(keyword.value) == "True"
    ]
    assert offenders == []


def test_only_the_renderer_and_the_runtime_print() -> None:
    offenders = [
        f"{relative(path)}:{call.lineno}"
        for path in outside(PRINTERS)
        for call in calls(path)
        if ast.unparse(call.func) in ("print", "sys.stdout.write", "sys.stderr.write")
    ]
    assert offenders == []


def test_nothing_is_pickled() -> None:
    """A checkpoint, a message or a cache that is a pickle runs whatever it was made to run."""
    offenders = {
        relative(path)
        for path in python_files("src")
        if {name.split(".")[0] for name in imported(path, nested=True)}
        & {"pickle", "cloudpickle", "dill", "marshal", "shelve"}
    }
    assert offenders == set()


@pytest.mark.parametrize(
    ("source", "starts"),
    [("os.system('x')", True), ("os.spawnv(0, 'x', [])", True), ("os.getpid()", False)],
)
def test_the_check_for_os_sees_what_it_should(source: str, starts: bool) -> None:
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)
    assert starts_through_os(call) is starts


def test_source_is_where_the_tests_look() -> None:
    assert (SRC / "hosts" / "local.py").is_file()
