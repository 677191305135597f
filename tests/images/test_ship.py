"""Images shipped between real engines, to a real registry and to files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import EngineUnreachable, EnvironmentFailed, PerdureError, UsageError
from perdure.hosts.engine import find_engine
from perdure.images.ship import ship
from perdure.images.ship_destination import parse_destination
from perdure.images.ship_image import ImageRecord, held_layers, record_of
from perdure.images.shipment import Shipment
from perdure.model.report import silent
from perdure.model.settings import Settings
from tests.cli.command import is_one_error, perdure
from tests.engines.engines import RealEngine
from tests.images.shipping import Builder, address, failing_socket, use

REGISTRY = Path(__file__).resolve().parents[1] / "engines" / "registry"


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[Builder]:
    made = Builder(tmp_path / "contexts, 'q\"")
    yield made
    made.remove()


@pytest.fixture(params=["old to modern", "modern to old"])
def pair(
    request: pytest.FixtureRequest,
    old_engine: RealEngine,
    modern_engine: RealEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[RealEngine, RealEngine]:
    """Return two engines; this process's variables lead to the first."""
    engines = (old_engine, modern_engine)
    source, target = engines if request.param == "old to modern" else engines[::-1]
    use(source, monkeypatch)
    return source, target


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a registry on loopback."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [str(REGISTRY), str(folder), str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"localhost:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)


def shipped(reference: str, to: str) -> Shipment:
    settings = Settings()
    engine = find_engine(settings)
    return ship(engine, reference, parse_destination(to), settings=settings, report=silent)


def blobs_of(engine: RealEngine, tag: str, folder: Path) -> int:
    """Return how many files of layers an engine's archive of an image has."""
    engine.docker("image", "save", "--output", str(folder / "saved.tar"), tag)
    with tarfile.open(folder / "saved.tar") as found:
        (image,) = json.load(found.extractfile("manifest.json") or pytest.fail("no manifest"))
        return len(set(image["Layers"]) & set(found.getnames()))


def test_only_what_is_missing_goes_over(
    pair: tuple[RealEngine, RealEngine], builder: Builder, tmp_path: Path
) -> None:
    source, target = pair
    first = builder.own(target, builder.build(source, "1", "packages", "code"))
    whole = shipped(first, address(target)).moved
    assert (whole.sent_layers, whole.skipped_layers) == (3, 0)
    again = shipped(first, address(target)).moved
    assert (again.sent_layers, again.sent_bytes, again.skipped_layers) == (0, 0, 3)
    second = builder.own(target, builder.build(source, "2", "packages", "code", "more"))
    delta = shipped(second, address(target)).moved
    assert (delta.sent_layers, delta.skipped_layers) == (1, 3)
    assert target.docker("run", "--rm", "--pull=never", second) == ""
    assert blobs_of(target, second, tmp_path) == 4
    back = shipped_back(target, source, second)
    assert back.moved.sent_layers == 0


def shipped_back(source: RealEngine, target: RealEngine, tag: str) -> Shipment:
    with pytest.MonkeyPatch.context() as patched:
        use(source, patched)
        return shipped(tag, address(target))


def test_to_itself_there_is_nothing_to_ship(engine: RealEngine, builder: Builder) -> None:
    tag = builder.build(engine, "1", "code")
    ended = perdure("ship", tag, "--to", address(engine))
    assert ended.code == 0
    assert f"nothing to ship: {address(engine)} has {tag} (2 layers" in ended.err
    as_json = perdure("ship", tag, "--to", address(engine), "--json")
    assert json.loads(as_json.out)["sent"] == {"layers": 0, "bytes": 0}


def test_what_is_there_under_another_name_is_named(
    pair: tuple[RealEngine, RealEngine], builder: Builder
) -> None:
    source, target = pair
    first = builder.own(target, builder.build(source, "1", "code"))
    shipped(first, address(target))
    other = builder.own(source, builder.own(target, f"{builder.name}:other"))
    source.docker("tag", first, other)
    assert shipped(other, address(target)).moved.sent_layers == 0
    assert target.docker("run", "--rm", "--pull=never", other) == ""


def test_an_image_without_a_program_is_shipped_too(
    pair: tuple[RealEngine, RealEngine], builder: Builder
) -> None:
    source, target = pair
    tag = builder.own(target, builder.build(source, "1", "data", true=False))
    assert shipped(tag, address(target)).moved.sent_layers == 1


def test_layers_that_the_other_side_runs_but_cannot_export_are_sent(
    old_engine: RealEngine,
    modern_engine: RealEngine,
    builder: Builder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The containerd store made the layer itself and keeps it compressed: another blob."""
    tag = builder.imported(old_engine, "1", builder.name)
    builder.own(modern_engine, builder.imported(modern_engine, "there", builder.name))
    builder.own(modern_engine, tag)
    use(old_engine, monkeypatch)
    assert shipped(tag, address(modern_engine)).moved.skipped_layers == 0
    assert blobs_of(modern_engine, tag, tmp_path) == 1


def test_an_unknown_image_is_named_with_its_nearest(engine: RealEngine, builder: Builder) -> None:
    tag = builder.build(engine, "runtime", "code")
    ended = perdure("ship", tag.replace("runtime", "runtim"), "--to", "x.tar")
    assert is_one_error(ended, 2, "there is no image", f"did you mean `{tag}`")


def test_an_image_without_a_name_is_refused(engine: RealEngine, builder: Builder) -> None:
    tag = builder.build(engine, "1", "code")
    found = engine.docker("image", "inspect", "--format", "{{.Id}}", tag)
    assert shipped(found, address(engine)).image == tag
    engine.docker("image", "tag", "debian:bookworm-slim", tag)
    if engine.name == "old":
        builder.own(engine, found)
        with pytest.raises(UsageError, match="no name"):
            shipped(found, address(engine))


@pytest.mark.parametrize("to", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:9"])
def test_an_engine_that_is_not_there(engine: RealEngine, builder: Builder, to: str) -> None:
    tag = builder.build(engine, "1", "code")
    assert is_one_error(perdure("ship", tag, "--to", to), 4, to, f"docker -H {to} version")


@pytest.mark.parametrize("to", ["nowhere.invalid", "ssh://nowhere.invalid"])
def test_a_host_that_is_not_there_is_told_as_ssh_tells_it(
    engine: RealEngine, builder: Builder, to: str
) -> None:
    tag = builder.build(engine, "1", "code")
    ended = perdure("ship", tag, "--to", to)
    assert is_one_error(ended, 4, "there is no host of that name", "ssh nowhere.invalid")
    assert "stderr=" not in ended.err


def test_a_target_is_found_by_its_name(
    engine: RealEngine, builder: Builder, tmp_path: Path
) -> None:
    tag = builder.build(engine, "1", "code")
    config = tmp_path / "perdure" / "config.toml"
    config.parent.mkdir()
    config.write_text('[targets.lab]\nhost = "me@nowhere.invalid"\n')
    ended = perdure("ship", tag, "--to", "lab", env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert is_one_error(ended, 4, "me@nowhere.invalid")


def test_a_file_that_cannot_be_is_told_before_anything_is_looked_for(tmp_path: Path) -> None:
    for to in ("nowhere/x.tar", "nowhere/x.sqfs", str(tmp_path)):
        ended = perdure(
            "ship", "x", "--to", to, cwd=tmp_path, env={"DOCKER_HOST": "unix:///nowhere.sock"}
        )
        assert "container engine" not in ended.err, ended.err
        assert is_one_error(ended, ended.code, to.partition("/x.")[0])


@pytest.mark.parametrize("lost", ["source", "target"])
def test_an_engine_that_is_lost_in_the_middle(
    pair: tuple[RealEngine, RealEngine],
    builder: Builder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    source, target = pair
    tag = builder.own(target, builder.build(source, "1", "packages" * 100_000, "code"))
    engine, word = (source, b"/get") if lost == "source" else (target, b"/load")
    with failing_socket(tmp_path, engine, word) as cut:
        if lost == "source":
            monkeypatch.setenv("DOCKER_HOST", cut)
        with pytest.raises((EngineUnreachable, EnvironmentFailed)):
            shipped(tag, address(target) if lost == "source" else cut)
    assert not target.docker("images", "--quiet", tag)
    monkeypatch.setenv("DOCKER_HOST", address(source))
    assert shipped(tag, address(target)).moved.sent_layers == 3


def test_an_archive_is_read_by_both_engines(
    pair: tuple[RealEngine, RealEngine], builder: Builder, tmp_path: Path
) -> None:
    source, target = pair
    tag = builder.own(target, builder.build(source, "1", "code"))
    file = tmp_path / "an image, 'q\".tar"
    assert shipped(tag, str(file)).moved.sent_bytes == file.stat().st_size
    target.docker("image", "load", "--input", str(file))
    assert target.docker("run", "--rm", "--pull=never", tag) == ""
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [file.name]


def test_a_file_is_there_whole_or_not_at_all(
    engine: RealEngine, builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = builder.build(engine, "1", "packages" * 100_000)
    file = tmp_path / "image.tar"
    file.write_bytes(b"before")
    with failing_socket(tmp_path, engine, b"/get") as cut:
        monkeypatch.setenv("DOCKER_HOST", cut)
        with pytest.raises(PerdureError):
            shipped(tag, str(file))
    assert file.read_bytes() == b"before"
    assert {path.suffix for path in tmp_path.iterdir() if path.is_file()} == {".tar"}


@pytest.mark.parametrize(("to", "words"), [("nowhere/x.tar", "no folder"), ("{}", "is a folder")])
def test_a_file_that_cannot_be(
    engine: RealEngine, builder: Builder, tmp_path: Path, to: str, words: str
) -> None:
    tag = builder.build(engine, "1", "code")
    (tmp_path / "folder").mkdir()
    ended = perdure("ship", tag, "--to", to.format(tmp_path / "folder"), cwd=tmp_path)
    assert is_one_error(ended, 2, words)


def test_a_registry_gets_what_it_lacks(engine: RealEngine, builder: Builder, registry: str) -> None:
    tag = builder.build(engine, "1", "packages", "code")
    to = f"{registry}/{builder.name}"
    first = shipped(tag, to)
    assert first.called == f"{registry}/{builder.name}:1"
    assert (first.moved.sent_layers, first.moved.skipped_layers) == (3, 0)
    assert first.moved.sent_bytes
    assert first.digest
    again = shipped(tag, to)
    assert (again.moved.sent_layers, again.moved.sent_bytes, again.digest) == (0, 0, first.digest)
    second = builder.build(engine, "2", "packages", "code", "more")
    ended = perdure("ship", second, "--to", f"{to}:v2")
    assert ended.code == 0
    assert "1 layer" in ended.err
    assert "skipped 3 layers" in ended.err
    assert f"{to}:v2@sha256:" in ended.err
    assert not engine.docker("images", "--quiet", first.called)


def test_a_registry_that_is_not_there(engine: RealEngine, builder: Builder) -> None:
    tag = builder.build(engine, "1", "code")
    ended = perdure("ship", tag, "--to", "127.0.0.1:9/cats")
    assert is_one_error(ended, 4, "does not reach the registry `127.0.0.1:9`")
    assert not engine.docker("images", "--quiet", "127.0.0.1:9/cats:1")


def test_a_destination_is_asked_for() -> None:
    assert is_one_error(perdure("ship", "x"), 2, "--to")
    assert is_one_error(perdure("ship", "x", "--to", "a b"), 2, "is no destination")
    assert is_one_error(perdure("ship", "x", "--variant", "cpu", "--to", "y.tar"), 2, "--variant")


def image(*layers: str) -> ImageRecord:
    return record_of({"Id": "x", "RootFS": {"Layers": list(layers)}})


@pytest.mark.parametrize(
    ("there", "held"),
    [((), 0), (("a",), 1), (("a", "b", "c", "d"), 3), (("a", "x", "c"), 1), (("b", "c"), 0)],
)
def test_layers_are_held_from_the_first_on(there: tuple[str, ...], held: int) -> None:
    assert held_layers(["a", "b", "c"], [image(*there), image("x")]) == held


def test_two_engines_describe_one_image_alike() -> None:
    said = {"RootFS": {"Layers": ["a"]}, "Created": "now", "Os": "linux", "Architecture": "amd64"}
    first = record_of({**said, "Id": "1", "Config": {"Env": ["A=b"], "Cmd": None, "Image": ""}})
    second = record_of({**said, "Id": "2", "Config": {"Env": ["A=b"], "Hostname": "x"}})
    assert first.is_same(second)
    assert not first.is_same(record_of({**said, "Id": "1", "Config": {"Env": ["A=c"]}}))
