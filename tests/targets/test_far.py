"""The half of a target that runs there, in the oldest Python that may be there."""

from __future__ import annotations

import hashlib
import io
import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from perdure.errors import PerdureError
from perdure.hosts.side.channel import Channel, boot_words
from perdure.hosts.side.frames import pack, read_frame, unpack
from perdure.jobs import looking, there
from perdure.jobs.snapshot import Entry, Tree
from perdure.model.job import (
    Code,
    Data,
    EnvironmentUsed,
    Event,
    ImageUsed,
    JobRecord,
    Limits,
    Machine,
    Resources,
    Versions,
)
from perdure.model.job_values import event_of, event_values, job_of, job_values
from perdure.targets import far, shelf, supervisor
from tests.waiting import until

SCRIPT = b"import sys\nprint(sys.argv[1:], flush=True)\n"
ARGUMENTS = ("a b", "'", "$(touch no)", "a\nb", "\u00e9", "")

Call = Callable[..., Any]


def find_oldest() -> str | None:
    """Return a Python 3.9: on PATH, or pyenv's, whose shim may lead nowhere."""
    versions = Path("~/.pyenv/versions").expanduser().glob("3.9.*/bin/python3.9")
    for each in ("python3.9", *map(str, versions)):
        program = shutil.which(each)
        words = [program or "false", "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 9))"]
        if subprocess.run(words, capture_output=True).returncode == 0:
            return program
    return None


@pytest.fixture(params=["3.9", "this one"])
def python(request: pytest.FixtureRequest) -> str:
    if request.param == "this one":
        return sys.executable
    found = find_oldest()
    if found is None:
        pytest.skip("no python 3.9 on this machine")
    return found


@pytest.fixture
def call(python: str) -> Iterator[Call]:
    """Return what calls a function in a side of that Python."""
    channel = Channel(boot_words(python), lambda code, said: PerdureError(f"{code}: {said}"))
    numbers = itertools.count(1)

    def ask(function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
        name = f"{function.__module__}:{function.__qualname__}"
        asked = {"number": next(numbers), "function": name, "named": {}, "tells": False}
        channel.send(pack({**asked, "arguments": list(arguments)}))
        frame = channel.receive()
        assert frame is not None
        answer = unpack(*frame)
        assert "value" in answer, answer
        return answer["value"]

    yield ask
    channel.close()


def record(results: Path, tree: Tree) -> JobRecord:
    return JobRecord(
        results=results,
        job="brave-otter",
        task="train",
        arguments=ARGUMENTS,
        submitted="2026-01-01T00:00:00+00:00",
        command=("python", "train.py"),
        seed=1,
        code=Code(None, False, tree.digest, 1, tree.digest),
        environment=EnvironmentUsed(None, None, "", None),
        data=Data("", 0, 0, {"a": "b"}),
        machine=Machine("h", "os", "cpu", 2, 1.5, ("gpu",), "boot"),
        versions=Versions("0", "3"),
        limits=Limits(5.0, 0, ("aws",)),
        target="gpu1",
        variables={"A": "1"},
    )


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    job = record(tmp_path, Tree({}))
    assert job_of(job_values(job)) == job
    used = EnvironmentUsed("l", "cpu", "3.11", None, ImageUsed("t", "i", 1, 2, pegged=True))
    other = replace(job, environment=used, resources=Resources("all", 1, 2, 0.5), rerun_of="x")
    assert job_of(job_values(other)) == other
    assert unpack(*_split(pack(job_values(other)))) == job_values(other)


def _split(frame: bytes) -> tuple[bytes, bytes]:
    found = read_frame(io.BytesIO(frame))
    assert found is not None
    return found


def test_an_event_comes_back_as_it_was() -> None:
    event = Event(3, 1.5, "started", {"pid": 1, "command": ["a", "b"]})
    assert event_of(event_values(event)) == event


NAME = "results/brave-otter"


@dataclass(frozen=True)
class Sent:
    """A job whose code and run folder are there, by the station that runs it."""

    root: str
    job: dict[str, Any]

    @property
    def run_dir(self) -> str:
        return f"{self.root}/{NAME}"

    @property
    def station(self) -> dict[str, Any]:
        known = {"root": self.root, "engine": "process", "settings": {}}
        return {**known, "supervisor": supervisor.digest()}


@pytest.fixture
def sent(call: Call, tmp_path: Path) -> Sent:
    found = call(far.settle, str(tmp_path), "cats-1", "process")
    root = found["root"]
    assert found == {"root": str(tmp_path / "cats-1"), "engine": "process"}
    digest = hashlib.sha256(SCRIPT).hexdigest()
    tree = Tree({"train.py": Entry("-", digest), "link": Entry("l", "train.py")})
    assert call(there.lacking, root, tree.to_json()) == [["-", digest]]
    assert not call(there.verify, root, tree.to_json())
    call(there.take, root, [["-", digest, SCRIPT]])
    call(there.build, root, tree.to_json())
    assert call(there.lacking, root, tree.to_json()) is None
    assert call(there.verify, root, tree.to_json())
    job = job_values(record(Path(root, "results"), tree))
    assert call(there.begin, root, NAME, {"job.json": b"{}"})
    return Sent(root, job)


def test_what_a_target_says_of_itself(call: Call, sent: Sent) -> None:
    assert call(there.surroundings, sent.root)["machine"]["boot"]
    call(far.require, sent.station, {})
    assert call(far.probe, sent.station)["problem"] is None
    beside = call(far.aside, sent.station, sent.job, {}, ["sh", "-c", "exit 3"], False)
    assert beside["argv"] == ["sh", "-c", "exit 3"]
    assert beside["environment"]["A"] == "1"


@pytest.mark.timeout(120)
def test_a_job_from_its_start_to_its_end(call: Call, sent: Sent) -> None:
    planned = call(far.plan, sent.station, sent.job, {})
    call(far.verify, sent.station, planned)
    begun = call(far.submit, sent.station, planned, "brave-otter")
    assert begun == {"pid": None, "lacking": True}
    for _ in range(2):
        call(supervisor.unpack, sent.root, supervisor.digest(), supervisor.sources())
    assert not list(Path(sent.root, ".perdure", "supervisor").glob(".tmp-*"))
    assert call(far.submit, sent.station, planned, "brave-otter")["pid"]
    until(lambda: call(far.poll, [sent.run_dir]) != ["running"], every_s=0.05)
    seen = call(looking.look, sent.root, {NAME: {}}, True)["jobs"][NAME]
    assert seen["files"]["logs/000001.log"][1].decode() == f"{list(ARGUMENTS)}\n"
    assert (seen["alive"], seen["there"], seen["more"]) == (False, True, False)
    assert call(far.logs, sent.station, sent.run_dir).decode() == f"{list(ARGUMENTS)}\n"
    assert call(far.cancel, sent.station, sent.run_dir, 5.0) == "confirmed"
    assert call(far.sweep, sent.station, sent.run_dir, [], 0.0) == 0
    names = {name for name, _, _ in call(shelf.listed, sent.run_dir)}
    assert {"job.json", "attempts/000001.jsonl", "logs/000001.log"} <= names


def test_what_no_job_needs_is_swept(call: Call, tmp_path: Path) -> None:
    root = str(tmp_path)
    trees = []
    for text in (b"one\n", b"two\n"):
        entry = Entry("-", hashlib.sha256(text).hexdigest())
        trees.append(Tree({"x": entry}))
        call(there.take, root, [["-", entry.content, text]])
        call(there.build, root, trees[-1].to_json())
    kept = b'{"code": {"snapshot": "%s"}}' % trees[0].digest.encode()
    call(there.begin, root, "results/a", {"job.json": kept})
    assert call(there.sweep, root) == 1
    assert [each.name for each in (tmp_path / ".perdure/snapshots").iterdir()] == [trees[0].digest]
    assert len(list((tmp_path / ".perdure/objects").glob("??/*"))) == 1
    (tmp_path / "results" / "a" / "job.json").write_text("damaged")
    assert call(there.sweep, root) == 0


def test_a_job_that_never_began_is_forgotten(call: Call, tmp_path: Path) -> None:
    root = str(tmp_path)
    call(there.begin, root, "results/a", {"job.json": b"{}"})
    assert not call(there.begin, root, "results/a", {"job.json": b"{}"})
    assert call(there.forget, root, "results/a")
    assert call(there.forget, root, "results/a")
    call(there.begin, root, "results/a", {"job.json": b"{}"})
    (tmp_path / "results" / "a" / "gen-000001").write_text("{}")
    assert not call(there.forget, root, "results/a")
    assert (tmp_path / "results" / "a" / "job.json").exists()
