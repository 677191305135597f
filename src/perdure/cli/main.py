"""The entry of `perdure`: reads the global options, imports one verb, prints errors in one place.

Python 3.9 can read this module, so that whoever installed only the runtime gets a clear line. It
imports as little as it can: `perdure --help` needs nothing but the table of verbs.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from perdure.cli.verb import Verb

EXIT_BUG = 1
EXIT_ENVIRONMENT = 4
EXIT_STORAGE = 5
EXIT_KILLED = 130  # 128 + SIGINT, as shells have it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE
OLDEST_PYTHON = (3, 11)
STORAGE_ERRORS = (
    *("EACCES", "EDQUOT", "EIO", "EISDIR", "ELOOP", "EMFILE", "ENAMETOOLONG"),
    *("ENOSPC", "ENOTDIR", "EPERM", "EROFS"),
)
EXTRA = ("jinja2", "msgspec", "rich", "shtab", "tomlkit")
INSTALL_HINT = "pip install 'perdure[cli]'"


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of one command line; reads sys.argv where none is given."""
    words = list(sys.argv[1:] if argv is None else argv)
    open_closed_streams()
    debug = os.environ.get("PERDURE_DEBUG", "") not in ("", "0")
    try:
        flags, words = take_global_options(words)
        debug = debug or "--debug" in flags or asks_for_debug(words)
        code = dispatch(words, flags)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return EXIT_KILLED
    except Exception as error:  # noqa: BLE001 - the one place that turns errors into a line
        if isinstance(error, BrokenPipeError) and nobody_reads():
            silence(sys.stdout, sys.stderr)
            return EXIT_BROKEN_PIPE
        if debug:
            write_traceback(error)
        return report_error(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                silence(stream)


def open_closed_streams() -> None:
    """Let a stream that was closed (`<&-`) lead nowhere: a file of ours would get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_RDWR)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def nobody_reads() -> bool:
    """Return whether it is our own output that nobody reads, not a connection that broke."""
    import select

    poller = select.poll()
    for number in (1, 2):
        poller.register(number, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(0))


def silence(*streams: TextIO) -> None:
    """Let streams lead nowhere: what is still buffered must not raise again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())


def take_global_options(words: list[str]) -> tuple[set[str], list[str]]:
    """Return the global options (by their long names) and the words from the verb on."""
    long_names = {"-v": "--verbose", "-h": "--help", "-V": "--version"}
    known = {"--verbose", "--help", "--version", "--debug"}
    flags: set[str] = set()
    for index, word in enumerate(words):
        if not word.startswith("-") or word == "-":
            return flags, words[index:]
        flag = long_names.get(word, word)
        if flag not in known:
            raise unknown_global_option(word, known)
        flags.add(flag)
    return flags, []


def asks_for_debug(words: list[str]) -> bool:
    """Return whether `--debug` stands right after the verb, before anything that is a task's."""
    for word in words[1:]:
        if not word.startswith("-") or word == "--":
            return False
        if word == "--debug":
            return True
    return False


def unknown_global_option(word: str, known: set[str]) -> Exception:
    """Return the error for an option before the verb that is none."""
    from perdure.cli.nearest import did_you_mean
    from perdure.errors import UsageError

    otherwise = "a verb's options come after the verb: `perdure VERB [options]`"
    hint = did_you_mean(word.partition("=")[0], sorted(known), otherwise)
    return UsageError(f"unknown option `{word}`", hint=hint)


def dispatch(words: list[str], flags: set[str]) -> int:
    """Return the exit code of the verb, of help, or of the version."""
    from perdure.cli import verbs

    if "--version" in flags:
        from perdure import __version__

        sys.stdout.write(f"perdure {__version__}\n")
        return 0
    if words[:1] == ["help"]:
        words, flags = words[1:], flags | {"--help"}
    if not words:
        from perdure.cli.overview import help_text

        (sys.stdout if "--help" in flags else sys.stderr).write(help_text())
        return 0 if "--help" in flags else 2
    verb = verbs.find_verb(words[0])
    if verb is None:
        raise unknown_verb(words[0])
    return carry_out(verb, ["--help"] if "--help" in flags else words[1:], "--verbose" in flags)


def unknown_verb(word: str) -> Exception:
    """Return the error for a verb that there is not."""
    from perdure.cli.nearest import did_you_mean
    from perdure.cli.verbs import VERBS
    from perdure.errors import UsageError

    hint = did_you_mean(word, [verb.name for verb in VERBS], "see `perdure --help`")
    return UsageError(f"unknown verb `{word}`", hint=hint)


def carry_out(verb: Verb, words: list[str], verbose: bool) -> int:
    """Return the exit code of one verb; its module is the only one imported."""
    from importlib import import_module

    check_python(sys.version_info[:3])
    from perdure.cli.parser import build_parser, parse
    from perdure.cli.render import open_console

    try:
        arguments = parse(build_parser(verb), words)
    except SystemExit as finished:  # argparse printed the verb's help
        return int(finished.code or 0)
    console = open_console(verbose=verbose or arguments.verbose)
    try:
        return int(import_module(verb.module).execute(arguments, console))
    finally:
        console.close()
        if os.geteuid() == 0:
            hand_over()


def hand_over() -> None:
    """Give what root made of perdure's own in somebody else's project to them."""
    from pathlib import Path

    from perdure.errors import PerdureError
    from perdure.project import find, handover

    try:
        root = find.find_project(Path.cwd())
    except (OSError, PerdureError):
        return
    handover.hand_over(root)


def check_python(version: tuple[int, ...]) -> None:
    """Return if the command line runs on this Python.

    Raises:
        EnvironmentFailed: it is older than 3.11; the runtime alone runs there.
    """
    if version < OLDEST_PYTHON:
        from perdure.errors import EnvironmentFailed

        found = ".".join(map(str, version))
        raise EnvironmentFailed(
            f"the command line needs Python 3.11 or newer, and this is {found}",
            hint=f"with a newer Python: {INSTALL_HINT}; training with `import perdure` runs here",
        )


def report_error(error: Exception) -> int:
    """Return the exit code of an error after writing its one line, and its hint, to stderr."""
    from perdure.errors import PerdureError

    if isinstance(error, PerdureError):
        write_error(error.message, error.hint or error.usual_hint)
        return error.exit_code
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in EXTRA:
        write_error(f"the command line needs `{error.name}`, which is missing", INSTALL_HINT)
        return EXIT_ENVIRONMENT
    if isinstance(error, FileNotFoundError) and not is_anywhere():
        write_error("the folder that this was called in is not there any more", "cd to another one")
        return EXIT_STORAGE
    if isinstance(error, OSError) and is_storage_error(error):
        where = f": `{error.filename}`" if error.filename else ""
        write_error(f"{str(error.strerror).lower()}{where}", "`perdure --debug VERB` shows where")
        return EXIT_STORAGE
    summary = f"{type(error).__name__}: {error}".splitlines()[0]
    write_error(f"this is a bug in perdure: {summary}", "`perdure --debug VERB` shows more")
    return EXIT_BUG


def is_anywhere() -> bool:
    """Return whether the folder that this process is in still exists."""
    try:
        os.getcwd()  # noqa: PTH109 - without pathlib, which `--help` does without
    except OSError:
        return False
    return True


def is_storage_error(error: OSError) -> bool:
    """Return whether the disk or the rights to it are at fault, rather than perdure."""
    import errno

    return errno.errorcode.get(error.errno or 0) in STORAGE_ERRORS


def write_error(message: str, hint: str | None) -> None:
    """Write an error to stderr, as `error:` and `hint:` lines."""
    from perdure.cli.words import printable

    text = f"error: {message}" + (f"\nhint: {hint}" if hint else "")
    # A name can hold anything, and what a terminal does with it is not for a name to say.
    lines = "".join(f"{printable(line)}\n" for line in text.expandtabs().split("\n"))
    try:
        sys.stderr.write(lines)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # the terminal is gone: there is nobody left to tell


def write_traceback(error: Exception) -> None:
    """Write the traceback to stderr; the error's own line follows it."""
    import traceback

    traceback.print_exception(type(error), error, error.__traceback__)


if __name__ == "__main__":
    sys.exit(main())
