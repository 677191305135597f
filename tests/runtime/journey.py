"""Attempts of one training, uninterrupted or cut at steps, and what became of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.runtime import metrics, names
from perdure.runtime.result import Result, read_result
from tests.runtime.forkserver import Forkserver


@dataclass(frozen=True)
class Cut:
    """An interruption: `do` it when a point (a batch is about to be used) is reached at a step."""

    do: str
    step: int
    save_every: int = 0
    point: str = "fetch"

    @property
    def order(self) -> str:
        action = {"point": self.point, "step": self.step, "do": self.do}
        return json.dumps({"actions": [action], "save_every": self.save_every})


#: How an attempt ends that was cut so.
CODES = {"term": names.EXIT_INTERRUPTED, "kill": -9}


def resume_without(
    server: Forkserver, folder: Path, options: Mapping[str, str], cut: Cut, item: str
) -> Result | None:
    """Run a training that is cut once, and resumed with one item left out; None where it fails."""
    folder.mkdir()
    environment, log = {**options, names.RUN_DIR: str(folder)}, folder.with_suffix(".log")
    server.run({**environment, names.DRILL: cut.order}, log=log)
    dropping = {**environment, names.DRILL: json.dumps({"drop": [item]})}
    return read_result(str(folder)) if server.run(dropping, log=log) == [0] else None


def travel(server: Forkserver, folder: Path, options: Mapping[str, str], *cuts: Cut) -> Result:
    """Run a training to its end, an attempt a cut and one more; return what it came to."""
    folder.mkdir()
    log = folder.with_suffix(".log")
    for cut in cuts:
        environment = {**options, names.RUN_DIR: str(folder), names.DRILL: cut.order}
        assert server.run(environment, log=log) == [CODES[cut.do]], log.read_text()
    assert server.run({**options, names.RUN_DIR: str(folder)}, log=log) == [0], log.read_text()
    assert log.read_text().count("goes on from step") == len(cuts)
    result = read_result(str(folder))
    assert result is not None
    return result


def rows(folder: Path) -> list[dict[str, object]]:
    """Return the metric rows of a run."""
    return metrics.read_rows(str(folder))


class Baselines:
    """Uninterrupted runs, one for each set of options, made when they are first asked for."""

    def __init__(self, server: Forkserver, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._made: dict[str, tuple[Path, Result]] = {}

    def _make(self, options: Mapping[str, str]) -> tuple[Path, Result]:
        name = json.dumps(options, sort_keys=True)
        if name not in self._made:
            folder = self._folder / str(len(self._made))
            self._made[name] = (folder, travel(self._server, folder, options))
        return self._made[name]

    def result(self, options: Mapping[str, str]) -> Result:
        return self._make(options)[1]

    def rows(self, options: Mapping[str, str]) -> list[dict[str, object]]:
        return rows(self._make(options)[0])
