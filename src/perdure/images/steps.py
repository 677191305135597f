"""The steps of a build as the engine prints them, matched with the instructions they carry out.

Source: BuildKit's `--progress plain`: `#7 [runtime 2/9] RUN ...`, `#7 1.234 output`, `#7 CACHED`,
`#7 DONE 0.1s`, `#7 ERROR: ...`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from perdure.environments.machine import masked
from perdure.images.dockerfile import Section
from perdure.images.layers import Instruction
from perdure.model.report import Report

_START = re.compile(r"#(\d+) \[(?:\S+ )??([\w.-]+) +(\d+)/\d+\] ")
_OUTPUT = re.compile(r"#(\d+) \d+\.\d+ ?(.*)")
_ENDED = re.compile(r"#(\d+) (CACHED|DONE|ERROR|CANCELED)\b:? ?(.*)")
_EXPORT = re.compile(r"#\d+ exporting (?:to image|layers)")
_LAST_LINES = 25


@dataclass(slots=True)
class _Step:
    instruction: Instruction
    output: list[str] = field(default_factory=list)


class Steps:
    """Told each line that the engine prints; tells `report` what is being done."""

    def __init__(self, sections: Iterable[Section], report: Report) -> None:
        self._known = {
            (section.name, number): instruction
            for section in sections
            for number, instruction in section.numbered()
        }
        self._report = report
        self._steps: dict[str, _Step] = {}
        self._waiting: str | None = None
        self._failed: _Step | None = None
        self.said: list[str] = []
        self.doing = "nothing"

    def __call__(self, line: str) -> None:
        """Take in a line."""
        self.said.append(masked(line))
        ended = _ENDED.match(line)
        if ended is None or ended[2] != "CACHED":
            self._tell()
        self._waiting = None
        if ended:
            self._end(ended[1], ended[2])
        elif started := _START.match(line):
            self._begin(started[1], started[2], int(started[3]))
        elif output := _OUTPUT.match(line):
            step = self._steps.get(output[1])
            if step is not None and output[2].strip():
                step.output.append(masked(output[2]))
        elif _EXPORT.match(line):
            self._report("storing the image")

    @property
    def failed(self) -> Instruction | None:
        """Return the instruction that failed, None where it was none of them."""
        return self._failed.instruction if self._failed else None

    def last_words(self) -> str:
        """Return the end of what the failed step printed, else of what the engine did."""
        if self._failed and self._failed.output:
            return "\n".join(self._failed.output[-_LAST_LINES:])
        return "\n".join(line for line in self.said[-_LAST_LINES:] if line.strip())

    def output(self) -> str:
        """Return all that the failed step printed."""
        return "\n".join(self._failed.output) if self._failed else ""

    def _begin(self, vertex: str, section: str, number: int) -> None:
        instruction = self._known.get((section, number))
        if instruction is not None and vertex not in self._steps:
            self._steps[vertex] = _Step(instruction)
            # Told with the next line: that may say that there is nothing to do.
            self._waiting = self.doing = instruction.doing

    def _end(self, vertex: str, how: str) -> None:
        step = self._steps.get(vertex)
        if how == "ERROR" and step is not None:
            self._failed = step

    def _tell(self) -> None:
        if self._waiting:
            self._report(self._waiting)
