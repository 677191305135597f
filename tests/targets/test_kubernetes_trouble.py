"""What is wrong with a cluster, or with what is asked of it: one clear error each, and no job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from perdure.errors import EnvironmentFailed, MissingProgram, PerdureError, StorageError, UsageError
from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import UNLIMITED, Resources
from perdure.targets.registry import open_target
from tests.engines.kubernetes import BIN, CLOSED, DATA, SEALED, USER_ID, Cluster
from tests.targets.kubernetes_project import (  # noqa: F401 - some are fixtures
    NAME,
    forgotten,
    one_project,
    with_cluster,
    with_settings,
)


def refused(workspace: Workspace, resources: Resources = UNLIMITED) -> PerdureError:
    """Return the error of a submission; nothing is left of it."""
    request = JobRequest("train", ("5", "0"), target=NAME, resources=resources)
    with pytest.raises(PerdureError) as caught:
        submit(workspace, request)
    assert not list(workspace.project.results.glob("*/job.json"))
    return caught.value


WRONG: dict[str, tuple[dict[str, Any], Resources, str, str]] = {
    "context": ({"context": "test"}, UNLIMITED, "no context `test`", "did you mean `tests`?"),
    "namespace": (
        {"namespace": "reserch"},
        UNLIMITED,
        "no namespace `reserch`",
        "did you mean `research`?",
    ),
    "claim": ({"results": "result"}, UNLIMITED, "no volume claim", "did you mean `results`?"),
    "GPUs": ({}, Resources(gpus=3), "3 GPUs are more than any node has: 2", "capacity"),
    "all GPUs": ({}, Resources(gpus="all"), "told how many GPUs", "--gpus 1"),
    "several nodes": (
        {},
        Resources(nodes=3),
        "3 nodes are asked for, and there are 2",
        "capacity",
    ),
    "memory": ({}, Resources(memory_bytes=2**50), "more than any node has", "capacity"),
    "time": ({"time_s": 20.0}, UNLIMITED, "a time limit of 00:00:20", "--grace"),
    "labels": (
        {"node_selector": {"gpu": "h900"}},
        UNLIMITED,
        "no node has the labels gpu=h900",
        "show-labels",
    ),
}


@pytest.mark.parametrize("what", sorted(WRONG))
def test_what_cannot_be_is_refused_before_anything_is_made(workspace: Workspace, what: str) -> None:
    changed, resources, message, hint = WRONG[what]
    error = refused(with_settings(workspace, **changed), resources)
    assert isinstance(error, UsageError)
    assert message in error.message
    assert hint in (error.hint or "")


def test_a_volume_that_cannot_be_written(workspace: Workspace) -> None:
    error = refused(with_settings(workspace, results=CLOSED))
    assert isinstance(error, StorageError)
    assert "cannot write" in error.message
    assert "permission denied" in error.message


def test_a_volume_that_is_read_only(workspace: Workspace) -> None:
    error = refused(with_settings(workspace, results=SEALED))
    assert isinstance(error, StorageError)
    assert (error.hint or "").startswith("`results` of `[targets.k8s]`: a claim that user 1000")
    assert "cannot write" in error.message
    assert "read-only file system" in error.message


def test_data_that_lie_where_the_claim_is_to_stand(
    workspace: Workspace, kubernetes: Cluster
) -> None:
    target = open_target(NAME, workspace.project, workspace.settings)
    own = kubernetes.volume / target.place.root.rpartition("/")[2] / "data"
    own.mkdir(parents=True, exist_ok=True)
    (own / "mine").touch()
    for path in (own.parent, own):
        os.chown(path, USER_ID, USER_ID)
    error = refused(with_settings(workspace, data=DATA))
    (own / "mine").unlink()
    assert isinstance(error, UsageError)
    assert "has files in" in error.message


def test_a_machine_without_kubectl(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("git", "uv"):
        found = next(
            (
                Path(each, name)
                for each in os.environ["PATH"].split(":")
                if Path(each, name).exists()
            ),
            None,
        )
        if found is not None:
            (bare / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(bare))
    error = refused(workspace)
    assert isinstance(error, MissingProgram)
    assert "`kubectl`" in error.message


def test_credentials_that_have_run_out(
    workspace: Workspace, kubernetes: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = kubernetes.config.read_text()
    start = text.index("user: {client-certificate")
    end = text.index("}", start) + 1
    config = tmp_path / "kubeconfig"
    config.write_text(f"{text[:start]}user: {{token: expired}}{text[end:]}")
    monkeypatch.setenv("KUBECONFIG", str(config))
    error = refused(workspace)
    assert isinstance(error, EnvironmentFailed)
    assert "does not take your credentials" in error.message


def test_a_probe_says_what_to_do(workspace: Workspace) -> None:
    wrong = with_settings(workspace, namespace="reserch")
    found = open_target(NAME, wrong.project, wrong.settings).probe()
    assert (found.problem or "").endswith("no namespace `reserch`")
    assert found.hint == "did you mean `research`?"


def test_a_probe_tells_the_release_and_the_nodes(workspace: Workspace) -> None:
    assert (BIN / "kubectl").exists()
    found = open_target(NAME, workspace.project, workspace.settings).probe()
    assert found.summary == "Kubernetes 1.20, 2 of 2 nodes ready, 4 GPUs"
