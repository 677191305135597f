"""What interrupts jobs in a real Kubernetes: each ends with what the undisturbed one comes to."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from perdure.errors import EnvironmentFailed
from perdure.hosts import processes
from perdure.jobs.control import interrupt, kill
from perdure.jobs.elsewhere import surroundings
from perdure.jobs.folder import is_alive, read_history
from perdure.jobs.launch import begin, resume, submit
from perdure.jobs.lifecycle import read_status
from perdure.jobs.recover import is_to_end
from perdure.jobs.request import JobRequest
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord, JobStatus, Resources, State
from perdure.targets import kubernetes_cluster, kubernetes_submission
from perdure.targets import kubernetes_ticket as tickets
from perdure.targets.registry import open_target
from tests.engines.kubernetes import Cluster
from tests.targets.kubernetes_project import (  # noqa: F401 - some are fixtures
    NAME,
    QUICK,
    digest,
    expected,
    forgotten,
    one_project,
    started,
    with_cluster,
    with_settings,
)
from tests.targets.slurm_project import until_gone, until_state, until_step
from tests.waiting import until

STEPS = "60"
NO_IMAGE = ('spec.template.spec.containers.0.image: "127.0.0.1:1/none:1"',)


def without_image(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> JobRecord:
    """Return a job whose image does not come: it was submitted, and nobody waited for a sign."""
    monkeypatch.setattr(kubernetes_submission, "SIGN_S", 0.0)
    record = started(with_settings(workspace, lines=NO_IMAGE), "5", "0")
    until(lambda: read_status(record.folder).reason in ("ErrImagePull", "ImagePullBackOff"))
    return record


def running(workspace: Workspace, steps: str = STEPS) -> JobRecord:
    """Return a training that has come some steps far."""
    record = started(workspace, steps, "0.1")
    until_step(record)
    return record


def pod_of(kubernetes: Cluster) -> tuple[str, str]:
    """Return the one job's pod, and its node."""
    pod = kubernetes.pods()[0]
    return pod["metadata"]["name"], pod["spec"]["nodeName"]


def ends_as_expected(workspace: Workspace, record: JobRecord, steps: str = STEPS) -> JobStatus:
    status = until_gone(record)
    assert status.state is State.SUCCEEDED, status
    assert digest(workspace, record) == expected(workspace, steps)
    return status


def test_a_pod_that_is_deleted(workspace: Workspace, kubernetes: Cluster) -> None:
    record = running(workspace)
    kubernetes.ask("delete", "pod", pod_of(kubernetes)[0], "--wait=false")
    assert ends_as_expected(workspace, record).attempt == 2


@pytest.mark.long
def test_a_node_that_is_drained(workspace: Workspace, kubernetes: Cluster) -> None:
    record = running(workspace)
    node = pod_of(kubernetes)[1]
    kubernetes.drain(node)
    status = ends_as_expected(workspace, record)
    assert status.attempt == 2


@pytest.mark.long
def test_a_node_that_is_killed(workspace: Workspace, kubernetes: Cluster) -> None:
    record = running(workspace)
    kubernetes.kill(pod_of(kubernetes)[1])
    assert ends_as_expected(workspace, record).attempt == 2


def test_a_node_that_is_cut_off_and_comes_back_is_fenced(
    workspace: Workspace, kubernetes: Cluster
) -> None:
    record = running(workspace, "200")
    name, node = pod_of(kubernetes)
    kubernetes.cut(node)
    # The pod that is asked may be on that node, too: it takes more than a minute to get another.
    until_step(record, attempt=2, patience_s=400)
    kubernetes.mend(node)
    assert ends_as_expected(workspace, record, "200").attempt == 2
    until(lambda: name not in [each["metadata"]["name"] for each in kubernetes.pods()])


@pytest.mark.long
def test_an_api_server_that_is_away(workspace: Workspace, kubernetes: Cluster) -> None:
    record = running(workspace, "100")
    kubernetes.stop_api()
    until(lambda: bool(read_status(record.folder).problem))
    assert is_alive(record.folder)
    kubernetes.start_api()
    assert ends_as_expected(workspace, record, "100").attempt == 1


@pytest.mark.long
def test_who_is_interrupted_by_a_person_stays_so_until_resumed(
    workspace: Workspace, kubernetes: Cluster
) -> None:
    record = running(workspace)
    interrupt(record.folder, reason="perdure interrupt")
    assert until_gone(record).state is State.INTERRUPTED
    until(lambda: not kubernetes.pods())
    resume(workspace, record)
    assert ends_as_expected(workspace, record).attempt == 2


def test_a_running_job_is_killed_and_seen_to_be_gone(
    workspace: Workspace, kubernetes: Cluster
) -> None:
    record = running(workspace)
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert read_status(record.folder).state is State.CANCELLED
    assert not kubernetes.pods()


def test_what_trains_on_though_its_record_says_lost_is_killed(
    workspace: Workspace, kubernetes: Cluster
) -> None:
    record = running(workspace, "1000")
    place = open_target(NAME, workspace.project, workspace.settings).place
    place.host.call(tickets.release, place.path(record.folder))
    assert until_state(record, State.LOST).attempt == 1
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert not kubernetes.pods()
    assert read_status(record.folder).state is State.CANCELLED
    assert "cancelled" in [each.text("reason") for each in read_history(record.folder)]


@pytest.mark.long
def test_what_was_killed_before_it_could_hear_is_not_begun_again(
    workspace: Workspace, kubernetes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = without_image(workspace, monkeypatch)
    name, _ = pod_of(kubernetes)
    # So it stays, as one does whose image is on its way.
    kubernetes.ask("patch", "pod", name, '--patch={"metadata": {"finalizers": ["example.org/x"]}}')
    try:
        assert kill(record.folder, timeout_s=1) == "unconfirmed"
        until_state(record, State.LOST)
        assert kill(record.folder, timeout_s=1) == "unconfirmed"
        assert is_to_end(record.folder)
    finally:
        kubernetes.ask("patch", "pod", name, '--patch={"metadata": {"finalizers": null}}')
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert read_status(record.folder).state is State.CANCELLED


@pytest.mark.long
def test_a_job_on_a_node_that_does_not_answer_is_killed_unconfirmed(
    workspace: Workspace, kubernetes: Cluster
) -> None:
    # The pod that is asked is on the other node: nobody else could tell how the job stands.
    place = open_target(NAME, workspace.project, workspace.settings).place
    asked = surroundings(place)[1].host
    desk = next(each for each in kubernetes.desks() if each["metadata"]["name"] == asked)
    node = next(each for each in ("node1", "node2") if each != desk["spec"]["nodeName"])
    only = f'spec.template.spec.nodeSelector: {{"kubernetes.io/hostname": "{node}"}}'
    record = running(with_settings(workspace, lines=(*QUICK, only)), "1000")
    assert pod_of(kubernetes)[1] == node
    kubernetes.cut(node)
    # The nodes of the tests share a disk: it would read of its end there.
    run_dir = os.fsencode(place.path(record.folder))
    for pid in [int(each.name) for each in Path("/proc").glob("[0-9]*")]:
        if run_dir in processes.command_of(pid):
            os.kill(pid, signal.SIGSTOP)
    until(lambda: read_status(record.folder).state is State.QUEUED)
    assert kill(record.folder, timeout_s=5) == "unconfirmed"
    until_state(record, State.LOST)
    assert kill(record.folder, timeout_s=5) == "unconfirmed"
    assert pod_of(kubernetes)[1] == node
    assert is_to_end(record.folder)


@pytest.mark.long
def test_a_job_that_waits_says_why_and_can_leave(workspace: Workspace, kubernetes: Cluster) -> None:
    kubernetes.disturb()
    record = started(workspace, "5", "0.1")
    until_gone(record)
    until(lambda: not kubernetes.pods())
    kubernetes.ask("cordon", "node1")
    kubernetes.ask("cordon", "node2")
    record = started(workspace, "5", "0")
    assert until_state(record, State.QUEUED).reason == "Unschedulable"
    interrupt(record.folder, reason="test")
    assert kubernetes.pods() == []
    until_state(record, State.INTERRUPTED)
    resume(workspace, record)
    until_state(record, State.QUEUED)
    assert kill(record.folder, timeout_s=120) == "confirmed"
    assert read_status(record.folder).state is State.CANCELLED


def test_a_job_that_is_out_of_memory_says_so(workspace: Workspace) -> None:
    script = "x = [b'x' * 1000 for _ in range(10**9)]"
    request = JobRequest(
        command=("python3", "-c", script),
        seed=1,
        retries=0,
        target=NAME,
        resources=Resources(memory_bytes=100 * 2**20),
    )
    record = submit(workspace, request)
    begin(workspace, record)
    status = until_gone(record)
    assert status.state is State.FAILED
    assert "memory" in status.reason


@pytest.mark.long
def test_a_pod_that_memory_ended_as_a_whole_is_followed_by_one_that_says_so(
    workspace: Workspace,
) -> None:
    """As it is with version 2 of control groups: there the kernel ends all that is in a container.

    Here it is had to take the supervisor first.
    """
    first = "open('/proc/1/oom_score_adj', 'w').write('1000')"
    # Memory that is no process's own, so that its size speaks against none.
    script = (
        f"import os; {first}; fd = os.memfd_create('x')\nwhile os.write(fd, bytes(1 << 20)): pass"
    )
    request = JobRequest(
        command=("python3", "-c", script),
        seed=1,
        target=NAME,
        resources=Resources(memory_bytes=100 * 2**20),
    )
    record = submit(workspace, request)
    begin(workspace, record)
    until(lambda: "OOMKilled" in read_status(record.folder).reason)
    until(lambda: read_status(record.folder).attempt > 1)
    until(lambda: "OOMKilled" in read_status(record.folder).reason)
    assert kill(record.folder, timeout_s=120) == "confirmed"


@pytest.mark.long
def test_a_limit_of_time_is_that_of_a_pod_and_not_of_a_training(workspace: Workspace) -> None:
    short = with_settings(workspace, time_s=6.0)
    record = started(short, "150", "0.1")
    assert ends_as_expected(workspace, record, "150").attempt > 1


@pytest.mark.long
def test_an_image_that_never_comes_is_given_up(
    workspace: Workspace, kubernetes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = without_image(workspace, monkeypatch)
    monkeypatch.setattr(kubernetes_cluster, "HOPELESS_S", 0.0)
    status = until_gone(record)
    assert status.state is State.LOST
    assert "Pull" in status.reason
    until(lambda: not kubernetes.pods())


SILENT_ONCE = """\
#!/bin/sh
case " $* " in
*" create "*) "$REAL" "$@" || exit; : >"$MARK"; exit 0 ;;
*" get jobs,pods "*) if rm "$MARK" 2>/dev/null; then echo "etcdserver: $MARK" >&2; exit 1; fi ;;
esac
exec "$REAL" "$@"
"""


def test_a_job_that_the_cluster_took_is_no_lost_one_where_it_then_says_nothing(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, mark = tmp_path / "kubectl", tmp_path / "mark"
    program.write_text(SILENT_ONCE)
    program.chmod(0o755)
    monkeypatch.setenv("REAL", str(shutil.which("kubectl")))
    monkeypatch.setenv("MARK", str(mark))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(kubernetes_submission, "_ran", [])
    record = started(workspace, "5", "0")
    assert not mark.exists()
    assert until_gone(record).state is State.SUCCEEDED


def test_an_image_that_cannot_be_had(workspace: Workspace, kubernetes: Cluster) -> None:
    changed = with_settings(workspace, lines=NO_IMAGE)
    record = submit(changed, JobRequest("train", ("5", "0"), seed=1, target=NAME))
    with pytest.raises(EnvironmentFailed, match="does not start: ErrImagePull"):
        begin(changed, record)
    assert not record.folder.exists()
    assert kubernetes.listed("jobs") == []
