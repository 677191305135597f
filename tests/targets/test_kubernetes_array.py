"""Indexed Jobs as manifests of the releases that have them, and what a cluster says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from perdure.hosts.pod import Pod
from perdure.jobs.folder import read_events
from perdure.model.project import Project
from perdure.model.settings import TargetSettings
from perdure.model.station import Station
from perdure.runtime import array, generation, names, settled
from perdure.targets import kubernetes_array as arrays
from perdure.targets import kubernetes_ticket as tickets
from perdure.targets.kubernetes import Kubernetes
from perdure.targets.kubernetes_cluster import Word, words_in
from perdure.targets.kubernetes_manifest import key_of
from perdure.targets.protocol import Handle
from tests.targets.test_kubernetes_manifest import EVERYTHING, record_of, spec_of

ROOT = "/perdure/cats-0123abcd"
JOBS = tuple(f"rates-{n:04d}" for n in range(1, 6))
NOW = 1_800_000_000.0


def made(release: tuple[int, int] = (1, 30), most_running: int = 0) -> dict[str, Any]:
    base = replace(record_of(), results=Path("/home/ada/cats/.perdure/sweeps"), job="rates")
    order = arrays.Order(base, ".perdure/arrays/rates/0123abcd", JOBS, most_running)
    program = ("python3", "-I", "-S", "/perdure/main.py")
    return arrays.manifest(order, program, EVERYTHING, spec_of(EVERYTHING), release)


@pytest.mark.parametrize("minor", range(25, 38))
def test_it_is_what_every_release_takes_that_has_them(minor: int) -> None:
    kubernetes_validate.validate(made((1, minor)), f"1.{minor}", strict=True)


def test_each_index_may_be_interrupted_for_itself_where_the_server_counts_so() -> None:
    before, after = made((1, 28))["spec"], made((1, 29))["spec"]
    assert (before["completionMode"], before["completions"]) == ("Indexed", 5)
    assert before["backoffLimit"] == 500
    assert "backoffLimitPerIndex" not in before
    assert after["backoffLimitPerIndex"] == 100
    assert "backoffLimit" not in after


def test_it_holds_back_what_is_not_to_run_yet() -> None:
    assert made()["spec"]["parallelism"] == 5
    assert made(most_running=2)["spec"]["parallelism"] == 2
    assert made(most_running=9)["spec"]["parallelism"] == 5


@pytest.mark.parametrize(("most_running", "wanted"), [(2, None), (0, 5), (9, 5), (3, 3), (1, 1)])
def test_how_many_run_at_a_time_may_change(most_running: int, wanted: int | None) -> None:
    job = made(most_running=2)
    assert arrays.parallelism(job, "rates", most_running) == wanted
    assert arrays.parallelism(job, "rate", most_running) is None
    alone = {**job, "metadata": {**job["metadata"], "annotations": {}}}
    assert arrays.parallelism(alone, "rates", most_running) is None


def test_its_pods_are_told_a_folder_and_their_index_by_kubernetes() -> None:
    container = made()["spec"]["template"]["spec"]["containers"][0]
    assert container["command"][-2:] == ["--array", f"{ROOT}/.perdure/arrays/rates/0123abcd"]
    assert made()["metadata"]["name"].startswith("rates-0123abcd-")
    assert made()["spec"]["template"]["spec"]["hostIPC"] is True  # a line of the user's


def said(status: dict[str, Any], *pods: tuple[int, str]) -> dict[int, Any]:
    """Return the words on each trial, of a Job with that status and pods of index and phase."""
    job = {**made(), "status": status}
    job["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    items: list[dict[str, Any]] = [job]
    for index, phase in pods:
        template = json.loads(json.dumps(job["spec"]["template"]))
        labels = {**template["metadata"]["labels"], "job-name": job["metadata"]["name"]}
        metadata = {
            "name": f"pod-{index}",
            "labels": labels,
            "annotations": {arrays.INDEX: str(index)},
            "creationTimestamp": "2026-01-01T00:00:01Z",
        }
        spec = {"nodeName": f"node{index}"}
        items.append(
            {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase}}
        )
    found = words_in(items, NOW)
    keys = [key_of(ROOT, f"results/{job}") for job in JOBS]
    assert set(found) == set(keys)
    return {index: found[key] for index, key in enumerate(keys)}


def test_the_cluster_tells_of_each_trial() -> None:
    words = said(
        {"completedIndexes": "0,3-4", "failedIndexes": "2"}, (0, "Succeeded"), (1, "Running")
    )
    assert [words[index].active for index in range(5)] == [False, True, False, False, False]
    assert (words[1].pod, words[1].node, words[1].waits) == ("pod-1", "node1", None)
    assert words[0].ended == "Kubernetes: Complete"
    assert [words[index].element for index in range(5)] == [0, 1, 2, 3, 4]


def test_a_trial_without_a_pod_waits() -> None:
    assert said({}, (0, "Running"))[3].waits == "Suspended"  # by Kueue, until there is room
    over = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    assert said({"conditions": [over]})[3].ended == "Kubernetes: DeadlineExceeded"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", set()), (None, set()), ("0", {0}), ("0,2-4,7", {0, 2, 3, 4, 7}), ("x,-", set())],
)
def test_indices_are_read_as_a_status_has_them(text: str | None, numbers: set[int]) -> None:
    assert arrays.indices(text) == numbers


@pytest.mark.parametrize(
    ("major", "minor", "release"), [("1", "30+", (1, 30)), ("1", "20", (1, 20)), ("", "x", (0, 0))]
)
def test_a_release_is_read_as_servers_write_it(
    major: str, minor: str, release: tuple[int, int]
) -> None:
    version = {"serverVersion": {"major": major, "minor": minor}}
    assert arrays.release_of(version) == release
    assert arrays.release_of({}) == (0, 0)


@pytest.mark.parametrize(
    ("reason", "state"), [("", "CANCELLED"), ("perdure interrupt", "INTERRUPTED")]
)
def test_a_trial_that_waits_for_another_pod_is_called_off(
    tmp_path: Path, reason: str, state: str
) -> None:
    folder, run_dir = tmp_path / "array", tmp_path / "rates-0001"
    run_dir.mkdir()
    tickets.hold_array(str(folder), {"trials": {}}, "rates", {str(run_dir): 0})
    assert array.take(str(folder), 3, "3")
    told = run_dir / names.ATTEMPTS / names.numbered(generation.claim(run_dir), ".jsonl")
    told.parent.mkdir()
    told.write_text('{"t": 1, "event": "ended", "state": "INTERRUPTED"}\n')
    # As far as anybody knows a pod runs it.
    assert not tickets.call_off(str(run_dir), 3, reason, False)
    assert not settled.is_over(run_dir, 0)
    assert tickets.call_off(str(run_dir), 3, reason, True)
    assert settled.is_over(run_dir, 0)
    last = read_events(run_dir, 2)[-1]
    assert (last.name, last.text("state")) == ("ended", state)


def test_a_kill_calls_a_trial_off_as_long_as_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that is begun again a second pod may still be ending: after two looks it is gone."""
    looks: list[bool] = []

    def call_off(*given: object) -> bool:
        looks.append(len(looks) >= 2)
        return looks[-1]

    waiting = Word("rates", active=True, waits="Unschedulable", element=1)
    told = {"word": waiting, "_ends_itself": False, "_delete": None}
    for name, answer in told.items():
        monkeypatch.setattr(Kubernetes, name, lambda *given, answer=answer, **named: answer)
    monkeypatch.setattr(Kubernetes, "_call_off", call_off)
    monkeypatch.setattr(Kubernetes, "_is_over", lambda *given: looks[-1])
    monkeypatch.setattr(Pod, "call", lambda *given, **named: None)
    monkeypatch.setattr("perdure.targets.kubernetes._AGAIN_S", 0.0)
    project, spec = Project(tmp_path, "cats", "", {}), spec_of(EVERYTHING)
    station = Station(spec.destination, ROOT, "kubernetes")
    wanted = TargetSettings("", "kubernetes", "kubernetes", kubernetes=EVERYTHING)
    target = Kubernetes("k8s", project, Pod("k8s", spec.destination, ROOT), wanted, station)
    handle = Handle("k8s", "rates-0002", tmp_path / "results/rates-0002")
    assert target.cancel(handle, 60.0) == "confirmed"
    assert looks == [False, False, True]
