from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure import __version__
from perdure.cli import main as entry
from perdure.cli.verbs import VERBS
from perdure.errors import (
    MissingProgram,
    NewerFormatError,
    PerdureError,
    StorageError,
    UsageError,
)
from tests.cli.command import MAIN, Ended, is_one_error, perdure, python

STANDARD = set(sys.stdlib_module_names) | {"perdure"}

LOADED = """
import sys
before = set(sys.modules)
from perdure.cli.main import main
code = main(sys.argv[1:])
loaded = {name.split(".")[0] for name in set(sys.modules) - before}
sys.stderr.write("\\n".join(sorted(loaded)))
sys.exit(code)
"""

# What `perdure --help` may cost: `argparse` or `typing` alone would double it.
HEAVY = {"argparse", "dataclasses", "enum", "json", "pathlib", "re", "typing"}


def test_help_needs_the_table_of_verbs_and_nothing_else() -> None:
    ended = python(LOADED, "--help")
    loaded = set(ended.err.split())
    assert ended.code == 0
    assert "perdure" in loaded
    assert loaded <= STANDARD
    assert not loaded & HEAVY


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_help_of_a_verb_needs_the_standard_library_only(verb: str) -> None:
    ended = python(LOADED, verb, "--help")
    assert ended.code == 0, ended.err
    assert set(ended.err.split()) <= STANDARD
    assert ended.out.startswith(f"usage: perdure {verb}")
    assert "examples:" in ended.out


def test_help_and_version() -> None:
    assert perdure("--version").out == f"perdure {__version__}\n"
    assert perdure("--help").out == perdure("help").out == perdure("-h").out
    assert perdure("help", "run").out == perdure("run", "--help").out
    nothing = perdure()
    assert (nothing.code, nothing.out) == (2, "")
    assert nothing.err.startswith("usage: perdure")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("resme", "x"), ("unknown verb `resme`", "did you mean `resume`?")),
        (("zzzzz",), ("unknown verb `zzzzz`", "perdure --help")),
        (("$(x)\n",), ("unknown verb",)),
        (("",), ("unknown verb",)),
        (("--hlp",), ("unknown option `--hlp`", "did you mean `--help`?")),
        (("--json", "ps"), ("unknown option `--json`",)),
        (("-x", "ps"), ("unknown option `-x`",)),
        (("ps", "--jsn"), ("did you mean `--json`?",)),
    ],
)
def test_a_mistyped_word_is_one_error_with_a_hint(
    words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    assert is_one_error(perdure(*words), 2, *said)


def test_a_name_cannot_write_to_the_terminal() -> None:
    ended = perdure("\x1b[31mred\x07\r\u202e")
    assert ended.err.splitlines()[0] == "error: unknown verb `\\x1b[31mred\\x07\\r\\u202e`"
    assert "\x1b" not in ended.err


def test_a_traceback_comes_only_when_asked_for(tmp_path: Path) -> None:
    assert "Traceback" not in perdure("ps", cwd=tmp_path).err
    for words, env in (
        (("--debug", "ps"), {}),
        (("ps", "--debug"), {}),
        (("ps",), {"PERDURE_DEBUG": "1"}),
    ):
        ended = perdure(*words, cwd=tmp_path, env=env)
        assert "Traceback" in ended.err
        assert ended.err.splitlines()[-2].startswith("error: no project here")
        assert ended.code == 2
    assert "Traceback" not in perdure("ps", cwd=tmp_path, env={"PERDURE_DEBUG": "0"}).err


def test_a_debug_that_is_the_tasks_is_not_ours() -> None:
    assert not entry.asks_for_debug(["run", "train", "--debug"])
    assert not entry.asks_for_debug(["run", "--", "x", "--debug"])
    assert entry.asks_for_debug(["run", "-d", "--debug", "train"])


def refuse_python(version: str) -> str:
    return f"""
import sys
sys.version_info = {version}
from perdure.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_an_older_python_is_told_what_to_install() -> None:
    ended = python(refuse_python("(3, 9, 2)"), "ps")
    assert is_one_error(ended, 4, "3.11 or newer", "3.9.2", "pip install 'perdure[cli]'")
    assert python(refuse_python("(3, 9, 2)"), "--help").code == 0


def test_the_entry_can_be_read_by_an_older_python() -> None:
    for name in ("main", "verbs", "nearest", "words"):
        path = Path(entry.__file__).with_name(f"{name}.py")
        ast.parse(path.read_text(), feature_version=(3, 9))


@pytest.mark.parametrize("module", ["msgspec", "rich", "shtab", "tomlkit"])
def test_a_missing_package_is_told_what_to_install(
    module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = entry.report_error(ModuleNotFoundError(f"No module named '{module}'", name=module))
    said = capsys.readouterr().err
    assert code == 4
    assert said.splitlines() == [
        f"error: the command line needs `{module}`, which is missing",
        "hint: pip install 'perdure[cli]'",
    ]


def test_without_msgspec_the_command_says_so(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.perdure]\npackage = 'a'\n")
    program = f"""
import os, sys
sys.modules["msgspec"] = None
os.chdir({str(tmp_path)!r})
from perdure.cli.main import main
sys.exit(main(["run", "a"]))
"""
    assert is_one_error(python(program), 4, "`msgspec`", "pip install 'perdure[cli]'")


def test_an_unexpected_error_says_that_it_is_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.report_error(ValueError("a\nb")) == 1
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "error: this is a bug in perdure: ValueError: a",
        "hint: `perdure --debug VERB` shows more",
    ]


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, 5), (errno.EACCES, 5), (errno.EROFS, 5), (errno.ENOENT, 1)]
)
def test_a_disk_that_refuses_is_no_bug(
    number: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.report_error(OSError(number, "No luck", "/results")) == code
    assert ("bug in perdure" in capsys.readouterr().err) == (code == 1)


def test_an_error_has_the_code_of_its_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.report_error(NewerFormatError("`x` is newer")) == 6
    assert capsys.readouterr().err == (
        "error: `x` is newer\nhint: pip install --upgrade 'perdure[cli]'\n"
    )


def test_an_error_without_a_hint_of_its_own_has_that_of_its_kind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for error, hint in (
        (MissingProgram("no program `ssh`", program="ssh"), "install `ssh`"),
        (StorageError("no space"), "perdure doctor"),
        (UsageError("no key"), "mend it"),
        (PerdureError("no luck", hint="try again"), "try again"),
    ):
        entry.report_error(error)
        assert f"hint: {hint}" in capsys.readouterr().err.replace(
            "`perdure doctor`", "perdure doctor"
        )


def test_a_reader_that_goes_away_is_no_error() -> None:
    shell = subprocess.Popen(
        [*MAIN, "completion", "bash"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert shell.stdout is not None
    assert shell.stderr is not None
    shell.stdout.close()
    assert shell.stderr.read() == b""
    shell.stderr.close()
    assert shell.wait(60) == 141


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_is_gone_before_the_first_word_is_no_error(stream: str) -> None:
    read, write = os.pipe()
    os.close(read)
    # An unknown verb is told on stderr, where there is nobody left to be told either.
    words = ["--version"] if stream == "stdout" else ["resme"]
    out, err = (write, subprocess.PIPE) if stream == "stdout" else (subprocess.PIPE, write)
    done = subprocess.run(
        [*MAIN, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=60
    )
    os.close(write)
    assert not done.stdout
    assert not done.stderr
    assert done.returncode == (141 if stream == "stdout" else 2)


def test_a_connection_that_broke_is_not_taken_for_our_own_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(words: list[str], flags: set[str]) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(entry, "dispatch", broken)
    monkeypatch.setattr(entry, "nobody_reads", lambda: False)
    assert entry.main(["ps"]) == 1
    assert "BrokenPipeError" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_do_no_harm(closed: str, tmp_path: Path) -> None:
    # What is opened next would get their numbers: a lock, or the file that is being written.
    words = ["sh", "-c", f'"$@" {closed}', "sh", *MAIN, "new", "cats", "--yes"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cats" / "pyproject.toml").is_file()
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_output_that_cannot_be_written_is_one_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*MAIN, "--version"], stdout=full, stderr=subprocess.PIPE, timeout=120, text=True
        )
    assert done.returncode == 5
    assert done.stderr.splitlines()[0] == "error: no space left on device"
    assert len(done.stderr.splitlines()) == 2, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_work_goes_on_where_what_is_said_cannot_be_kept(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        words = [*MAIN, "new", "cats", "--yes"]
        done = subprocess.run(words, cwd=tmp_path, stderr=full, timeout=120)
        wrong = subprocess.run([*MAIN, "new", "code"], cwd=tmp_path, stderr=full, timeout=120)
    assert (done.returncode, wrong.returncode) == (0, 2)
    assert (tmp_path / "cats" / "pyproject.toml").is_file()


def test_a_folder_that_is_gone_is_no_bug(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    words = ["sh", "-c", 'rmdir "$PWD"; "$@"', "sh", *MAIN]
    for verb in ("ps", "build", "new"):
        folder.mkdir(exist_ok=True)
        more = ["cats"] if verb == "new" else []
        done = subprocess.run(
            [*words, verb, *more], cwd=folder, capture_output=True, timeout=120, text=True
        )
        assert is_one_error(Ended(done.returncode, "", done.stderr), 5, "not there any more")


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(words: list[str], flags: set[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "dispatch", interrupted)
    assert entry.main(["ps"]) == 130
