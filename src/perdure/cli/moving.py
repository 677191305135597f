"""What `push`, `pull` and `clean` share: which words, which other side, and how it is told."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from perdure.cli.arguments import JOB_HELP, add_json
from perdure.cli.render import Console
from perdure.cli.words import counted, duration, printable, size
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.jobs.workspace import Workspace
    from perdure.moving.address import Address
    from perdure.moving.errand import Errand
    from perdure.moving.far import Far
    from perdure.moving.outcome import Moved
    from perdure.moving.selection import Selection

WORDS = ("code", "data", "notebooks", "results")
ALL = "all"
ON_HELP = "a host of `perdure targets`, or s3://BUCKET/FOLDER, gs://, az://, file:///FOLDER"
MOST_NAMED = 20
NO_LIMIT = 1 << 62


def add_moving(parser: argparse.ArgumentParser, doing: str) -> None:
    """Add what `push` and `pull` take."""
    parser.add_argument("what", choices=(*WORDS, ALL), help=f"what to {doing}")
    parser.add_argument(
        "jobs", metavar="JOB", nargs="*", help=f"with `results`, only these: {JOB_HELP}"
    )
    parser.add_argument("--on", dest="target", metavar="WHERE", help=f"{ON_HELP} (the only host)")
    parser.add_argument(
        "--checkpoints", action="store_true", help="with `results`, the checkpoints as well"
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="tell what would be moved, and move nothing"
    )
    add_json(parser)


def move(arguments: argparse.Namespace, console: Console, *, pushing: bool) -> int:
    """Return 0 once the words are moved, or what would be is told."""
    from pathlib import Path

    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    check_jobs(arguments.what, arguments.jobs)
    arguments.target = arguments.target or only_host(workspace)
    if not pushing and arguments.what == "results" and is_cloud(workspace, arguments.target):
        from perdure.cli.clouds import pull_results

        return pull_results(workspace, arguments, console)
    return move_words(workspace, arguments, console, pushing=pushing)


def move_words(
    workspace: Workspace, arguments: argparse.Namespace, console: Console, *, pushing: bool
) -> int:
    """Return 0 once the words are moved to or from a host or a bucket."""
    from perdure.jobs.workspace import make_state_folder

    other = other_side(workspace, arguments.target)
    if not arguments.dry_run:
        make_state_folder(workspace.project)
    words = WORDS if arguments.what == ALL else (arguments.what,)
    jobs = [named_job(workspace, job) for job in arguments.jobs]
    done = []
    for word in words:
        if arguments.what == ALL and pushing and not is_here(workspace, word):
            continue
        selection = selected(workspace, word, console, arguments, jobs, pushing=pushing)
        try:
            moved = one(workspace, selection, other, arguments, console, pushing=pushing)
        except UsageError:
            # One word that the other side does not have is no reason to stop the others.
            if arguments.what != ALL or pushing:
                raise
            continue
        done.append(moved)
        if not arguments.json:
            tell(moved, console)
    if arguments.json:
        console.json([as_json(moved) for moved in done])
    return 0


def check_jobs(word: str, jobs: Sequence[str]) -> None:
    """Return if jobs may be named with that word.

    Raises:
        UsageError: they may not.
    """
    if jobs and word != "results":
        raise UsageError(
            f"`{word}` takes no jobs: `{jobs[0]}`", hint="jobs are named with `results`"
        )


def only_host(workspace: Workspace) -> str:
    """Return the target that is meant where none is named: the only one that is elsewhere.

    Raises:
        UsageError: there is none, or more than one.
    """
    known = workspace.settings.targets
    away = sorted(
        name
        for name, each in known.items()
        if each.host or each.kubernetes is not None or each.cloud is not None
    )
    if len(away) == 1:
        return away[0]
    listed = ", ".join(away) or "there is no host yet: perdure targets; or name a bucket"
    raise UsageError("where to or from is not said: name it with `--on`", hint=listed)


def other_side(workspace: Workspace, text: str) -> Address | Far:
    """Return the bucket or the host that `--on` names; a person may be asked to connect.

    Raises:
        UsageError: there is none.
        HostUnreachable: the host does not answer.
    """
    from perdure.moving.address import is_address, parse_address

    if is_address(text):
        return parse_address(text)
    from perdure.hosts.ssh import Ssh
    from perdure.moving.far import Far
    from perdure.targets.place import folder_name
    from perdure.targets.registry import TARGETS, unknown_target

    if text in TARGETS:
        raise _is_here(text)
    wanted = workspace.settings.targets.get(text)
    if wanted is None:
        raise unknown_target(text, workspace.settings)
    if wanted.cloud is not None:
        return cloud_folder(workspace, text)
    if wanted.kubernetes is not None:
        return _on_volume(workspace, text)
    if not wanted.host:
        raise _is_here(text)
    host = Ssh(text, wanted.host, wanted.root)
    host.connect()
    name = folder_name(workspace.project.root, wanted.host)
    return Far(host, f"{wanted.root.rstrip('/')}/{name}")


def is_cloud(workspace: Workspace, text: str) -> bool:
    """Return whether `--on` names a target of a cloud."""
    wanted = workspace.settings.targets.get(text)
    return wanted is not None and wanted.cloud is not None


def cloud_folder(workspace: Workspace, name: str) -> Address:
    """Return the project's folder in the bucket of a cloud."""
    from perdure.targets.cloud import open_cloud

    cloud = open_cloud(workspace.project, workspace.settings, name)
    # The bucket is in the target's region, whatever this shell's usual one is.
    os.environ["AWS_REGION"] = cloud.wanted.region
    return cloud.address


def _on_volume(workspace: Workspace, target: str) -> Far:
    """Return the project's folder on the volume of a cluster, through the pod that has it."""
    from perdure.moving.far import Far
    from perdure.targets.kubernetes_opening import open_kubernetes

    found = open_kubernetes(workspace.project, workspace.settings, target)
    found.pod.connect()
    return Far(found.pod, found.station.root)


def _is_here(target: str) -> UsageError:
    return UsageError(
        f"`{target}` is this machine: what is here needs no moving", hint="perdure targets"
    )


def named_job(workspace: Workspace, text: str) -> str:
    """Return a job's whole name; one that is not known here is taken as it is."""
    from perdure.jobs.find import LAST, find_job

    try:
        return find_job(workspace, text).job
    except UsageError:
        if text == LAST:
            raise
        return text


def is_here(workspace: Workspace, word: str) -> bool:
    """Return whether there is a folder for a word."""
    return word == "code" or (workspace.project.root / word).is_dir()


def selected(
    workspace: Workspace,
    word: str,
    console: Console,
    arguments: argparse.Namespace,
    jobs: Collection[str],
    *,
    pushing: bool,
) -> Selection:
    """Return what a word means here.

    Raises:
        UsageError: there is nothing of it to push.
    """
    from perdure.moving.selection import select, select_code, select_results

    root = workspace.project.root
    if pushing and not is_here(workspace, word):
        raise UsageError(f"there is no folder `{root / word}` to push", hint=f"mkdir {word}")
    if word == "results":
        return select_results(root, checkpoints=arguments.checkpoints, jobs=jobs)
    if word != "code":
        return select(word, root)
    from perdure.sync.rules import Rules
    from perdure.sync.scan import Scanner

    # The rules of live sync, but for its limit: whoever says `push` means large files as well.
    scanner = Scanner(root, Rules(largest_bytes=NO_LIMIT), {})
    paths = frozenset(scanner.everything().files)
    if scanner.warning:
        console.say(f"warning: {scanner.warning}: files are taken without asking .gitignore")
    return select_code(root, paths, lambda names: ignored(workspace, names))


def ignored(workspace: Workspace, paths: Sequence[str]) -> set[str]:
    """Return those of the paths that git ignores here; none where there is no git."""
    from perdure.errors import PerdureError
    from perdure.jobs.listing import git

    asked = b"".join(os.fsencode(path) + b"\0" for path in paths)
    try:
        done = git(workspace.project.root, "check-ignore", "-z", "--stdin", stdin=asked)
    except PerdureError:
        return set()
    return {os.fsdecode(path) for path in done.stdout.split(b"\0") if path}


def one(
    workspace: Workspace,
    selection: Selection,
    other: Address | Far,
    arguments: argparse.Namespace,
    console: Console,
    *,
    pushing: bool,
) -> Moved:
    """Return what came of moving one word."""
    import time
    from dataclasses import replace

    from perdure.model.report import silent
    from perdure.moving.address import Address
    from perdure.moving.errand import Errand

    host = None if isinstance(other, Address) else other
    errand = Errand(
        selection,
        workspace.project.root,
        host.host.name if host else str(other),
        pushing,
        dry=arguments.dry_run,
        report=console if console.err_is_terminal else silent,
        identity=f"{host.host.name}\0{host.root}" if host else None,
    )
    began = time.monotonic()
    moved = with_bucket(errand, other) if isinstance(other, Address) else with_host(errand, other)
    return replace(moved, seconds=time.monotonic() - began)


def with_host(errand: Errand, other: Far) -> Moved:
    """Return what came of moving a word to or from a host."""
    from perdure.moving.pull import pull
    from perdure.moving.push import push

    return (push if errand.pushing else pull)(errand, other)


def with_bucket(errand: Errand, address: Address) -> Moved:
    """Return what came of moving a word to or from a bucket."""
    from perdure.moving.bucket_pull import pull_from_bucket
    from perdure.moving.bucket_push import push_to_bucket

    return (push_to_bucket if errand.pushing else pull_from_bucket)(errand, address)


def tell(moved: Moved, console: Console) -> None:
    """Write what moved, what was left out and why, and what was kept."""
    for note in moved.notes:
        console.say(printable(note))
    if moved.dry:
        shown = moved.paths if console.verbose else moved.paths[:MOST_NAMED]
        console.lines(shown)
        if len(shown) < len(moved.paths):
            console.say(f"and {len(moved.paths) - len(shown)} more (-v shows them all)")
    for group in moved.skipped:
        if group.why != "unchanged":
            console.say(
                printable(
                    f"skipped {counted(group.files, 'file')}, such as "
                    f"`{group.example}`: {group.why}"
                )
            )
    if moved.kept:
        at = f"on {moved.where}" if moved.pushed else "here"
        verb = "would be kept" if moved.dry else "is kept"
        console.say(
            printable(
                f"edited {at}: what {counted(len(moved.kept), 'file')} "
                f"had, such as `{moved.kept[0]}`, {verb} in {moved.kept_in}"
            )
        )
    console.say(summary(moved))


def summary(moved: Moved) -> str:
    """Return the last line: what moved, how long it took, what did not have to."""
    verb = "push" if moved.pushed else "pull"
    doing = f"would {verb}" if moved.dry else f"{verb}ed"
    way = "to" if moved.pushed else "from"
    line = f"{doing} {moved.word} {way} {moved.where}: "
    line += f"{counted(moved.files, 'file')}, {size(moved.bytes)}"
    if not moved.dry and moved.files:
        if moved.sent_bytes < moved.bytes:
            line += f" ({size(moved.sent_bytes)} of it now)"
        line += f" in {duration(moved.seconds)}"
    unchanged = sum(group.files for group in moved.skipped if group.why == "unchanged")
    other = sum(group.files for group in moved.skipped) - unchanged
    line += f"; {unchanged} unchanged" if unchanged else ""
    return line + (f"; {other} skipped" if other else "")


def as_json(moved: Moved) -> dict[str, object]:
    """Return what moved, for a program."""
    skipped = [
        {"why": each.why, "files": each.files, "bytes": each.bytes, "example": each.example}
        for each in moved.skipped
    ]
    return {
        "word": moved.word,
        "where": moved.where,
        "direction": "push" if moved.pushed else "pull",
        "dry_run": moved.dry,
        "files": moved.files,
        "bytes": moved.bytes,
        "sent_bytes": moved.sent_bytes,
        "seconds": round(moved.seconds, 3),
        "skipped": skipped,
        "kept": list(moved.kept),
        "kept_in": moved.kept_in,
        "notes": list(moved.notes),
        "paths": list(moved.paths) if moved.dry else None,
    }
