"""What of a project a container sees: links of every kind, and names of every kind."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from perdure.errors import UsageError
from perdure.images.mounts import MOST_LINKS, Mount, mount_words, project_mounts
from perdure.model.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / 'a, "project" of $HOME\'s'
    for name in ("data", "results", "notebooks"):
        (root / name).mkdir(parents=True)
    return Project(root, "cats", "cats", {})


def by_target(mounts: tuple[Mount, ...]) -> dict[str, tuple[str, bool]]:
    return {mount.target: (mount.source, mount.read_only) for mount in mounts}


def of_job(project: Project) -> dict[str, tuple[str, bool]]:
    """Return the mounts of a job whose code is the working tree."""
    return by_target(project_mounts(project, code=project.root, code_writable=False))


def test_the_four_folders_and_the_paths_of_this_machine(project: Project) -> None:
    root = str(project.root)
    assert of_job(project) == {
        "/project/code": (root, True),
        "/project/notebooks": (f"{root}/notebooks", True),
        "/project/results": (f"{root}/results", False),
        "/project/code/results": (f"{root}/results", False),
        f"{root}/results": (f"{root}/results", False),
        "/project/data": (f"{root}/data", True),
        f"{root}/data": (f"{root}/data", True),
    }


def test_outer_folders_come_before_inner_ones(project: Project) -> None:
    targets = [
        mount.target for mount in project_mounts(project, code=project.root, code_writable=True)
    ]
    for index, target in enumerate(targets):
        assert not any(target.startswith(f"{later}/") for later in targets[index:])


def test_a_snapshot_leads_to_the_folders_of_the_project(project: Project, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for name in ("data", "results"):
        (snapshot / name).symlink_to(project.root / name)
    found = by_target(project_mounts(project, code=snapshot, code_writable=False))
    assert found["/project/code"] == (str(snapshot), True)
    assert found[str(project.data)] == (str(project.data), True)
    assert found[str(project.results)] == (str(project.results), False)
    assert "/project/code/data" not in found
    assert "/project/notebooks" not in found


def test_code_in_the_image_is_not_mounted(project: Project) -> None:
    found = by_target(project_mounts(project, code=None, code_writable=False))
    assert "/project/code" not in found
    assert found["/project/data"] == (str(project.data), True)


def test_writable_and_read_only(project: Project) -> None:
    found = project_mounts(
        project, code=project.root, code_writable=True, data_writable=True, results_writable=False
    )
    assert {mount.target for mount in found if mount.read_only} == {
        "/project/results",
        "/project/code/results",
        str(project.results),
    }
    # Writable like the tree around it: it needs no mount of its own there.
    assert "/project/code/data" not in {mount.target for mount in found}


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    project = Project(tmp_path, "cats", "cats", {})
    assert set(of_job(project)) == {"/project/code"}


@pytest.mark.parametrize("relative", [False, True])
def test_a_symlinked_data_folder_is_mounted_by_its_real_path(
    project: Project, tmp_path: Path, relative: bool
) -> None:
    big = tmp_path / "big disk"
    big.mkdir()
    project.data.rmdir()
    project.data.symlink_to("../big disk" if relative else big)
    found = of_job(project)
    for target in ("/project/data", str(project.data), str(big)):
        assert found[target] == (str(big), True)
    assert ("/project/big disk" in found) is relative


def test_links_in_data_that_lead_out_of_it_lead_there_in_a_container(
    project: Project, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    (big / "real").mkdir(parents=True)
    (big / "chain").symlink_to("real")
    (big / "one.csv").write_text("1\n")
    (project.data / "inside").mkdir()
    for name, leads in {
        "chained": str(big / "chain"),
        "file": str(big / "one.csv"),
        "up": "../../big/real",
        "stays": "inside",
        "stays too": str(project.data / "inside"),
        "gone": str(big / "gone"),
        "slashes": f"/{big}/real",
    }.items():
        (project.data / name).symlink_to(leads)
    found = of_job(project)
    assert found[str(big / "chain")] == (str(big / "real"), True)
    assert found[str(big / "one.csv")] == (str(big / "one.csv"), True)
    # From /project/data two folders up is the root; from the project's own path it is the parent.
    assert found["/big/real"] == (str(big / "real"), True)
    assert found["/project/big/real"] == (str(big / "real"), True)
    assert found[str(big / "real")] == (str(big / "real"), True)
    assert not any("gone" in target or "inside" in target for target in found)


@pytest.mark.parametrize("leads", ["/", "/usr", "/opt", "/project", "../code"])
def test_a_link_to_what_a_container_needs_is_refused(project: Project, leads: str) -> None:
    (project.root / "code").mkdir()
    if leads in ("/opt", "/project") and not Path(leads).exists():
        pytest.skip("not on this machine")
    (project.data / "x").symlink_to(leads)
    with pytest.raises(UsageError, match="which a container needs for itself"):
        of_job(project)


def test_a_link_to_another_folder_of_the_project_needs_no_mount_within_a_mount(
    project: Project,
) -> None:
    (project.results / "old").mkdir()
    (project.data / "x").symlink_to("../results/old")
    found = of_job(project)
    assert not any(target.endswith("/old") for target in found)


def test_a_link_that_would_be_made_in_the_working_tree_is_refused(project: Project) -> None:
    (project.root / "code" / "x").mkdir(parents=True)
    (project.data / "x").symlink_to("../code/x")
    with pytest.raises(UsageError, match="leads to `/project/code/x`"):
        of_job(project)


def test_too_many_links_are_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for number in range(MOST_LINKS + 1):
        (project.data / str(number)).symlink_to(tmp_path / "file")
    with pytest.raises(UsageError, match=f"{MOST_LINKS + 1} links that lead out"):
        of_job(project)


def test_the_words_of_a_mount() -> None:
    assert mount_words([Mount("/a b", "/c", read_only=True)]) == (
        "--mount",
        "type=bind,source=/a b,target=/c,readonly",
    )
    assert mount_words([]) == ()


@pytest.mark.parametrize("path", ["/a,b", '/a"b', "/a\nb", '/",="', "/ä'$(x) `y`;\\"])
def test_no_letter_of_a_path_is_read_as_anything_else(path: str) -> None:
    _, word = mount_words([Mount(path, "/c", read_only=False)])
    fields = next(csv.reader([word], strict=True)) if "\n" not in word else word.split(",")
    assert [field.strip('"') if "\n" in word else field for field in fields] == [
        "type=bind",
        f"source={path}",
        "target=/c",
    ]
