"""A job that goes between this machine and a host that ssh reaches, and what may come between."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.errors import ConflictError, EnvironmentFailed, HostUnreachable, StorageError
from perdure.hosts import sending
from perdure.jobs import carrying, elsewhere, relocate
from perdure.jobs import folder as folders
from perdure.jobs.environment import restore_environment
from perdure.jobs.launch import JobRequest, resume, start, submit
from perdure.jobs.relocate import relocate as go
from perdure.jobs.witness import Witness, write_witness
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.model.report import Report, silent
from perdure.model.settings import Settings, TargetSettings
from perdure.runtime import names
from perdure.targets.place import Place
from perdure.targets.registry import open_target
from perdure.targets.remote import Remote
from tests.engines.hosts import Hosts
from tests.jobs.projects import make_project
from tests.waiting import until

OLD, NEW = "g000001-s0000000010", "g000001-s0000000020"


@pytest.fixture
def workspace(hosts_here: Hosts, tmp_path: Path) -> Iterator[Workspace]:
    """Return a workspace with gpu1 by two names."""
    root = hosts_here.place("gpu1") / f"jobs of {tmp_path.parent.name}{tmp_path.name}"
    hosts_here.run("gpu1", "install", "-d", "-o", "ada", str(root))
    box = TargetSettings("ada@gpu1", engine="process", root=f"{root}/a 'b$(x)")
    targets = {"box": box, "twin": box}
    project = make_project(tmp_path / "a 'project$(x)\n\u00e9", {"train.py": ""})
    yield Workspace(project, Settings(targets=MappingProxyType(targets)))
    hosts_here.run("gpu1", "pkill", "-9", "-f", str(root))
    shutil.rmtree(root, ignore_errors=True)


def opened(workspace: Workspace, name: str = "box") -> Remote:
    found = open_target(name, workspace.project, workspace.settings)
    assert isinstance(found, Remote)
    return found


def there(workspace: Workspace, record: JobRecord) -> Path:
    """Return a run folder on the host: this process sees it, too."""
    return Path(opened(workspace).place.path(record.folder))


@pytest.fixture
def record(workspace: Workspace) -> JobRecord:
    """Return a job of this machine that has not begun, with two checkpoints and a link."""
    made = submit(workspace, JobRequest(command=("true",), grace_s=1.0, retries=0, seed=1))
    for name in (OLD, NEW):
        (made.folder / names.CHECKPOINTS / name).mkdir(parents=True)
        (made.folder / names.CHECKPOINTS / name / "state.safetensors").write_text(name)
        (made.folder / names.CHECKPOINTS / name / "meta.json").write_text("{}")
    (made.folder / names.OUTPUTS / "epoch 3").write_text("3")
    return made


def now(record: JobRecord) -> JobRecord:
    return folders.read_record(record.folder)


def ended(workspace: Workspace, record: JobRecord) -> None:
    resume(workspace, record)
    until(lambda: not folders.is_alive(record.folder))


def test_by_two_names_of_one_folder_nothing_is_carried(
    workspace: Workspace, record: JobRecord
) -> None:
    away = go(workspace, record, "box", silent)
    start(workspace, away)
    until(lambda: not folders.is_alive(away.folder))
    folder = there(workspace, record)
    shutil.copytree(record.folder / names.CHECKPOINTS / OLD, folder / names.CHECKPOINTS / OLD)
    (folder / names.OUTPUTS / "out").symlink_to("/anywhere")
    before = {each for each in folder.rglob("*") if each.name != names.JOB_FILE}
    (folder / "attempts/000001.jsonl").write_text("")
    twin = go(workspace, away, "twin", silent)
    assert (twin.target, now(record)) == ("twin", twin)
    assert {each for each in folder.rglob("*") if each.name != names.JOB_FILE} == before
    ended(workspace, twin)
    assert folders.target_of(folder) == "twin"


def test_a_host_that_a_job_has_left_has_it_no_more(workspace: Workspace, record: JobRecord) -> None:
    away = go(workspace, record, "box", silent)
    elsewhere.send_folder(opened(workspace).place, away)
    assert folders.is_job(there(workspace, record))
    back = go(workspace, away, "local", silent)
    assert not there(workspace, record).exists()
    assert elsewhere.adopt(opened(workspace), [record.folder]) == []
    assert (now(record), folders.is_elsewhere(record.folder)) == (back, False)
    again = go(workspace, back, "box", silent)
    assert (there(workspace, again) / names.CHECKPOINTS / NEW).is_dir()


def test_what_cannot_be_removed_there_is_no_job_there(
    workspace: Workspace, record: JobRecord, hosts_here: Hosts
) -> None:
    away = go(workspace, record, "box", silent)
    elsewhere.send_folder(opened(workspace).place, away)
    kept = there(workspace, record) / names.OUTPUTS / "of root"
    hosts_here.run("gpu1", "install", "-D", "/dev/null", str(kept / "file"))
    told: list[str] = []
    back = go(workspace, away, "local", lambda message, **_: told.append(message))
    assert "`box` keeps what it had of" in told[-1]
    assert not folders.is_job(there(workspace, record))
    # What is left would pass for what is sent: nothing is.
    with pytest.raises(
        StorageError, match=f"(?s)cannot write `.*{record.job}` on `box`: permission"
    ):
        go(workspace, back, "box", silent)
    assert now(record) == back


def broken_after(count: int, act: Callable[[], None]) -> Callable[..., bool]:
    """Return how files are sent until so many are there; then something happens."""
    sent, send = [0], sending.send

    def counted(*given: object) -> bool:
        sent[0] += 1
        if sent[0] == count:
            act()
        return send(*given)  # type: ignore[arg-type]  # as they came

    return counted


def lost() -> None:
    raise HostUnreachable("lost")


def test_half_of_a_run_folder_is_none(
    workspace: Workspace, record: JobRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(sending, "send", broken_after(2, lost))
        with pytest.raises(HostUnreachable):
            go(workspace, record, "box", silent)
    assert not there(workspace, record).exists()
    assert (now(record), folders.is_elsewhere(record.folder)) == (record, False)
    away = go(workspace, record, "box", silent)
    assert [*there(workspace, record).parent.iterdir()] == [there(workspace, record)]
    ended(workspace, away)


def test_nobody_starts_it_on_its_way(
    workspace: Workspace, record: JobRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    def try_to_start() -> None:
        for act in (resume, lambda *_: go(workspace, record, "twin", silent)):
            with pytest.raises(ConflictError, match="on its way elsewhere") as error:
                act(workspace, record)
            refused.append(error.value.hint)

    monkeypatch.setattr(sending, "send", broken_after(2, try_to_start))
    go(workspace, record, "box", silent)
    assert len(refused) == 2
    # Whoever read its record before is not taken at that word.
    with pytest.raises(ConflictError, match="went to `box`, and its record is that of `local`"):
        start(workspace, record)


def test_what_somebody_else_has_run_meanwhile_stays_there(
    workspace: Workspace, record: JobRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = go(workspace, record, "box", silent)
    fetch = carrying.fetch

    def while_another_runs_it(place: Place, folder: Path, report: Report) -> None:
        (there(workspace, record) / "gen-000001").write_text("{}")
        fetch(place, folder, report)

    monkeypatch.setattr(carrying, "fetch", while_another_runs_it)
    with pytest.raises(ConflictError, match="has run meanwhile"):
        go(workspace, away, "local", silent)
    assert (now(record), folders.is_elsewhere(record.folder)) == (away, True)


def test_a_crash_between_witness_and_record_is_mended_by_saying_it_again(
    workspace: Workspace, record: JobRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(where: Remote, _: JobRecord) -> None:
        write_witness(record.folder, Witness(where.name, where.station))
        raise KeyboardInterrupt

    with monkeypatch.context() as crashing:
        crashing.setattr(relocate, "_settle", crash)
        with pytest.raises(KeyboardInterrupt):
            go(workspace, record, "box", silent)
    with pytest.raises(ConflictError) as error:
        resume(workspace, now(record))
    assert error.value.hint == f"perdure resume {record.job} --on box"
    away = go(workspace, now(record), "box", silent)
    assert (away.target, now(record)) == ("box", away)


def test_an_environment_of_another_machine_is_no_traceback(
    workspace: Workspace, record: JobRecord
) -> None:
    used = replace(record.environment, prefix="/home/ada/cats/.perdure/envs/1", lock="a lock")
    strange = replace(record, environment=used)
    with pytest.raises(EnvironmentFailed, match="is not one of `box`"):
        restore_environment(workspace, strange, opened(workspace).place, silent)


def test_what_cannot_be_read_here_is_not_told_of_the_host(
    workspace: Workspace, record: JobRecord
) -> None:
    gone = record.folder / names.OUTPUTS / "epoch 3"

    def taken_away() -> None:
        gone.unlink()

    with pytest.raises(StorageError, match=r"(?s)^cannot read `.*epoch 3`: no such file"):
        sending.send(opened(workspace).host, gone.with_name("none, epoch 3"), "/nowhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sending, "send", broken_after(1, taken_away))
        with pytest.raises(StorageError, match=r"(?s)^cannot read `.*epoch 3`: no such file"):
            go(workspace, record, "box", silent)
    assert now(record) == record


def test_links_go_along_and_those_that_lead_out_are_told(
    workspace: Workspace, record: JobRecord
) -> None:
    outputs, told = record.folder / names.OUTPUTS, list[str]()
    (outputs / "latest").symlink_to("epoch 3")
    (outputs / "whole").symlink_to(outputs / "epoch 3")
    (outputs / "data").symlink_to("/anywhere")
    (outputs / "above").symlink_to("../../other")
    away = go(workspace, record, "box", lambda message, **_: told.append(message))
    arrived = there(workspace, record) / names.OUTPUTS
    assert {each.name: str(each.readlink()) for each in arrived.iterdir() if each.is_symlink()} == {
        "latest": "epoch 3",
        "whole": "epoch 3",
    }
    assert [each for each in told if "leads out" in each] == [
        "warning: the link `outputs/above` leads out of the run folder: left out (`../../other`)",
        "warning: the link `outputs/data` leads out of the run folder: left out (`/anywhere`)",
    ]
    (arrived / "latest").unlink()
    (arrived / "latest").symlink_to("epoch 4")
    go(workspace, away, "local", silent)
    assert str((outputs / "latest").readlink()) == "epoch 4"
