"""A kubectl whose cluster seems to have Indexed Jobs: the real one is too old for them.

kubectl_indexed.py FOLDER KUBECTL WORDS...

What it is given as an Indexed Job has to be one by the schema of a release that has them. Of each
index a plain Job is made, whose pod has what Kubernetes would give it (the index, as a variable and
as a label), and the Job itself is told of as that release would, from what its pods came to. The
rest is the real kubectl, and the pods are real. `parallelism` is not heeded.
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
    if "get" in words and "jobs,pods" in words:
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
    spec |= {"completions": 1, "parallelism": 1, "backoffLimit": 100}
    spec["template"]["metadata"]["labels"][INDEX] = str(index)
    for container in spec["template"]["spec"]["containers"]:
        container["env"].append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
    return job


def told(kubectl: str, words: list[str], path: Path) -> Values:
    """Return the Job as its server would tell of it."""
    made: Values = json.loads(path.read_text())
    where = [word for word in words if word.startswith(("--context", "--namespace"))]
    argv = [*where, "get", "jobs", f"--selector={OF}={path.stem}", "--output=json"]
    done = [
        each["spec"]["template"]["metadata"]["labels"][INDEX]
        for each in asked(kubectl, argv)["items"]
        if any(one["type"] == "Complete" for one in each["status"].get("conditions", ()))
    ]
    status: Values = {"completedIndexes": ",".join(sorted(done, key=int))}
    if len(done) == made["spec"]["completions"]:
        status["conditions"] = [{"type": "Complete", "status": "True"}]
    made["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return {**made, "status": status}


if __name__ == "__main__":
    sys.exit(main())
