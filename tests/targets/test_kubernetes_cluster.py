"""What a cluster says, as values: no cluster is asked."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from perdure.errors import EnvironmentFailed, HostUnreachable
from perdure.hosts.kubectl import Forbidden, Kubectl, Refused, last_line
from perdure.hosts.pod import trouble
from perdure.targets.kubernetes_array import INDEX, TRIALS
from perdure.targets.kubernetes_capacity import Node, free, quantity
from perdure.targets.kubernetes_cluster import HOPELESS_S, Known, Word, words_in
from perdure.targets.kubernetes_manifest import KEY, PART, key_of
from perdure.targets.kubernetes_standing import give_up, judged

NOW = 1_000_000_000.0  # 2001-09-09T01:46:40Z
CREATED = "2001-09-09T01:46:30Z"


def job(**status: Any) -> dict[str, Any]:  # noqa: ANN401 - a manifest's
    metadata = {"name": "otter-1", "labels": {KEY: "k"}, "creationTimestamp": CREATED}
    return {"kind": "Job", "metadata": metadata, "spec": {}, "status": status}


def pod(phase: str, name: str = "otter-1-a", **status: Any) -> dict[str, Any]:  # noqa: ANN401
    labels = {KEY: "k", "job-name": "otter-1"}
    metadata = {"name": name, "labels": labels, "creationTimestamp": CREATED}
    spec = {"nodeName": "node1"}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase, **status}}


def word(*items: dict[str, Any], now: float = NOW) -> Word:
    return words_in(items, now)["k"]


def waiting(reason: str) -> dict[str, Any]:
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "m"}}}]}


def test_a_pod_that_runs_is_named_with_its_node() -> None:
    found = word(job(), pod("Running"))
    assert (found.active, found.waits, found.pod, found.node) == (True, None, "otter-1-a", "node1")


@pytest.mark.parametrize(
    ("items", "waits"),
    [
        ([job()], "no pod yet"),
        ([job(), pod("Pending")], "starts"),
        ([job(), pod("Pending", **waiting("ImagePullBackOff"))], "ImagePullBackOff"),
        (
            [
                job(),
                pod(
                    "Pending",
                    conditions=[
                        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
                    ],
                ),
            ],
            "Unschedulable",
        ),
        ([job(), pod("Failed", reason="Evicted")], "Evicted"),
        (
            [job(), pod("Failed", containerStatuses=[{"state": {"terminated": {"exitCode": 75}}}])],
            "exit code 75",
        ),
        (
            [
                job(),
                pod(
                    "Failed",
                    containerStatuses=[
                        {"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
                    ],
                ),
            ],
            "OOMKilled",
        ),
    ],
)
def test_why_a_job_waits(items: list[dict[str, Any]], waits: str) -> None:
    assert word(*items).waits == waits


@pytest.mark.parametrize(
    ("end", "said"),
    [({"exitCode": 137, "reason": "OOMKilled"}, "OOMKilled"), ({"exitCode": 75}, "")],
)
def test_one_that_runs_again_says_how_its_pod_before_ended(end: dict[str, Any], said: str) -> None:
    before = pod("Failed", "otter-1-a", containerStatuses=[{"state": {"terminated": end}}])
    found = word(job(), before, pod("Running", "otter-1-b"))
    assert (found.active, found.waits, found.pod, found.ended) == (True, None, "otter-1-b", said)


def test_how_an_earlier_submission_ended_is_not_said_of_the_next_one() -> None:
    killed = pod("Failed", "otter-1-a", reason="DeadlineExceeded")
    again = job()
    again["metadata"]["name"] = "otter-2"
    assert word(again, killed).waits == "no pod yet"
    runs = pod("Running", "otter-2-a")
    runs["metadata"]["labels"]["job-name"] = "otter-2"
    found = word(job(conditions=[{"type": "Failed", "status": "True"}]), again, killed, runs)
    assert (found.name, found.pod, found.ended) == ("otter-2", "otter-2-a", "")


def test_one_that_kueue_holds_back_says_so() -> None:
    held = job()
    held["spec"]["suspend"] = True
    assert word(held).waits == "Suspended"


def without_image(name: str = "otter-1-a") -> dict[str, Any]:
    """Return a pod that has had its node since it was created, and has no image."""
    had = {"type": "PodScheduled", "status": "True", "lastTransitionTime": CREATED}
    return pod("Pending", name, conditions=[had], **waiting("ImagePullBackOff"))


def test_an_image_that_does_not_come_is_given_up_after_ten_minutes() -> None:
    items = (job(), without_image())
    assert word(*items).hopeless == ""
    assert word(*items, now=NOW + HOPELESS_S).hopeless == "ImagePullBackOff: m"
    assert word(job(), pod("Pending"), now=NOW + HOPELESS_S).hopeless == ""


def test_one_that_waited_for_a_node_has_as_long() -> None:
    late = without_image()
    late["status"]["conditions"][0]["lastTransitionTime"] = "2001-09-09T01:56:30Z"
    assert word(job(), late, now=NOW + HOPELESS_S).hopeless == ""
    assert word(job(), late, now=NOW + 2 * HOPELESS_S).hopeless == "ImagePullBackOff: m"


def test_a_node_of_several_that_never_comes_has_all_given_up() -> None:
    second, its = job(), without_image("otter-1-n1-a")
    second["metadata"] = {**second["metadata"], "name": "otter-1-n1"}
    second["metadata"]["labels"] = {KEY: "k", PART: "1"}
    its["metadata"]["labels"] = {KEY: "k", PART: "1", "job-name": "otter-1-n1"}
    items = (job(), second, pod("Running"), its)
    assert word(*items).hopeless == ""
    found = word(*items, now=NOW + HOPELESS_S)
    assert (found.hopeless, found.jobs) == ("ImagePullBackOff: m", ("otter-1", "otter-1-n1"))
    asked = Asked()
    give_up(cast("Kubectl", asked), found)
    assert [each[:3] for each in asked.words] == [
        ("patch", "job", "otter-1"),
        ("patch", "job", "otter-1-n1"),
    ]


def test_a_job_of_many_is_not_given_up_for_one_of_them() -> None:
    told = json.dumps({"root": "/perdure/p", "jobs": ["a", "b"]})
    array = job()
    array["metadata"]["annotations"] = {TRIALS: told}
    runs, stuck = pod("Running", "otter-1-0"), without_image("otter-1-1")
    for number, each in enumerate((runs, stuck)):
        each["metadata"]["labels"][INDEX] = str(number)
    words = words_in([array, runs, stuck], NOW + HOPELESS_S)
    (hopeless,) = (each for each in words.values() if each.hopeless)
    asked = Asked()
    give_up(cast("Kubectl", asked), hopeless)
    assert [each[:3] for each in asked.words] == [("delete", "pod", "otter-1-1")]


class Asked:
    """Notes what a cluster would be asked."""

    def __init__(self) -> None:
        self.words: list[tuple[str, ...]] = []

    def ask(self, *words: str, **_: object) -> str:
        self.words.append(words)
        return ""


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (waiting("ImagePullBackOff"), "ImagePullBackOff: m"),
        (
            {"containerStatuses": [{"state": {"terminated": {"reason": "StartError"}}}]},
            "StartError",
        ),
        ({"containerStatuses": [{"state": {"terminated": {"reason": "Error"}}}]}, ""),
        (waiting("ContainerCreating"), ""),
    ],
)
def test_why_a_pod_never_starts(status: dict[str, Any], said: str) -> None:
    assert trouble(status, patient=True) == said


def test_how_a_job_ended() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    found = word(job(conditions=[failed]), pod("Failed", reason="Evicted"))
    assert (found.active, found.ended) == (False, "Kubernetes: BackoffLimitExceeded (Evicted)")
    assert word(pod("Running")).pods == ("otter-1-a",)


def test_a_pod_on_its_way_out_makes_room_for_the_next() -> None:
    old, new = pod("Running"), pod("Running", "otter-1-b")
    old["metadata"]["deletionTimestamp"] = CREATED
    assert word(job(), old, new).pod == "otter-1-b"
    assert word(job(), old).pod == "otter-1-a"


def test_how_a_job_stands() -> None:
    key = key_of("/perdure/x", "results/a")
    running = Known({key: Word("n", active=True)}, NOW, "")
    assert judged(running, "/perdure/x", "results/a", alive=True).alive
    assert not judged(running, "/perdure/x", "results/a", alive=False).alive
    gone = judged(Known({}, NOW, ""), "/perdure/x", "results/a", alive=True)
    assert (gone.alive, gone.ended) == (False, "Kubernetes has it no more")
    silent = judged(Known({}, 0.0, "it is away"), "/perdure/x", "results/a", alive=True)
    assert (silent.alive, silent.problem) == (True, "it is away")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("The connection to the server 10.0.0.1:6443 was refused", HostUnreachable),
        ("Unable to connect to the server: dial tcp: lookup x: no such host", HostUnreachable),
        ("Unable to connect to the server: net/http: TLS handshake timeout", HostUnreachable),
        ("error: You must be logged in to the server (Unauthorized)", EnvironmentFailed),
        ("Unable to connect to the server: getting credentials: exec: x", EnvironmentFailed),
        ('Error from server (Forbidden): pods is forbidden: User "x" cannot list', Forbidden),
        ("Error from server (Invalid): spec is wrong", Refused),
    ],
)
def test_each_complaint_is_one_clear_error(said: str, kind: type[Exception]) -> None:
    assert type(Kubectl("lba").complaint(said)) is kind


def test_without_a_configuration_the_cluster_is_not_said_to_be_away() -> None:
    said = "The connection to the server localhost:8080 was refused - did you specify the right"
    found = Kubectl().complaint(said)
    assert type(found) is EnvironmentFailed
    assert found.message == "kubectl has no configuration of a cluster"
    assert "KUBECONFIG" in (found.hint or "")


def test_a_complaint_without_its_heading() -> None:
    assert last_line("E1121 10:00:00.0 7 x.go:1] a\nError from server (NotFound): b") == "b"


@pytest.mark.parametrize(
    ("text", "number"), [("500m", 0.5), ("2", 2.0), ("1Gi", 2.0**30), ("1k", 1000.0), ("x", 0.0)]
)
def test_quantities(text: str, number: float) -> None:
    assert quantity(text) == number


def test_what_is_left_of_a_node() -> None:
    node = Node("node1", True, 4.0, 8 * 2**30, 2)
    given = {"cpu": "1500m", "memory": "2Gi", "nvidia.com/gpu": "1"}
    taken = pod("Running")
    taken["spec"]["containers"] = [{"resources": {"requests": given}}]
    over = pod("Succeeded")
    over["spec"]["containers"] = [{"resources": {"requests": given}}]
    left = free([node], [taken, over], "nvidia.com/gpu")["node1"]
    assert (left.cpus, left.memory_bytes, left.gpus) == (2.5, 6 * 2**30, 1)
