"""A verb of the command line, as data.

A plain class: `perdure --help` imports this module, and `dataclasses` alone would double what it
costs.
"""

from __future__ import annotations

# What may follow a verb's own options. See perdure.cli.parser.
NOTHING = "nothing"  # every word belongs to perdure
TASK = "task"  # the first word is a task; all after it is the task's, untouched
COMMAND = "command"  # all after `--` is a command's or a task's, untouched
AXES = "axes"  # the same; before it, words and options stand in any order


class Verb:
    """A verb: its group, its one line in `--help`, its usage, examples, and what may follow it."""

    __slots__ = ("examples", "group", "name", "rest", "summary", "usage")

    def __init__(
        self, name: str, group: str, summary: str, usage: str, examples: tuple[str, ...]
    ) -> None:
        self.name = name
        self.group = group
        self.summary = summary
        self.usage = usage
        self.examples = examples
        self.rest = {
            "run": TASK,
            "attach": COMMAND,
            "drill": COMMAND,
            "shell": COMMAND,
            "sweep": AXES,
        }.get(name, NOTHING)

    @property
    def module(self) -> str:
        """Return the dotted name of the module that carries the verb out."""
        return f"perdure.cli.commands.{self.name}"
