from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.errors import UsageError
from perdure.jobs.launch import checked
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace
from perdure.model.job import Resources
from perdure.model.settings import KubernetesSettings, Settings, SlurmSettings, TargetSettings
from perdure.targets.time_limit import require_time
from tests.jobs.projects import make_project

SLURM = TargetSettings("", "slurm", "slurm", slurm=SlurmSettings(time_s=60.0))
PODS = TargetSettings("", "kubernetes", kubernetes=KubernetesSettings("i", "c", context="x"))


@pytest.mark.parametrize(("limit_s", "margin_s"), [(None, 10), (71.0, 10), (61.0, 0)])
def test_what_is_left_for_training_is_enough(limit_s: float | None, margin_s: int) -> None:
    require_time(limit_s, 60.0, margin_s)


def test_a_limit_that_is_all_for_saving_is_refused() -> None:
    with pytest.raises(UsageError, match=r"70 s of it are for saving \(a grace of 60 s, and 10 s"):
        require_time(70.0, 60.0, 10)
    with pytest.raises(UsageError, match=r"60 s of it are for saving \(a grace of 60 s\)"):
        require_time(60.0, 60.0, 0)


@pytest.mark.parametrize("target", ["lab", "k8s"])
def test_nobody_is_asked_and_nothing_is_sent_first(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    settings = Settings(targets=MappingProxyType({"lab": SLURM, "k8s": PODS}))
    workspace = Workspace(make_project(tmp_path / "p", {}, train="true"), settings)
    asked = JobRequest("train", target=target, grace_s=60.0, resources=Resources(time_s=60.0))
    with pytest.raises(UsageError, match="is over before anything is trained"):
        checked(workspace, asked)
