"""SkyPilot, asked through the user's own `sky`: a program of its own, never a library of ours.

Each call takes some seconds, the first one half a minute: that starts SkyPilot's server. "SkyPilot
CLI reference"; the answers as version 0.14.1 gives them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from perdure.errors import (
    EnvironmentFailed,
    HostUnreachable,
    MissingProgram,
    PerdureError,
    TimeoutExpired,
    UsageError,
)
from perdure.hosts import local

PROGRAM = "sky"
INSTALL = 'uv tool install "skypilot[aws]"'
# `--output json` of `sky jobs queue`; `recover_on_exit_codes` is older.
LEAST = (0, 12)
# "Each managed job can have one of the following statuses": those that end it.
OVER = frozenset({"SUCCEEDED", "CANCELLED"})
FAILED = "FAILED"

_VERSION_S = 60.0
_ASK_S = 180.0
_CHECK_S = 300.0
# The first job of all has a machine made that looks after jobs.
LAUNCH_S = 1800.0
_NONE = "No in-progress managed jobs"
_CLOUDLESS = r"NoCloudAccess|No cloud is enabled|no cloud access|No enabled cloud"
_SILENT = r"ApiServerConnectionError|server process exited"
_WRONG = r"ValueError|InvalidClusterName|InvalidSkyPilotConfig|Usage: sky|No such option"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Managed(NamedTuple):
    """A managed job: SkyPilot's number, its name, its status in SkyPilot's word, and why."""

    number: int
    name: str
    status: str
    why: str = ""

    @property
    def is_over(self) -> bool:
        """Return whether it has no machine, and gets none."""
        return self.status in OVER or self.status.startswith(FAILED)


@dataclass(frozen=True, slots=True)
class SkyCommand:
    """The `sky` of the user's PATH. Each method starts processes, and touches the network."""

    _known: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def version(self) -> str:
        """Return which SkyPilot it is, such as `0.14.1`; asked for once.

        Raises:
            MissingProgram: there is none.
            EnvironmentFailed: it is too old, or no SkyPilot at all.
        """
        if "version" not in self._known:
            said = self._ask(("--version",), _VERSION_S)
            found = re.search(r"skypilot, version (\d+)\.(\d+)(\S*)", said)
            if found is None:
                raise EnvironmentFailed(
                    f"`{PROGRAM}` is no SkyPilot: `sky --version` says {_last(said)!r}",
                    hint=INSTALL,
                )
            version = f"{found[1]}.{found[2]}{found[3]}"
            if (int(found[1]), int(found[2])) < LEAST:
                raise EnvironmentFailed(
                    f"SkyPilot {version} is too old: {'.'.join(map(str, LEAST))} or newer",
                    hint="uv tool upgrade skypilot",
                )
            self._known["version"] = version
        return self._known["version"]

    def launch(self, name: str, file: str) -> None:
        """Have a file's task become a managed job, and return once SkyPilot has it."""
        self._ask(("jobs", "launch", "--yes", "--detach-run", "--name", name, file), LAUNCH_S)

    def queue(self, *, finished: bool = False) -> list[Managed]:
        """Return the user's managed jobs; `finished` ones, too."""
        words = ("--all", "--verbose") if finished else ("--all", "--skip-finished")
        try:
            said = self._ask(("jobs", "queue", "--output", "json", *words), _ASK_S)
        except _NothingThere:
            return []
        found = [managed_of(each) for each in _rows(said)]
        return [each for each in found if finished or not each.is_over]

    def cancel(self, numbers: Sequence[int]) -> None:
        """Have managed jobs be cancelled, with their machines; those that are over are, too."""
        if not numbers:
            return
        try:
            self._ask(("jobs", "cancel", "--yes", *map(str, numbers)), _ASK_S)
        except _NothingThere:
            return

    def clouds(self) -> list[str]:
        """Return the clouds that SkyPilot has credentials for: it asks each of them."""
        answer = _parsed(self._ask(("check", "--output", "json"), _CHECK_S))
        if not isinstance(answer, Mapping):
            raise _gibberish("check", answer)
        return sorted({str(name) for each in answer.values() for name in each})

    def _ask(self, words: Sequence[str], timeout_s: float) -> str:
        """Return what `sky` printed.

        Raises:
            MissingProgram: there is no `sky` here.
            HostUnreachable: it does not end, or its server does not answer.
            EnvironmentFailed: no cloud is enabled, or SkyPilot cannot do it.
            UsageError: it does not take what it is given.
        """
        try:
            done = local.run((PROGRAM, *words), timeout_s=timeout_s)
        except MissingProgram as error:
            raise MissingProgram(
                "SkyPilot's command `sky` is not installed here", program=PROGRAM, hint=INSTALL
            ) from error
        except TimeoutExpired as error:
            what = " ".join(words[:2])
            raise HostUnreachable(
                f"`sky {what}` did not end within {timeout_s:g} s", hint="sky api info"
            ) from error
        said = _COLOURS.sub("", done.stdout.decode("utf-8", "replace"))
        if done.returncode:
            complaint = _COLOURS.sub("", done.complaint) or said
            raise _explained(words, complaint)
        return said


class _NothingThere(EnvironmentFailed):
    """SkyPilot has no managed jobs at all, and nobody who looks after them."""


def _explained(words: Sequence[str], complaint: str) -> PerdureError:
    """Return the error of what `sky` complained of. Pure."""
    said = re.sub(r"^(sky\.exceptions\.)?\w+(Error|Exception)?: ", "", _last(complaint))
    what = " ".join(words[:2])
    if _NONE in complaint:
        return _NothingThere("SkyPilot has no managed jobs")
    if re.search(_CLOUDLESS, complaint):
        return EnvironmentFailed("SkyPilot has no cloud that it can use", hint="sky check")
    if re.search(_SILENT, complaint):
        return HostUnreachable(f"SkyPilot's server does not answer: {said}", hint="sky api info")
    if re.search(_WRONG, complaint):
        return UsageError(f"`sky {what}` refuses: {said}")
    return EnvironmentFailed(f"`sky {what}` failed: {said}", hint="sky check; sky api logs -l")


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing"


def _parsed(said: str) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON behind what else is said: that the server is being started, say."""
    lines = said.splitlines()
    begins = (at for at, line in enumerate(lines) if line.startswith(("[", "{")))
    try:
        return json.loads("\n".join(lines[next(begins, len(lines)) :]))
    except ValueError as error:
        raise HostUnreachable(
            f"`sky` answers with what is no JSON: {_last(said)!r}", hint="sky api info"
        ) from error


def _rows(said: str) -> list[Any]:
    answer = _parsed(said)
    if not isinstance(answer, list):
        raise _gibberish("jobs queue", answer)
    return answer


def managed_of(row: Any) -> Managed:  # noqa: ANN401 - JSON
    """Return what a row of `sky jobs queue` says. Raises HostUnreachable: nothing. Pure."""
    try:
        why = row.get("failure_reason") or row.get("details") or ""
        return Managed(int(row["job_id"]), str(row["job_name"]), str(row["status"]), str(why))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _gibberish("jobs queue", row) from error


def _gibberish(what: str, answer: object) -> HostUnreachable:
    return HostUnreachable(f"`sky {what}` answers with what nobody knows: {str(answer)[:100]!r}")
