"""`perdure sync`: the code on another host as it is here."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.cli.arguments import add_json
from perdure.cli.render import Console
from perdure.cli.syncing import chosen_target, sync_destination, told
from perdure.cli.words import counted, duration

if TYPE_CHECKING:
    from perdure.jobs.workspace import Workspace
    from perdure.sync.once import Destination
    from perdure.sync.plan import Action
    from perdure.sync.rules import Rules
    from perdure.sync.state import Kept

LIMIT_S = 3600.0
MOST_SHOWN = 50
WORDS = ("status", "stop")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `sync` takes."""
    parser.add_argument(
        "word",
        metavar="status|stop",
        nargs="?",
        choices=WORDS,
        help="`status`: what is skipped and why, conflicts, whether it is connected; "
        "`stop`: end the sync in the background",
    )
    parser.add_argument(
        "--on",
        dest="target",
        metavar="TARGET",
        help="the host (the only one; of `status` and `stop`, the one whose sync runs)",
    )
    parser.add_argument(
        "-w", "--watch", action="store_true", help="keep it so until Ctrl-C, save by save"
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="tell what would be done, and do nothing"
    )
    parser.add_argument(
        "--delete", action="store_true", help="let more than half of the files there be deleted"
    )
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the code there is the code here, or what was asked is told."""
    from perdure.jobs.workspace import make_state_folder, open_workspace
    from perdure.sync.channel import boot_words
    from perdure.sync.rules import Rules

    workspace = open_workspace(Path.cwd())
    named = arguments.target or (only_running(workspace) if arguments.word else None)
    target = chosen_target(workspace, named)
    if arguments.word == "status":
        return show_status(workspace, target, console, as_json=arguments.json)
    if arguments.word == "stop":
        return stop_session(workspace, target, console)
    make_state_folder(workspace.project)
    host, destination = sync_destination(workspace, target)
    host.connect()
    # Where it has no Python, it is one of an image's.
    destination = replace(destination, argv=host.python(boot_words()))
    rules = Rules(pull=workspace.project.pull, deletes_much=arguments.delete)
    if arguments.dry_run:
        return show_plan(workspace, target, destination, rules, console, as_json=arguments.json)
    if arguments.watch:
        return watch(workspace, target, destination, rules, console)
    return once(workspace, target, destination, rules, console, as_json=arguments.json)


def only_running(workspace: Workspace) -> str | None:
    """Return the target whose sync runs, None where none or several do. Asks this machine."""
    from perdure.sync.session import status

    root = workspace.project.root
    running = [name for name in workspace.settings.targets if status(root, name) is not None]
    return running[0] if len(running) == 1 else None


def once(
    workspace: Workspace,
    target: str,
    destination: Destination,
    rules: Rules,
    console: Console,
    *,
    as_json: bool,
) -> int:
    """Return 0 once the code there is the code here."""
    from dataclasses import asdict

    from perdure.sync.ensure import ensure

    root = workspace.project.root
    done = ensure(root, target, destination, rules=rules, report=console, timeout_s=LIMIT_S)
    if as_json:
        console.json({"target": target, "live": done is None, **(asdict(done) if done else {})})
    elif done is None:
        console.say(f"`{target}`: up to date")
    else:
        if done.warning:
            console.say(f"warning: {done.warning}: files are taken without asking .gitignore")
        console.say(told(done, target))
    return 0


def watch(
    workspace: Workspace, target: str, destination: Destination, rules: Rules, console: Console
) -> int:
    """Return 0 once the user has had enough."""
    from perdure.cli.signals import as_ctrl_c
    from perdure.sync.service import serve
    from perdure.sync.session import Session

    try:
        with as_ctrl_c():
            serve(Session(workspace.project.root, target), destination, rules, console.say)
    except KeyboardInterrupt:
        console.say("ended")
    return 0


def show_plan(
    workspace: Workspace,
    target: str,
    destination: Destination,
    rules: Rules,
    console: Console,
    *,
    as_json: bool,
) -> int:
    """Return 0 after telling what would be done."""
    from perdure.sync.once import preview
    from perdure.sync.session import Session

    root = workspace.project.root
    state = Session(root, target).folder
    actions, skipped = preview(root, destination, state=state, rules=rules, timeout_s=LIMIT_S)
    if as_json:
        listed = [
            {"do": each.do.name.lower(), "path": each.path, "displaces": each.displaces}
            for each in actions
        ]
        left = [{"path": each.path, "why": each.why} for each in skipped]
        console.json({"target": target, "actions": listed, "skipped": left})
        return 0
    console.lines([plan_line(each) for each in actions])
    console.say(f"{counted(len(actions), 'file')} to bring up to date on `{target}`")
    return 0


def plan_line(action: Action) -> str:
    """Return what would be done to a path."""
    aside = "  (changed there as well: that is kept there)" if action.displaces else ""
    return f"{action.do.name.lower():<7} {action.path}{aside}"


def show_status(workspace: Workspace, target: str, console: Console, *, as_json: bool) -> int:
    """Return 0 after telling how the sync with a target stands."""
    from dataclasses import asdict

    from perdure.sync.session import Session, status
    from perdure.sync.state import conflicts_in

    root = workspace.project.root
    found = status(root, target)
    kept = conflicts_in(Session(root, target).state)
    skipped = found["skipped"] if found else skipped_here(workspace)
    if as_json:
        live = {name: value for name, value in (found or {}).items() if name != "skipped"}
        listed = [asdict(each) for each in kept]
        console.json({"target": target, "live": live, "conflicts": listed, "skipped": skipped})
        return 0
    console.lines([standing(found, target), *conflict_lines(kept, target), *skipped_lines(skipped)])
    return 0


def skipped_here(workspace: Workspace) -> list[Mapping[str, Any]]:
    """Return what stays here, where no session runs that could be asked."""
    from perdure.sync.rules import Rules
    from perdure.sync.scan import Scanner

    scanner = Scanner(workspace.project.root, Rules(pull=workspace.project.pull), {})
    found = scanner.skipped(scanner.everything())
    return [{"path": each.path, "why": each.why} for each in found]


def standing(found: Mapping[str, Any] | None, target: str) -> str:
    """Return the line that says whether a session runs, and is connected."""
    if found is None:
        return f"{target}: no sync runs; perdure sync --watch --on {target}"
    since = duration(max(0.0, float(found["time"]) - float(found["since"] or found["time"])))
    if not found["connected"]:
        why = f": {found['problem']}" if found["problem"] else ""
        return f"{target}: not connected for {since}{why}"
    line = f"{target}: connected for {since}, {counted(found['files'], 'file')}"
    for each in found["problems"][:MOST_SHOWN]:
        line += f"\n  {each['path']} {each['why']}"
    if found["refused"]:
        line += f"\n  {counted(len(found['refused']), 'deletion')} refused: perdure sync --delete"
    return line


def conflict_lines(kept: list[Kept], target: str) -> list[str]:
    """Return what was kept because both sides had changed it."""
    lines = []
    for each in kept[:MOST_SHOWN]:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at))
        where = "here" if each.here else f"on {target}"
        lines.append(f"conflict {stamp}  {each.path}: kept {where} in {each.place}")
    return lines


def skipped_lines(skipped: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what stays here, and why."""
    lines = [f"skipped  {each['path']}: {each['why']}" for each in skipped[:MOST_SHOWN]]
    more = len(skipped) - MOST_SHOWN
    return [*lines, f"and {more} more"] if more > 0 else lines


def stop_session(workspace: Workspace, target: str, console: Console) -> int:
    """Return 0 once no session runs."""
    from perdure.sync.session import stop

    ran = stop(workspace.project.root, target)
    console.say(f"`{target}`: the sync has ended" if ran else f"`{target}`: no sync ran")
    return 0
