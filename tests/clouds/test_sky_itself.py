"""SkyPilot itself, as the package index has it: what ours is checked against is what it takes.

Nothing is launched: that would take an account, and SkyPilot's lists of machines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.clouds import sky_task
from perdure.clouds.provider import Group
from perdure.clouds.side.order import Config
from perdure.clouds.sky_command import SkyCommand, managed_of
from perdure.clouds.user_data import user_data
from perdure.environments.uv import find_uv
from perdure.model.settings import CloudSettings
from tests.clouds.sky_cli import COMMANDS, SCHEMA

VERSION = "0.14.1"
FOLDER = "s3://lab/perdure/cats-12345678"
WANTED = CloudSettings(
    region="eu-central-1",
    bucket="s3://lab/perdure",
    types=("L4", "A10G"),
    infra=("aws/us-east-1", "gcp", "lambda"),
    image="docker:ubuntu:24.04",
)
_CHECK = """\
import json, sys
import yaml
import sky
from sky.jobs.state import ManagedJobStatus
from sky.schemas.api.responses import ManagedJobRecord
from sky.utils import common_utils, schemas

config = yaml.safe_load(open(sys.argv[1]))
recorded = json.load(open(sys.argv[2]))
common_utils.validate_schema(config, schemas.get_task_schema(), "task: ")
found = schemas.get_resources_schema()
common_utils.validate_schema(config["resources"], found, "resources: ")
for ours, theirs in ((recorded["task"], schemas.get_task_schema()), (recorded["resources"], found)):
    for name, each in ours["properties"].items():
        if name not in ("job_recovery", "any_of", "ordered"):
            assert each == theirs["properties"][name], name
task = sky.Task.from_yaml_config(config)
rows = [
    ManagedJobRecord(job_id=7, job_name="x", status=each, failure_reason="no L4")
    for each in ManagedJobStatus
]
print(json.dumps({
    "name": task.name,
    "mounts": task.file_mounts,
    "run": task.run,
    "recovery": [each.job_recovery for each in task.resources],
    "spot": [each.use_spot for each in task.resources],
    "rows": [each.model_dump(mode="json") for each in rows],
    "over": [each.value for each in ManagedJobStatus if each.is_terminal()],
}))
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the programs of a SkyPilot that was just installed."""
    folder = tmp_path_factory.mktemp("skypilot") / "environment"
    uv = find_uv(os.environ)
    python = str(folder / "bin/python")
    install = [uv, "pip", "install", "-q", "--python", python, f"skypilot[aws]=={VERSION}"]
    for words in ([uv, "venv", "-q", "--python", sys.executable, str(folder)], install):
        subprocess.run(words, check=True, timeout=1200)
    return folder / "bin"


def group() -> Group:
    name = sky_task.name_of(FOLDER, "brave-otter", 2)
    config = Config("sky", WANTED.region, name, FOLDER, "brave-otter", "0123456789abcdef")
    return Group(
        name, "brave-otter", FOLDER, 1, user_data(config.text(), "sky"), None, config.kit, 4.0, 16.0
    )


@pytest.mark.long
@pytest.mark.install
@pytest.mark.timeout(1500)
def test_skypilot_takes_our_yaml(programs: Path, tmp_path: Path) -> None:
    file, schema = tmp_path / "task.yaml", tmp_path / "schema.json"
    file.write_text(sky_task.text(WANTED, group()))
    schema.write_text(json.dumps(SCHEMA))
    done = subprocess.run(
        [programs / "python", "-c", _CHECK, file, schema],
        env={**os.environ, "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout.decode().splitlines()[-1])
    assert found["name"] == group().name
    assert found["mounts"] == {"~/perdure/kit.zip": f"{FOLDER}/kit/0123456789abcdef.zip"}
    assert found["run"] == group().user_data
    recovery = {"recover_on_exit_codes": [75], "max_restarts_on_errors": 5}
    assert all({**recovery, **each} == each for each in found["recovery"])
    assert found["spot"] == [True] * 6
    managed = [managed_of(each) for each in found["rows"]]
    assert managed[0][:2] == (7, "x")
    assert managed[0].why == "no L4"
    assert [each.status for each in managed if each.is_over] == found["over"]


@pytest.mark.long
@pytest.mark.install
@pytest.mark.timeout(1500)
def test_the_options_are_those_of_the_command(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert SkyCommand().version() == VERSION
    for command, (flags, valued) in COMMANDS.items():
        told = subprocess.run(
            ["sky", *command, "--help"], capture_output=True, timeout=120, check=True
        ).stdout.decode()
        words = {word.strip(",") for word in told.split()}
        assert {*flags, *valued} <= words, command
