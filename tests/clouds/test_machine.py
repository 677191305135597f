"""A job on machines with a kernel: real cloud-init reads the user-data, and the power is cut.

The AWS is moto's, its machines run Debian under QEMU. Nothing here has a way to another network.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from perdure.project.wheel import build_wheel
from perdure.runtime.result import read_result
from tests.clouds.machines import Machine
from tests.clouds.test_images import give_image
from tests.clouds.test_spot import Cloud, open_cloud
from tests.clouds.virtual import VirtualMachines
from tests.engines import vm
from tests.engines.engines import RealEngine

#: A processor that is emulated is slow, and a machine that others use slower still.
PATIENCE_S = 600.0


@pytest.fixture(scope="session")
def image() -> vm.Image:
    try:
        return vm.prepare()
    except LookupError as error:
        pytest.skip(str(error))
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)


def packed(name: str) -> tuple[str, bytes]:
    """Return an installed distribution as the wheel that it came of."""
    found = metadata.distribution(name)
    tag = next(
        line.removeprefix("Tag: ")
        for line in str(found.read_text("WHEEL")).splitlines()
        if line.startswith("Tag: ")
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in found.files or ():
            if not {"..", "__pycache__"} & set(file.parts):
                archive.write(str(file.locate()), str(file))
    return f"{name}-{found.version}-{tag}.whl", content.getvalue()


def bring_along(project: Path) -> None:
    """Have a project depend on Perdure as `perdure new` has it: by a wheel beside its code.

    What Perdure needs is there, too: machines reach no index.
    """
    own = build_wheel()
    wheels = {"perdure": (own.name, own.content), "xxhash": packed("xxhash")}
    sources = "[tool.uv.sources]\n"
    (project / "vendor").mkdir()
    for name, (file, content) in wheels.items():
        (project / "vendor" / file).write_bytes(content)
        sources += f'{name} = {{ path = "vendor/{file}" }}\n'
    table = project / "pyproject.toml"
    needs = f'version = "0.1"\nrequires-python = ">=3.11"\ndependencies = {[*wheels]}\n'
    table.write_text(table.read_text().replace('version = "0.1"\n', needs) + sources)


@pytest.fixture
def cloud(
    image: vm.Image, aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    monkeypatch.setattr(VirtualMachines, "image", image, raising=False)
    # A socket's path is to be short.
    folder = Path(tempfile.mkdtemp(prefix="perdure-vm-"))
    visitors = ("127.0.0.0/8",)
    with open_cloud(VirtualMachines, aws, tmp_path, folder, monkeypatch, visitors) as found:
        found.patience_s = PATIENCE_S
        offline = {"UV_OFFLINE": "1", "UV_NO_CONFIG": "1", "PIP_CONFIG_FILE": "/dev/null"}
        found.environ.update(offline, UV_CACHE_DIR=str(tmp_path / "cache"))
        yield found
    shutil.rmtree(folder)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_job_survives_machines_that_boot_and_leaves_nothing(
    cloud: Cloud, image: vm.Image
) -> None:
    bring_along(cloud.project)
    steps = 300
    arguments = ("--seed", "7", "train", str(steps), "0.1")
    cloud.perdure("run", "--name", "alone", *arguments[:-1], "0")
    cloud.perdure("run", "--on", "aws", "--name", "otter", "-d", *arguments)
    for is_cut in (True, False):
        until_saved(cloud)
        if is_cut:
            check_visit(cloud)
        machine = cloud.machines.alive()[0]
        given = time.time()
        cloud.machines.notify(machine, 120)
        cloud.until(lambda machine=machine, given=given: was_told(machine, given))  # type: ignore[misc]
        if is_cut:
            until_saved(cloud)
            cloud.machines.reclaim(machine)
        else:
            cloud.until(lambda machine=machine: machine.process.poll() is not None)  # type: ignore[misc]
    cloud.until_gone()
    for each in cloud.machines.booted:
        # Nobody asks for it but cloud-init.
        assert any(path.endswith("/user-data") for _, _, path in each.metadata.asked)
    assert len(cloud.machines.booted) == 3
    check_end(cloud, image, steps)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_machine_installs_docker_for_a_job_in_an_image(
    cloud: Cloud, image: vm.Image, old_engine: RealEngine
) -> None:
    tag, _ = give_image(cloud, old_engine)
    arguments = ("--seed", "7", "train", "100", "0.1")
    cloud.perdure("run", "--name", "alone", *arguments[:-1], "0")
    cloud.perdure("run", "--on", "aws", "--name", "otter", "-d", *arguments)
    until_saved(cloud)
    cloud.machines.reclaim(cloud.machines.alive()[0])
    cloud.until_gone()
    assert "installing docker.io" in cloud.logs()
    check_end(cloud, image, 100)
    old_engine.docker("rmi", tag, check=False)


def check_visit(cloud: Cloud) -> None:
    """See that one is let in to the machine, by the key that it has told, as who runs the job."""
    code = "import os; print(os.geteuid(), os.uname().nodename, os.getcwd())"
    seen = cloud.perdure("attach", "otter", "--", "python", "-c", code)
    assert seen.out.startswith("0 ip-169-254-10-15 /opt/perdure/project/.perdure/snapshots/")


def check_end(cloud: Cloud, image: vm.Image, steps: int) -> None:
    """See that a job is as one that nothing befell, and that nothing of it is left; tell of it."""
    found = cloud.job("otter")
    assert (found["state"], found["step"]) == ("SUCCEEDED", steps), cloud.logs()
    results = cloud.project / "results"
    assert read_result(str(results / "otter")) == read_result(str(results / "alone"))
    sys.stdout.write(record(cloud, image, "otter"))
    cloud.perdure("reap", "--on", "aws", "--yes")
    assert cloud.tagged() == (0, 0, 0)


def record(cloud: Cloud, image: vm.Image, job: str) -> str:
    """Return what a person writes down: versions, and of each machine when it got how far."""
    moto = metadata.version("moto")
    lines = ["", *image.versions().splitlines(), f"moto {moto}", " ".join(vm.accelerator())]
    for attempt, machine in enumerate(cloud.machines.booted, 1):
        file = cloud.project / f"results/{job}/attempts/{attempt:06d}.jsonl"
        events = [json.loads(line) for line in file.read_text().splitlines()]
        told = {each["event"]: float(each["t"]) for each in reversed(events)}
        asked = [(at, who) for at, who, _ in machine.metadata.asked]
        program = next(at for at, who in asked if who.startswith("Python-urllib"))
        # Its socket was made just before its power was turned on.
        began = (machine.folder / "imds").stat().st_mtime
        when = {"cloud-init asks": asked[0][0], "program": program, "supervisor": told["started"]}
        when["first new step"] = told["step"]
        when |= {name: told[name] for name in ("notice", "ended") if name in told}
        words = ", ".join(f"{name} {at - began:.1f} s" for name, at in when.items())
        lines.append(f"machine {attempt}: {words}")
    return "\n".join(lines) + "\n"


def until_saved(cloud: Cloud) -> None:
    """Return once there is a newer checkpoint in the bucket; a job that has ended makes none."""
    known = max(cloud.saved("otter"), default=0)
    cloud.until(lambda: max(cloud.saved("otter"), default=0) > known or not cloud.machines.ids())
    assert cloud.machines.ids(), (
        f"{cloud.job('otter')}\n{cloud.perdure('logs', 'otter').out}\n{cloud.logs()}"
    )


def was_told(machine: Machine, since: float) -> bool:
    """Return whether a machine has asked for its notice since."""
    asked = [at for at, _, path in machine.metadata.asked if path.endswith("spot/instance-action")]
    return any(at > since for at in asked)
