"""Reads the recipes page, and does what it says: files are written, commands typed, lines compared.

What stands in the page's own comments, which nobody sees who reads it:

    <!-- recipe: NAME -->       what follows belongs to this recipe
    <!-- varies: 12; 3 s -->    in the next block, these are another number or word each time
    <!-- happens: WORDS -->     here something happens that nobody types

A block ```` ```LANGUAGE title="FILE" ```` is added to a file. In a block ```` ```console ```` what
stands behind `$ ` is typed, and the lines below are what is then seen: `...` stands for any lines.
What only looks is asked again until it shows that.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.command import MAIN
from tests.waiting import PATIENCE_S, until

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
LIMIT_S = 300.0
_LOOK_S = 0.1
_PAUSE_S = 0.5
_STEP_S = 0.02
LOOKS = frozenset({"cost", "logs", "ps", "show"})
_COMMENT = re.compile(r"<!-- (recipe|varies|happens): (.*) -->")
_FENCE = re.compile(r'```(\w+)(?: title="([^"]+)")?')


@dataclass(frozen=True, slots=True)
class Step:
    """A thing to do: a file to write, a command to type, or something that happens by itself."""

    recipe: str
    line: int
    file: str = ""
    text: str = ""
    command: str = ""
    shown: tuple[str, ...] = ()
    varies: tuple[str, ...] = ()
    happens: str = ""


def steps(page: str) -> Iterator[Step]:
    """Yield what a page says, in order. Pure."""
    recipe, fence = "", None
    varies: tuple[str, ...] = ()
    inside: list[str] = []
    for number, line in enumerate(page.splitlines(), 1):
        comment = _COMMENT.fullmatch(line)
        if fence is not None and line != "```":
            inside.append(line)
        elif fence is not None:
            yield from _of_block(fence, inside, (recipe, varies, number - len(inside)))
            fence, inside, varies = None, [], ()
        elif line.startswith("```"):
            fence = _FENCE.fullmatch(line)
            assert fence, f"line {number}: `{line}` is no block that can be tried"
        elif comment and comment[1] == "recipe":
            recipe = comment[2]
        elif comment and comment[1] == "varies":
            varies = tuple(each.strip() for each in comment[2].split(";"))
        elif comment:
            yield Step(recipe, number, happens=comment[2])


def _of_block(
    fence: re.Match[str], inside: list[str], where: tuple[str, tuple[str, ...], int]
) -> Iterator[Step]:
    recipe, varies, line = where
    if fence[2]:
        yield Step(recipe, line, file=fence[2], text="\n".join([*inside, ""]))
        return
    assert fence[1] == "console", f"line {line}: neither a file nor a console"
    places = [place for place, each in enumerate(inside) if each.startswith("$ ")]
    assert places[:1] == [0], f"line {line}: a block begins with what is typed"
    for place, end in zip(places, [*places[1:], len(inside)], strict=True):
        shown = tuple(inside[place + 1 : end])
        command = inside[place].removeprefix("$ ")
        yield Step(recipe, line + place, command=command, shown=shown, varies=varies)


def pattern(shown: Sequence[str], varies: Sequence[str]) -> re.Pattern[str]:
    """Return what an output has to match as a whole. Pure."""
    return re.compile("".join(_of_line(each, varies) for each in shown))


def _of_line(line: str, varies: Sequence[str]) -> str:
    if line.strip() == "...":
        return r"(?:.*\n)*?"
    longest_first = sorted(varies, key=len, reverse=True)
    tokens = "|".join(rf"(?<![\w.]){re.escape(each)}(?![\w.])" for each in longest_first)
    pieces = re.split(f"({tokens})", line) if tokens else [line]
    return "".join(_of_piece(each, each in varies) for each in pieces) + r" *\n"


def _of_piece(piece: str, varies: bool) -> str:
    if varies:
        return r"\d+" if piece.isdigit() else r"\S.*?"
    # How wide a column is, depends on what varies in it.
    return re.sub(r"(?:\\ )+", " +", re.escape(piece))


@dataclass
class Person:
    """Somebody who does what the page says, in a new folder and with a home of their own.

    `here` has what is called otherwise here than on the page; `meanwhile` is called while something
    is waited for, `happenings` where the page says that they happen.
    """

    cwd: Path
    home: Path
    environ: Mapping[str, str]
    here: Mapping[str, str] = field(default_factory=dict)
    meanwhile: Callable[[], object] = lambda: None
    happenings: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    _next: float = 0.0

    def follow(self, *recipes: str) -> None:
        """Do all that these recipes say, in order."""
        every = list(steps(PAGE.read_text(encoding="utf-8")))
        for recipe in recipes:
            found = [each for each in every if each.recipe == recipe]
            assert found, f"the page has no recipe `{recipe}`"
            for each in found:
                self.take(each)

    def take(self, step: Step) -> None:
        """Do one step, and see that what is shown is so."""
        if step.happens:
            self.happenings[step.happens]()
        elif step.file:
            self._write(step)
        elif step.command.startswith("cd "):
            self.cwd /= step.command.removeprefix("cd ")
        else:
            self._type(step)

    def _write(self, step: Step) -> None:
        inner = step.file.removeprefix("~/")
        path = self.cwd / inner if inner == step.file else self.home / inner
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(self._called_here(step.text))

    def _type(self, step: Step) -> None:
        words = shlex.split(self._called_here(step.command), comments=True)
        argv = [*MAIN, *words[1:]] if words[0] == "perdure" else words
        looks = words[0] == "perdure" and words[1] in LOOKS and "-f" not in words
        wanted = pattern([self._called_here(each) for each in step.shown], step.varies)
        last = (0, "")

        def is_shown() -> bool:
            nonlocal last
            last = self._ended(argv)
            return last[0] == 0 and wanted.fullmatch(last[1]) is not None

        def told() -> str:
            where = f"{PAGE.name}, line {step.line}"
            return f"{where}: `{step.command}` ended with {last[0]}:\n{last[1]}"

        until(is_shown, told=told, every_s=_LOOK_S, patience_s=PATIENCE_S if looks else 0)

    def _ended(self, argv: Sequence[str]) -> tuple[int, str]:
        """Return how a command ended, and all that it said, as a person sees it."""
        deadline = time.monotonic() + LIMIT_S
        with tempfile.TemporaryFile() as out:
            process = subprocess.Popen(
                argv,
                cwd=self.cwd,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            while process.poll() is None:
                self._wait()
                time.sleep(_STEP_S)
                if time.monotonic() > deadline:
                    process.kill()
            out.seek(0)
            said = out.read().decode("utf-8", "replace")
        self._wait()
        return process.returncode, said if said.endswith("\n") or not said else f"{said}\n"

    def _wait(self) -> None:
        """Let others do their work, not all the time: they are threads of this process."""
        if time.monotonic() >= self._next:
            self.meanwhile()
            self._next = time.monotonic() + _PAUSE_S

    def _called_here(self, text: str) -> str:
        for ours, here in self.here.items():
            text = text.replace(ours, here)
        return text


def somebody_new(folder: Path, settings: Path, here: Mapping[str, str] | None = None) -> Person:
    """Return somebody with a new home, in which there is nothing but this machine's indexes."""
    home = folder / "somebody's home"
    (home / ".config").mkdir(parents=True)
    for each in settings.iterdir():
        (home / ".config" / each.name).symlink_to(each)
    cwd = folder / "their work"
    cwd.mkdir()
    ssh = Path(os.environ["HOME"]) / ".ssh"
    if ssh.is_dir():
        (home / ".ssh").symlink_to(ssh)
    own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    environ = {**os.environ, **own, "COLUMNS": "100"}
    environ.pop("XDG_CACHE_HOME", None)
    return Person(cwd, home, environ, here or {})
