from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.workspace import Workspace
from perdure.model.job import ImageUsed, JobRecord
from perdure.model.settings import Settings
from perdure.targets.view import mounts_of
from tests.jobs.projects import make_project

IMAGE = ImageUsed("tag", "sha256:ab", 1000, 1000)


def recorded(root: Path) -> tuple[Workspace, JobRecord]:
    workspace = Workspace(make_project(root, {"notebooks/a.ipynb": "{}"}), Settings())
    record = submit(workspace, JobRequest(command=("true",), seed=1))
    return workspace, replace(record, environment=replace(record.environment, image=IMAGE))


def seen(workspace: Workspace, record: JobRecord) -> dict[str, tuple[str, bool]]:
    found = mounts_of(workspace.project, record)
    assert len({mount.target for mount in found}) == len(found)
    return {mount.target: (mount.source, mount.read_only) for mount in found}


def test_a_snapshot_is_seen_with_what_its_links_name(tmp_path: Path) -> None:
    workspace, record = recorded(tmp_path / "p")
    root, project = tmp_path / "p", workspace.project
    snapshot = project.state / "snapshots" / str(record.code.snapshot)
    assert seen(workspace, record) == {
        "/project/code": (str(snapshot), True),
        "/project/data": (str(root / "data"), True),
        "/project/notebooks": (str(snapshot / "notebooks"), True),
        "/project/results": (str(root / "results"), False),
        str(root / "data"): (str(root / "data"), True),
        str(root / "results"): (str(root / "results"), False),
    }


def test_before_there_is_a_snapshot_its_mounts_are_known(tmp_path: Path) -> None:
    workspace, record = recorded(tmp_path / "p")
    known = seen(workspace, record)
    planned = replace(record, code=replace(record.code, snapshot="planned"))
    for name in ("data", "results"):
        for left in (tmp_path / "p" / name).glob("*"):
            left.rename(tmp_path / left.name)
        (tmp_path / "p" / name).rmdir()
    found = seen(workspace, planned)
    assert {target: each for target, each in found.items() if "code" not in target} == {
        target: each
        for target, each in known.items()
        if "code" not in target and "notebooks" not in target
    }


def test_pegged_code_is_not_mounted_and_live_code_is_writable(tmp_path: Path) -> None:
    workspace, record = recorded(tmp_path / "p")
    pegged = replace(
        record, environment=replace(record.environment, image=replace(IMAGE, pegged=True))
    )
    assert "/project/code" not in seen(workspace, pegged)
    live = replace(record, code=replace(record.code, snapshot=None))
    assert seen(workspace, live)["/project/code"] == (str(tmp_path / "p"), False)
    assert seen(workspace, live)["/project/code/data"][1]


def test_a_drill_has_its_run_folders_elsewhere(tmp_path: Path) -> None:
    workspace, record = recorded(tmp_path / "p")
    moved = replace(record, results=tmp_path / "drill")
    found = seen(workspace, moved)
    assert found["/project/results"] == (str(tmp_path / "drill"), False)
    assert found[str(tmp_path / "p" / "results")] == (str(tmp_path / "p" / "results"), False)
