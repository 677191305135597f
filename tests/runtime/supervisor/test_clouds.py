"""Notices of AWS, GCP and Azure, each against a service as strict as the vendor documents it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from perdure.runtime.supervisor import clouds
from perdure.runtime.supervisor.clouds import Aws, Azure, Gcp, Unexpected
from perdure.runtime.supervisor.notice import Notice
from perdure.runtime.supervisor.watch import Watch
from tests.runtime.supervisor.cloud_services import (
    Answer,
    Asked,
    AwsService,
    AzureService,
    FixedService,
    GcpService,
    Service,
    serving,
)
from tests.runtime.supervisor.harness import ended, only, options, start, training
from tests.waiting import until

TERMINATE = b'{"action": "terminate", "time": "2017-09-18T08:22:00Z"}'
STOPS = "hello restored:0 step:1 heed ready wait exiting:75 exit:75"


def preempt(name: str = "E1", **changes: object) -> dict[str, object]:
    return {
        "EventId": name,
        "EventType": "Preempt",
        "EventStatus": "Scheduled",
        "ResourceType": "VirtualMachine",
        "Resources": ["JOB_0"],
        "NotBefore": "Mon, 19 Sep 2016 18:29:47 GMT",
        **changes,
    }


def test_aws_says_when_the_instance_goes_once(watch: Watch) -> None:
    service = AwsService()
    with serving(service) as base:
        aws = Aws(base)
        aws.poll(watch)
        assert watch.notice(1) is None
        service.action = TERMINATE
        aws.poll(watch)
        aws.poll(watch)
    assert watch.notice(1) == Notice("aws: terminate", 1505722920.0)
    assert watch.notice(1) is None


def test_aws_token_that_has_expired_is_replaced(watch: Watch) -> None:
    service = AwsService()
    with serving(service) as base:
        aws = Aws(base)
        aws.poll(watch)
        service.expire()
        service.action = TERMINATE
        aws.poll(watch)
    assert watch.notice(1) is not None


def test_aws_version_1_is_never_used(watch: Watch) -> None:
    asked: list[Asked] = []

    class Version1:
        def answer(self, request: Asked) -> Answer:
            asked.append(request)
            return Answer(405) if request.method == "PUT" else Answer(200, TERMINATE)

    with serving(Version1()) as base, pytest.raises(Unexpected, match="405"):
        Aws(base).poll(watch)
    assert [request.method for request in asked] == ["PUT"]


def test_aws_rebalance_recommendation_is_a_warning(watch: Watch) -> None:
    service = AwsService()
    service.rebalance = b'{"noticeTime": "2020-10-26T23:46:38Z"}'
    with serving(service) as base:
        aws = Aws(base)
        aws.poll(watch)
        aws.poll(watch)
    assert "rebalance" in str(watch.warning())
    assert watch.warning() is None
    assert watch.notice(1) is None


def test_aws_time_that_cannot_be_read_is_no_deadline(watch: Watch) -> None:
    service = AwsService()
    service.action = b'{"action": "stop"}'
    with serving(service) as base:
        Aws(base).poll(watch)
    assert watch.notice(1) == Notice("aws: stop", None)


def test_gcp_hangs_until_there_is_news(watch: Watch) -> None:
    service = GcpService()
    with serving(service) as base:
        gcp = Gcp(base)
        gcp.poll(watch)
        assert watch.notice(1) is None
        thread = threading.Thread(target=gcp.poll, args=(watch,))
        thread.start()
        assert service.hanging.wait(60)
        service.preempt()
        thread.join()
    assert watch.notice(1) == Notice("gcp: preempted")


def test_gcp_tells_of_a_preemption_once(watch: Watch) -> None:
    service = GcpService()
    service.preempt()
    with serving(service) as base:
        gcp = Gcp(base)
        gcp.poll(watch)
        service.hang_s = 0.0  # the time of the request is over, and nothing has changed
        gcp.poll(watch)
    assert watch.notice(1) == Notice("gcp: preempted")
    assert watch.notice(1) is None


def test_gcp_answer_of_someone_else_is_not_believed(watch: Watch) -> None:
    service = GcpService()
    service.flavour = "hotel wifi"
    service.preempted = True
    with serving(service) as base, pytest.raises(Unexpected, match="not the metadata server"):
        Gcp(base).poll(watch)
    assert watch.notice(1) is None


def test_azure_tells_of_what_ends_this_machine(watch: Watch) -> None:
    service = AzureService()
    service.events = [
        preempt("other", Resources=["job_1"]),
        preempt("pause", EventType="Freeze"),
        preempt("broken", Resources=None),
        preempt("ours"),
    ]
    with serving(service) as base:
        azure = Azure(base)
        azure.poll(watch)
        azure.poll(watch)
        azure.approve()
    assert watch.notice(1) == Notice("azure: preempt", 1474309787.0)
    assert watch.notice(1) is None
    assert service.approved == ["ours"]


def test_azure_event_that_has_begun_has_no_deadline(watch: Watch) -> None:
    service = AzureService()
    service.events = [preempt(EventStatus="Started", NotBefore="")]
    with serving(service) as base:
        Azure(base).poll(watch)
    assert watch.notice(1) == Notice("azure: preempt", None)


@pytest.mark.parametrize("body", [b"[]", b"null", b"[" * 100_000, b"<html>"])
def test_azure_answer_that_is_none(watch: Watch, body: bytes) -> None:
    service = FixedService(Answer(200, body))
    with serving(service) as base, pytest.raises(ValueError, match=r".+"):
        Azure(base).poll(watch)


@pytest.mark.parametrize("body", [b"{}", b'{"Events": 3}', b'{"Events": [3]}'])
def test_azure_document_without_events(watch: Watch, body: bytes) -> None:
    with serving(FixedService(Answer(200, body))) as base:
        Azure(base).poll(watch)
    assert watch.notice(1) is None


def test_approving_of_nothing_and_where_nobody_listens(watch: Watch) -> None:
    service = AzureService()
    service.events = [preempt()]
    with serving(service) as base:
        azure = Azure(base)
        azure.approve()
        azure.poll(watch)
    azure.approve()
    assert service.approved == []
    Aws().approve()
    Gcp().approve()


def test_a_service_that_does_not_answer_is_warned_of_once_until_it_does(watch: Watch) -> None:
    class Fake(Aws):
        def __init__(self, stop: threading.Event) -> None:
            self._turns = iter([OSError("a"), OSError("b"), None, OSError("c")])
            self._stop = stop

        def poll(self, watch: Watch) -> None:
            turn = next(self._turns)
            if turn is not None:
                if str(turn) == "c":
                    self._stop.set()
                raise turn

    waited: list[float | None] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            return self.is_set()

    stop = Stop()
    clouds.follow(Fake(stop), watch, stop)
    found = [watch.warning(), watch.warning(), watch.warning()]
    assert found == [
        "aws: cannot ask for notices: a",
        "aws: cannot ask for notices: c",
        None,
    ]
    assert waited == [0.0, 5.0, 5.0, 5.0, 5.0]


def test_addresses_are_the_documented_ones(run_dir: Path) -> None:
    assert clouds.LINK_LOCAL == "http://169.254.169.254"


def prepared(cloud: str) -> tuple[Service, str]:
    if cloud == "aws":
        aws = AwsService()
        aws.action = TERMINATE
        return aws, "aws: terminate"
    if cloud == "gcp":
        gcp = GcpService()
        gcp.preempt()
        return gcp, "gcp: preempted"
    azure = AzureService()
    azure.events = [preempt()]
    return azure, "azure: preempt"


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_a_supervisor_hears_its_cloud(
    run_dir: Path, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # never asked
    service, reason = prepared(cloud)
    with serving(service) as base:
        supervisor = start(
            run_dir, training(STOPS), "--watch", cloud, "--watch-url", base, "--approve"
        )
        assert supervisor.wait() == 75
    assert only(run_dir, "notice")[0]["reason"] == reason
    assert ended(run_dir)[0] == "INTERRUPTED"
    if isinstance(service, AzureService):
        assert service.approved == ["E1"]


def test_without_being_asked_nothing_is_approved(run_dir: Path) -> None:
    service = AzureService()
    service.events = [preempt()]
    with serving(service) as base:
        supervisor = start(run_dir, training(STOPS), "--watch", "azure", "--watch-url", base)
        assert supervisor.wait() == 75
    assert service.approved == []


def test_a_cloud_that_is_not_there_costs_a_warning(run_dir: Path) -> None:
    base = "http://127.0.0.1:9"
    supervisor = start(run_dir, training(STOPS), "--watch", "aws", "--watch-url", base)
    until(lambda: (run_dir / "ready").exists() and only(run_dir, "warning"))
    supervisor.terminate()
    assert supervisor.wait() == 75
    assert "aws: cannot ask for notices" in str(only(run_dir, "warning")[0]["text"])


def test_threads_are_started_once_and_only_if_asked(run_dir: Path, watch: Watch) -> None:
    before = threading.active_count()
    watch.start_clouds()
    assert threading.active_count() == before
    assert clouds.start(options(run_dir), watch) == []


def test_a_second_start_is_the_first(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perdure.runtime.supervisor.signals import Signals

    started: list[str] = []
    asked = options(run_dir)._replace(watch=("aws",))
    monkeypatch.setattr(clouds, "follow", lambda source, watch, stop: started.append(source.name))
    signals = Signals()
    watch = Watch(asked, signals)
    watch.start_clouds()
    watch.start_clouds()
    until(lambda: started)
    signals.restore()
    assert started == ["aws"]
