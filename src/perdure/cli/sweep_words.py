"""What `perdure sweep` does with sweeps that are there: status, results, retry, stop and so on."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.render import Console
from perdure.cli.words import counted
from perdure.errors import PerdureError, UsageError

if TYPE_CHECKING:
    from perdure.cli.table import Table
    from perdure.jobs.workspace import Workspace
    from perdure.sweeps.standing import Standing

BEST = 10
EVERY_S = 2.0
STOP_S = 600.0


def carry_out(
    word: str, names: Sequence[str], arguments: argparse.Namespace, console: Console
) -> int:
    """Return 0 once it is told or done.

    Raises:
        UsageError: no such sweep, or too few or too many words.
    """
    from perdure.jobs.workspace import locate_workspace

    if arguments.rest:
        raise UsageError(
            f"`perdure sweep {word}` takes no arguments of a task",
            hint=f"perdure sweep {word} NAME",
        )
    workspace = locate_workspace(Path.cwd())
    return _WORDS[word](workspace, names, arguments, console)


def tell_status(
    workspace: Workspace, names: Sequence[str], arguments: argparse.Namespace, console: Console
) -> int:
    """Return 0 after telling where sweeps stand."""
    from perdure.cli import sweep_tables
    from perdure.sweeps.standing import standing

    if not names:
        return _tell_all(workspace, arguments, console)
    folder = one_sweep(workspace, names)
    _drive_again(workspace, folder, console)
    if arguments.watch:
        console.watch(lambda: _best_table(standing(workspace, folder), arguments.metric), EVERY_S)
        return 0
    each = standing(workspace, folder)
    if arguments.json:
        console.json(sweep_tables.as_json(each, each.trials))
        return 0
    console.lines(sweep_tables.summary_lines(each, time.time()))
    console.table(_best_table(each, arguments.metric))
    _tell_failures(each, console)
    _tell_full(each, console)
    return 0


def _tell_all(workspace: Workspace, arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 after telling of all sweeps; of one that cannot be read, why."""
    from perdure.cli import sweep_tables
    from perdure.sweeps import record
    from perdure.sweeps.standing import standing

    found, problems = [], []
    for name in record.names_of(workspace.project):
        try:
            found.append(standing(workspace, record.folder_of(workspace.project, name)))
        except PerdureError as error:
            problems.append(error.message)
    if arguments.json:
        console.json([sweep_tables.as_json(each, ()) for each in found])
    else:
        console.table(sweep_tables.sweeps_table(found))
    for problem in problems:
        console.say(problem)
    return 0


def tell_results(
    workspace: Workspace, names: Sequence[str], arguments: argparse.Namespace, console: Console
) -> int:
    """Return 0 after printing, or drawing, what a sweep came to."""
    from perdure.cli import sweep_tables
    from perdure.sweeps.standing import queued, standing

    folder = one_sweep(workspace, names)
    _drive_again(workspace, folder, console)
    found = standing(workspace, folder)
    metric = found.metric(arguments.metric)
    _require_metric(found, arguments.metric)
    if arguments.plot is not None:
        return _draw(found, metric, arguments.plot, console)
    trials = [*found.trials, *queued(found, found.count if found.count <= 10_000 else 0)]
    if arguments.json:
        console.json(sweep_tables.as_json(found, trials))
    elif arguments.csv:
        console.write(sweep_tables.as_csv(found, trials))
    else:
        console.table(sweep_tables.trials_table(found, trials, metric))
    return 0


def retry(
    workspace: Workspace, names: Sequence[str], arguments: argparse.Namespace, console: Console
) -> int:
    """Return 0 once what failed is to run again."""
    from perdure.sweeps import control
    from perdure.sweeps.standing import failed_attempts, standing

    folder = one_sweep(workspace, names)
    if not (arguments.failed or arguments.cancelled):
        raise UsageError(
            "say what is to be tried again", hint=f"perdure sweep retry --failed {folder.name}"
        )
    states = control.bad_states(failed=arguments.failed, cancelled=arguments.cancelled)
    found = standing(workspace, folder)
    gone = sum(trial.deleted and trial.state in states for trial in found.trials)
    if gone:
        console.say(f"{counted(gone, 'job')} cannot be run again: the run folder is deleted")
    bad = failed_attempts(found, states)
    if not bad:
        console.say(f"no job of `{folder.name}` is to be run again")
        return 0
    control.retry(folder, bad)
    control.drive(workspace.project, folder)
    anew = "; it was stopped, and goes on" if found.sweep.stopped else ""
    console.say(f"{counted(len(bad), 'job')} of `{folder.name}` to be run again{anew}")
    return 0


def stop(
    workspace: Workspace,
    names: Sequence[str],
    arguments: argparse.Namespace,  # noqa: ARG001 - as the others
    console: Console,
) -> int:
    """Return 0 once nothing of a sweep runs; what ran has saved."""
    from perdure.sweeps import control
    from perdure.sweeps.holding import last_word

    folder = one_sweep(workspace, names)
    console("stopping: its jobs save first")
    if not control.stop(folder, STOP_S):
        word = last_word(folder)
        said = f" ({word.waits})" if word is not None and word.waits else ""
        name = folder.name
        console.say(f"`{name}` still waits for a job{said}: perdure sweep status {name}")
        return 1
    console.say(f"`{folder.name}` is stopped: perdure sweep resume {folder.name}")
    return 0


def resume(
    workspace: Workspace,
    names: Sequence[str],
    arguments: argparse.Namespace,  # noqa: ARG001 - as the others
    console: Console,
) -> int:
    """Return 0 once a stopped sweep goes on."""
    from perdure.sweeps import control

    folder = one_sweep(workspace, names)
    control.go_on(folder)
    control.drive(workspace.project, folder)
    console.say(f"`{folder.name}` goes on: perdure sweep status {folder.name}")
    return 0


def extend(
    workspace: Workspace, names: Sequence[str], arguments: argparse.Namespace, console: Console
) -> int:
    """Return 0 once a sweep has more values, more trials, or more of them at once."""
    from perdure.sweeps import control
    from perdure.sweeps.record import read_sweep
    from perdure.sweeps.submit import at_a_time

    folder = one_sweep(workspace, names[:1])
    axes = {}
    for word in names[1:]:
        name, equals, text = word.partition("=")
        if not equals or name in axes:
            raise UsageError(f"`{word}` is no axis, or it is there twice", hint="NAME=VALUE,VALUE")
        axes[name] = text
    before = read_sweep(folder)
    sweep = control.extend(folder, axes, trials=arguments.trials, max_running=arguments.max_running)
    more = sweep.count - before.count
    said = [f"{counted(more, 'more job')}, {sweep.count:,} in all"] if more else []
    if arguments.max_running is not None:
        said.append(at_a_time(sweep))
    if sweep.stopped:
        said.append(f"it stays stopped: perdure sweep resume {folder.name}")
    else:
        control.drive(workspace.project, folder)
        said += ["it was stopped, and goes on"] if before.stopped else []
    console.say(f"`{folder.name}`: {'; '.join(said)}")
    return 0


def one_sweep(workspace: Workspace, names: Sequence[str]) -> Path:
    """Return the folder of the one sweep that is named; of the only one where none is.

    Raises:
        UsageError: there is no such sweep, or nobody can say which.
    """
    from perdure.sweeps import record

    known = record.names_of(workspace.project)
    if not names and len(known) == 1:
        return record.folder_of(workspace.project, known[0])
    if len(names) != 1:
        listed = ", ".join(known) if known else "none yet; perdure sweep TASK NAME=VALUE,VALUE"
        raise UsageError("name one sweep", hint=f"sweeps: {listed}")
    return record.find_sweep(workspace.project, names[0])


def _drive_again(workspace: Workspace, folder: Path, console: Console) -> None:
    from perdure.sweeps.orphans import is_orphaned

    if not is_orphaned(folder):
        return
    from perdure.sweeps import control

    try:
        begun = control.drive(workspace.project, folder)
    except PerdureError as error:
        # Who looks is told what there is all the same.
        why = f"{error.message}; {error.hint}" if error.hint else error.message
        console.say(f"the driver of `{folder.name}` is gone, and no other one begins: {why}")
        return
    if begun:
        console.say(f"the driver of `{folder.name}` was gone: another one goes on")


def _best_table(found: Standing, wanted: str | None) -> Table:
    from perdure.cli import sweep_tables
    from perdure.model.job import ALIVE
    from perdure.sweeps.standing import direction_of, ranked

    _require_metric(found, wanted)
    metric = found.metric(wanted)
    shown = [trial for trial in found.trials if trial.state in ALIVE][:BEST]
    if metric is not None:
        direction = direction_of(metric, found.sweep.search.direction)
        best = ranked(found.trials, metric, direction)[:BEST]
        shown = best + [trial for trial in shown if trial not in best]
    return sweep_tables.trials_table(found, shown, metric)


def _tell_failures(found: Standing, console: Console) -> None:
    from perdure.sweeps.standing import failures

    bad = failures(found.trials)
    if bad:
        first = next((trial for trial in bad if not trial.deleted), bad[0])
        reason = first.status.reason if first.status else ""
        console.say(
            f"{counted(len(bad), 'job')} failed, the first of them {first.job} ({reason}): "
            f"perdure logs {first.job}; perdure sweep retry --failed {found.sweep.name}"
        )
        if _misunderstood(found, reason):
            console.say(found.sweep.doubt)


def _misunderstood(found: Standing, reason: str) -> bool:
    """Return whether a sweep is over, and it may be for its axes that nothing came of it."""
    from perdure.model.job import State
    from perdure.sweeps.ended import USAGE_ERROR

    complained = reason.endswith(f"exit code {USAGE_ERROR}") and bool(found.sweep.doubt)
    return complained and found.over and not found.states.get(State.SUCCEEDED)


def _tell_full(found: Standing, console: Console) -> None:
    from perdure.sweeps.room import FULL

    if found.driven and found.driver is not None and FULL in found.driver.waits:
        console.say("it goes on by itself once there is space: perdure clean results")


def _require_metric(found: Standing, wanted: str | None) -> None:
    known = found.metrics()
    if wanted is not None and known and wanted not in known:
        from perdure.cli.nearest import did_you_mean

        hint = did_you_mean(wanted, known, f"metrics: {', '.join(known)}")
        raise UsageError(f"no job of `{found.sweep.name}` logs `{wanted}`", hint=hint)


def _draw(found: Standing, metric: str | None, path: Path, console: Console) -> int:
    from perdure.jobs.workspace import storing
    from perdure.sweeps.plot import Point, drawn
    from perdure.sweeps.standing import best_of, direction_of, ranked

    if path.suffix.lower() != ".svg":
        raise UsageError(
            f"`{path}`: the picture is a file of SVG",
            hint=f"--plot {path.stem or found.sweep.name}.svg",
        )
    if metric is None:
        raise UsageError(
            f"no job of `{found.sweep.name}` has logged a metric yet",
            hint=f"perdure sweep status {found.sweep.name}",
        )
    direction = direction_of(metric, found.sweep.search.direction)
    trials = ranked(found.trials, metric, direction)
    points = [
        Point(dict(trial.values), best_of(trial.metrics[metric], direction), trial.job)
        for trial in trials
    ]
    axes = list(found.sweep.texts)
    picture = drawn(found.sweep.name, metric, axes, points, trials[0].job if trials else "")
    with storing("the picture"):
        path.write_text(picture, encoding="utf-8")
    console.say(f"{counted(len(points), 'job')} drawn to {path}")
    return 0


_WORDS = {
    "status": tell_status,
    "results": tell_results,
    "retry": retry,
    "stop": stop,
    "resume": resume,
    "extend": extend,
}
