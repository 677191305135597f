"""The only printer: data to stdout, messages to stderr, colour and movement only on a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from perdure.cli.progress import ProgressLine, Teller, bar, terminal_width
from perdure.cli.words import printable
from perdure.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.table import Table as RichTable

    from perdure.cli.table import Table

STATE_STYLES = {
    "RUNNING": "green",
    "STARTING": "green",
    "QUEUED": "cyan",
    "STOPPING": "yellow",
    "INTERRUPTED": "yellow",
    "SUCCEEDED": "bold green",
    "FAILED": "bold red",
    "CANCELLED": "dim",
    "LOST": "bold magenta",
    "UNKNOWN": "magenta",
    "OK": "green",
    "WARNING": "yellow",
    "PROBLEM": "bold red",
}


class Console:
    """Where a verb writes: a Report as well, so that it can be handed to work."""

    def __init__(self, out: TextIO, err: TextIO, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.out_is_terminal = is_terminal(out)
        self.err_is_terminal = is_terminal(err)
        self.colour = not os.environ.get("NO_COLOR")
        self._out = out
        self._err = err
        self._line = ProgressLine(err)
        self._mid_line = False
        self._teller = Teller(self.say)

    def __call__(self, message: str, *, done: int | None = None, total: int | None = None) -> None:
        """Tell what is being done: a moving line on a terminal, plain lines elsewhere."""
        if not self.err_is_terminal:
            self._teller(message, done=done, total=total)
            return
        counted = done is not None and total
        self._line.show(f"{message}  {bar(done or 0, total or 0)}" if counted else message)

    def say(self, message: str) -> None:
        """Write a message to stderr."""
        with self._line.lock:
            self._line.clear()
            # What a job prints and what perdure says share a terminal, but never a line of it.
            self._tell(("\n" if self._mid_line else "") + message + "\n")
            self._mid_line = False

    def detail(self, message: str) -> None:
        """Write a message to stderr if the user asked for more."""
        if self.verbose:
            self.say(message)

    def write(self, text: str) -> None:
        """Write data to stdout as it is."""
        with self._line.lock:
            self._line.clear()
            self._out.write(text)
            self._out.flush()
            if self.out_is_terminal and self.err_is_terminal and text:
                self._mid_line = not text.endswith("\n")

    def lines(self, lines: Sequence[str]) -> None:
        """Write lines of data to stdout, none of which can write to the terminal itself."""
        self.write("".join(f"{printable(line)}\n" for line in lines))

    def json(self, value: object) -> None:
        """Write a value to stdout as JSON: indented for a person, one line for a program."""
        import json

        indent = 2 if self.out_is_terminal else None
        self.write(json.dumps(value, indent=indent, ensure_ascii=False) + "\n")

    def table(self, table: Table) -> None:
        """Write a table to stdout."""
        from perdure.cli.table import fit, plain_lines

        if not self.out_is_terminal:
            self.write("".join(f"{line}\n" for line in plain_lines(table)))
            return
        self._line.clear()
        self._rich().print(as_rich(fit(table, terminal_width(self._out))))

    def status(self, text: str) -> None:
        """Show a line at the foot of the terminal; nowhere else."""
        if self.err_is_terminal and not self._mid_line:
            self._line.hold(text)

    @property
    def can_ask(self) -> bool:
        """Return whether there is somebody to answer a question."""
        return sys.stdin is not None and sys.stdin.isatty() and self.err_is_terminal

    def confirm(self, question: str, *, unasked: str) -> bool:
        """Return what the user answers, no being the default.

        Raises:
            UsageError: there is nobody to ask; the hint is `unasked`.
        """
        answer = self.ask(question, unasked=unasked, choices=" [y/N]")
        return answer.lower() in ("y", "yes")

    def ask(self, question: str, *, unasked: str, choices: str = "") -> str:
        """Return the user's answer, empty for none.

        Raises:
            UsageError: there is nobody to ask; the hint is `unasked`.
        """
        if not self.can_ask:
            raise UsageError(f"nobody is here to answer: {question}", hint=unasked)
        self._line.clear()
        self._tell(f"{question}{choices} ")
        self._err.flush()
        return sys.stdin.readline().strip()

    def watch(self, produce: Callable[[], Table], every_s: float) -> None:
        """Show a table again and again, in place on a terminal, until Ctrl-C."""
        try:
            if self.out_is_terminal:
                self._watch_in_place(produce, every_s)
            while True:
                self.table(produce())
                time.sleep(every_s)
        except KeyboardInterrupt:
            return

    def close(self) -> None:
        """Erase the line at the foot, if there is one."""
        self._line.close()

    def _watch_in_place(self, produce: Callable[[], Table], every_s: float) -> None:
        from rich.live import Live

        from perdure.cli.table import fit

        with Live(console=self._rich(), auto_refresh=False) as live:
            while True:
                live.update(as_rich(fit(produce(), terminal_width(self._out))), refresh=True)
                time.sleep(every_s)

    def _rich(self) -> RichConsole:
        from rich.console import Console as RichConsole

        width = terminal_width(self._out)
        return RichConsole(
            file=self._out, width=width, no_color=not self.colour, highlight=False, markup=False
        )

    def _tell(self, text: str) -> None:
        try:
            self._err.write(text)
        except BrokenPipeError:
            raise
        except (OSError, ValueError):
            pass  # a log on a disk that is full ends no work


def open_console(*, verbose: bool = False) -> Console:
    """Return a console on this process's outputs."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a letter gets its escape, never an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return Console(sys.stdout, sys.stderr, verbose=verbose)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person sees the stream, on a terminal that can redraw a line."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def as_rich(table: Table) -> RichTable:
    """Return the table as rich draws it, states in their colours."""
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in table.columns:
        # Rich gives way in the last resort: on a terminal narrower than what must stay.
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in table.rows:
        cells = zip(table.columns, row, strict=True)
        drawn.add_row(*(Text(cell, style(cell) if column.paint else "") for column, cell in cells))
    return drawn


def style(cell: str) -> str:
    """Return the style of a cell that begins with a state."""
    return STATE_STYLES.get(cell.partition(" ")[0].upper(), "")
