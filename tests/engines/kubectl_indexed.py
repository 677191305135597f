"""A kubectl whose cluster seems to have Indexed Jobs: the real one is too old for them.

kubectl_indexed.py FOLDER KUBECTL WORDS...

What it is given as an Indexed Job has to be one by the schema of a release that has them. Of each
index a plain Job is made, whose pod has what Kubernetes would give it (the index, as a variable and
as a label), and the Job itself is told of as that release would, from what its pods came to. The
rest is the real kubectl, and the pods are real. Of the plain Jobs only as many may have a pod
(`parallelism: 1`) as the whole is to have at a time; that is looked after whenever it is told of.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

RELEASE = ("1", "30")
INDEX = "batch.kubernetes.io/job-completion-index"
OF = "tests.example.org/indexed"
Values = dict[str, Any]


def main() -> int:
    """Answer as kubectl does, and return its exit code."""
    folder, kubectl, *words = sys.argv[1:]
    given = sys.stdin.read() if "--filename=-" in words else ""
    if "version" in words and "--client" not in words:
        return answer(newer(asked(kubectl, words)))
    if "create" in words:
        made = yaml.safe_load(given)
        if made["kind"] == "Job" and made["spec"].get("completionMode") == "Indexed":
            return create(Path(folder), kubectl, words, made)
    whole = Path(folder, f"{words[words.index('job') + 1]}.json") if "job" in words else None
    if "patch" in words and whole is not None and whole.exists():
        return patch(whole, words)
    if "get" in words and ("jobs" in words or "jobs,pods" in words):
        found = asked(kubectl, words)
        for each in found["items"]:
            # Of its plain Job here; of the whole one there.
            labels = each["metadata"].get("labels", {})
            if INDEX in labels:
                labels["job-name"] = labels["job-name"].rpartition("-")[0]
        found["items"] += [told(kubectl, words, each) for each in sorted(Path(folder).iterdir())]
        return answer(found)
    return subprocess.run([kubectl, *words], input=given.encode() or None, timeout=90).returncode


def answer(value: Values) -> int:
    """Print what was found, and return that all is well."""
    print(json.dumps(value))
    return 0


def asked(kubectl: str, words: list[str]) -> Values:
    """Return what the real kubectl says."""
    done = subprocess.run([kubectl, *words], capture_output=True, timeout=90)
    if done.returncode:
        sys.stderr.write(done.stderr.decode())
        sys.exit(done.returncode)
    found: Values = json.loads(done.stdout)
    return found


def newer(version: Values) -> Values:
    """Return what a newer server says of itself."""
    server = {**version["serverVersion"], "major": RELEASE[0], "minor": RELEASE[1]}
    return {**version, "serverVersion": server}


def create(folder: Path, kubectl: str, words: list[str], made: Values) -> int:
    """Make a plain Job for each index; remember the whole."""
    kubernetes_validate.validate(made, ".".join(RELEASE), strict=True)
    path = folder / f"{made['metadata']['name']}.json"
    if path.exists():
        sys.stderr.write(f'Error from server (AlreadyExists): jobs.batch "{path.stem}" exists\n')
        return 1
    listed = [plain(made, index) for index in range(made["spec"]["completions"])]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": listed})
    done = subprocess.run([kubectl, *words], input=text.encode(), timeout=90)
    if done.returncode == 0:
        path.write_text(json.dumps(made))
    return done.returncode


def plain(made: Values, index: int) -> Values:
    """Return the Job of one index."""
    job = copy.deepcopy(made)
    name = made["metadata"]["name"]
    job["metadata"] = {"name": f"{name}-{index}", "labels": {OF: name}}
    spec = job["spec"]
    for key in ("completionMode", "backoffLimitPerIndex"):
        spec.pop(key, None)
    at_once = int(index < made["spec"]["parallelism"])
    spec |= {"completions": 1, "parallelism": at_once, "backoffLimit": 100}
    spec["template"]["metadata"]["labels"][INDEX] = str(index)
    for container in spec["template"]["spec"]["containers"]:
        container["env"].append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
    return job


def patch(path: Path, words: list[str]) -> int:
    """Change what is remembered of the whole, as far as it may be changed."""
    given = next(word for word in words if word.startswith("--patch="))
    changed = json.loads(given.partition("=")[2])
    made: Values = json.loads(path.read_text())
    if changed.keys() - {"spec"} or changed["spec"].keys() - {"parallelism"}:
        sys.stderr.write(f"this stand-in does not know how to change {changed}\n")
        return 1
    made["spec"] |= changed["spec"]
    kubernetes_validate.validate(made, ".".join(RELEASE), strict=True)
    path.write_text(json.dumps(made))
    return 0


def allow(where: list[str], kubectl: str, most: int, jobs: list[Values]) -> None:
    """Let so many of the plain Jobs that have not ended have a pod; who has one keeps it."""
    going = [each for each in jobs if not is_complete(each)]
    room = most - sum(each["spec"]["parallelism"] for each in going)
    for each in sorted(going, key=index_of):
        if room <= 0:
            return
        if each["spec"]["parallelism"] == 0:
            name = each["metadata"]["name"]
            words = ["patch", "job", name, '--patch={"spec":{"parallelism":1}}', "--output=json"]
            asked(kubectl, [*where, *words])
            room -= 1


def index_of(job: Values) -> int:
    """Return which index a plain Job is for."""
    return int(job["spec"]["template"]["metadata"]["labels"][INDEX])


def is_complete(job: Values) -> bool:
    """Return whether a plain Job has come to its end."""
    return any(one["type"] == "Complete" for one in job["status"].get("conditions", ()))


def told(kubectl: str, words: list[str], path: Path) -> Values:
    """Return the Job as its server would tell of it."""
    made: Values = json.loads(path.read_text())
    where = [word for word in words if word.startswith(("--context", "--namespace"))]
    argv = [*where, "get", "jobs", f"--selector={OF}={path.stem}", "--output=json"]
    jobs = asked(kubectl, argv)["items"]
    allow(where, kubectl, made["spec"]["parallelism"], jobs)
    done = sorted(index_of(each) for each in jobs if is_complete(each))
    status: Values = {"completedIndexes": ",".join(map(str, done))}
    if len(done) == made["spec"]["completions"]:
        status["conditions"] = [{"type": "Complete", "status": "True"}]
    made["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return {**made, "status": status}


if __name__ == "__main__":
    sys.exit(main())
