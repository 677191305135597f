"""`sky` in SkyPilot's place: its options as they are documented, its words as they were seen.

"SkyPilot CLI reference"; options, answers and refusals of version 0.14.1. What it is told lies in a
folder, where `SkyPlane` is the controller that acts on it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import yaml

SCHEMA = json.loads(Path(__file__).with_name("sky_schema.json").read_text())
# Of each command: options without a value, options with one, and whether words may follow.
COMMANDS: dict[tuple[str, ...], tuple[dict[str, str], dict[str, str]]] = {
    ("jobs", "launch"): (
        {"-y": "yes", "--yes": "yes", "-d": "detach", "--detach-run": "detach"},
        {"-n": "name", "--name": "name"},
    ),
    ("jobs", "queue"): (
        {"--skip-finished": "unfinished", "-a": "all", "--all": "all", "-v": "v", "--verbose": "v"},
        {"-o": "output", "--output": "output"},
    ),
    ("jobs", "cancel"): (
        {"-y": "yes", "--yes": "yes"},
        {"-n": "name", "--name": "name"},
    ),
    ("check",): ({}, {"-o": "output", "--output": "output"}),
}
_TASK_NAME = re.compile("[a-zA-Z0-9]+(?:[._-]{1,2}[a-zA-Z0-9]+)*")
_CLUSTER_NAME = re.compile("[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")
OVER = ("SUCCEEDED", "CANCELLED", "FAILED", "FAILED_SETUP", "FAILED_NO_RESOURCE")


def main(folder: Path, words: list[str]) -> int:
    """Return the exit code of `sky WORDS...`, whose server keeps its jobs in a folder."""
    mode = (folder / "mode").read_text() if (folder / "mode").exists() else ""
    with (folder / "asked").open("a") as asked:
        asked.write(f"{' '.join(words[:2])}\n")
    if mode == "hangs":
        time.sleep(1000)
    if words == ["--version"]:
        print(
            f"skypilot, version {mode.removeprefix('version ') if 'version' in mode else '0.14.1'}"
        )
        return 0
    if mode == "gibberish":
        print("<html>[502]</html>")
        return 0
    command = next((each for each in COMMANDS if tuple(words[: len(each)]) == each), None)
    if command is None:
        usage(f"No such command '{' '.join(words[:2])}'.")
    options, rest = parsed(command, words[len(command) :])
    if command == ("check",):
        print("\x1b[2mFailed to connect to SkyPilot API server at http://127.0.0.1:46580.\x1b[0m")
        print(
            json.dumps({"default": {} if mode == "cloudless" else {"AWS": ["compute", "storage"]}})
        )
        return 0
    if command == ("jobs", "launch"):
        return launch(folder, options, rest, mode)
    return (queue if command == ("jobs", "queue") else cancel)(folder, options, rest)


def parsed(command: tuple[str, ...], words: list[str]) -> tuple[dict[str, str], list[str]]:
    flags, valued = COMMANDS[command]
    found, rest, left = {}, [], list(words)
    while left:
        word = left.pop(0)
        if word in flags:
            found[flags[word]] = "yes"
        elif word in valued:
            found[valued[word]] = left.pop(0)
        elif word.startswith("-"):
            usage(f"No such option: {word}")
        else:
            rest.append(word)
    if command[-1] != "check" and "queue" not in command and "yes" not in found:
        usage("it would ask, and nobody is there")
    return found, rest


def usage(what: str) -> NoReturn:
    print(f"Usage: sky [OPTIONS]\nTry 'sky -h' for help.\n\nError: {what}", file=sys.stderr)
    raise SystemExit(2)


def refuse(what: str) -> NoReturn:
    print(what, file=sys.stderr)
    raise SystemExit(1)


def launch(folder: Path, options: dict[str, str], rest: list[str], mode: str) -> int:
    if len(rest) != 1 or not rest[0].endswith((".yaml", ".yml")) or "detach" not in options:
        usage("a command, and no YAML")
    print(f"YAML to run: {rest[0]}")
    task = yaml.safe_load(Path(rest[0]).read_text())
    for part, what in ((task, "task"), (task.get("resources", {}), "resources")):
        try:
            jsonschema.validate(part, SCHEMA[what])
        except jsonschema.ValidationError as error:
            refuse(f"ValueError: Invalid {what} YAML: {error.message}")
    name = options.get("name", task["name"])
    if not _CLUSTER_NAME.fullmatch(name):
        refuse(f'sky.exceptions.InvalidClusterNameError: Cluster name "{name}" is invalid')
    if not _TASK_NAME.fullmatch(task["name"]):
        refuse(f"ValueError: Invalid task name {task['name']}. Valid name: ASCII characters")
    if mode == "cloudless":
        refuse("sky.exceptions.NoCloudAccessError: Cloud access is not set up. Run: sky check")
    if mode == "dies":
        refuse("sky.exceptions.ApiServerConnectionError: Could not connect to SkyPilot API server")
    number = len(jobs(folder)) + 1
    job = {"job_id": number, "job_name": name, "status": "PENDING", "recovery_count": 0}
    write(folder, {**job, "failure_reason": None, "submitted_at": time.time(), "task": task})
    print(f"Managed Job ID: {number}")
    return 0


def queue(folder: Path, options: dict[str, str], rest: list[str]) -> int:
    found = jobs(folder)
    if not any(each["status"] not in OVER for each in found) and "unfinished" in options:
        refuse("sky.exceptions.ClusterNotUpError: No in-progress managed jobs.")
    rows = [
        {name: value for name, value in each.items() if name != "task"}
        for each in found
        if "unfinished" not in options or each["status"] not in OVER
    ]
    if options.get("output") == "json" and not rest:
        print(json.dumps(rows, indent=2))
    return 0


def cancel(folder: Path, options: dict[str, str], rest: list[str]) -> int:
    if bool(rest) == ("name" in options):
        usage("Can only specify one of JOB_IDS, --name, --pool, or --all/--all-users.")
    if not any(each["status"] not in OVER for each in jobs(folder)):
        refuse("sky.exceptions.ClusterNotUpError: No in-progress managed jobs.")
    for each in jobs(folder):
        if each["status"] not in OVER and str(each["job_id"]) in rest:
            write(folder, {**each, "status": "CANCELLING"})
    return 0


def jobs(folder: Path) -> list[dict[str, Any]]:
    """Return all managed jobs, oldest first."""
    found = [json.loads(each.read_text()) for each in folder.glob("job-*.json")]
    return sorted(found, key=lambda each: int(each["job_id"]))


def write(folder: Path, job: dict[str, Any]) -> None:
    """Keep a managed job as it is now."""
    draft = folder / f".draft-{job['job_id']}-{os.getpid()}"
    draft.write_text(json.dumps(job))
    draft.replace(folder / f"job-{job['job_id']:04d}.json")


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), sys.argv[2:]))
