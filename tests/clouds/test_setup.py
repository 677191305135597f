"""What GCP and Azure need once: the commands as they are printed, and as they are run."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path

import pytest

from perdure.clouds import azure_setup, commanding, gcp_setup
from perdure.clouds.commanding import Command
from perdure.clouds.providers import open_provider
from perdure.errors import EnvironmentFailed, MissingProgram
from perdure.model.settings import CloudSettings
from tests.clouds import test_azure_requests, test_gcp_requests

WANTED = {"gcp": test_gcp_requests.WANTED, "azure": test_azure_requests.WANTED}
TOOLS = {"gcp": "gcloud", "azure": "az"}


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file in which stand-ins of both tools write what they are asked.

    Everything is there already but what has `delete` in it, of which there is nothing.
    """
    for name in TOOLS.values():
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(
            "#!/bin/sh\n"
            f"printf '%s\\n' \"$*\" >>'{tmp_path}/told'\n"
            'case "$*" in\n'
            "*principalId*) echo 0123-4567 ;;\n"
            "*delete*) echo 'ERROR: it could not be found' >&2; exit 3 ;;\n"
            "*denied*) echo 'ERROR: permission' >&2; exit 1 ;;\n"
            "*add-iam*|*assignment*) ;;\n"
            "*) echo 'ERROR: it already exists' >&2; exit 1 ;;\n"
            "esac\n"
        )
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path / "told"


@pytest.mark.parametrize("kind", WANTED)
def test_what_is_printed_is_what_is_run(kind: str, told: Path) -> None:
    needed = open_provider(kind, WANTED[kind], "cloud").preparation()
    said = list(needed.set_up())
    assert any("was there already" in each for each in said)
    assert any(each.endswith(": done") for each in said)
    run = [line for line in told.read_text().splitlines() if "principalId" not in line]
    printed = [line for line in needed.setup_text().splitlines() if line.startswith(TOOLS[kind])]
    assert len(run) == len(printed) == len(said)
    for line, words in zip(run, printed, strict=True):
        plain = words.partition('"$(')[0]
        assert line.startswith(shlex.join(shlex.split(plain)[1:]).replace("'", "")[:40])
    if kind == "azure":
        assert sum("--assignee-object-id 0123-4567" in line for line in run) == 2


@pytest.mark.parametrize("kind", WANTED)
def test_what_is_not_there_need_not_be_deleted(kind: str, told: Path) -> None:
    said = list(open_provider(kind, WANTED[kind], "cloud").preparation().tear_down())
    assert said
    assert all(each.endswith("there was none") for each in said)


def test_a_refusal_is_one_error_and_a_missing_tool_another(
    told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied: tuple[Command, ...] = (("az", "group", "create", "denied"),)
    with pytest.raises(EnvironmentFailed, match="az group create denied` failed: ERROR"):
        list(commanding.run(denied))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingProgram, match="gcloud"):
        list(commanding.run(gcp_setup.setup_commands(WANTED["gcp"])))


def test_machines_may_do_little(told: Path) -> None:
    text = gcp_setup.preparation(WANTED["gcp"]).setup_text()
    assert "compute.instanceGroupManagers.get,compute.instanceGroupManagers.update" in text
    assert "objects/perdure/" in text
    assert 'startsWith("perdure-")' in text
    assert "firewall-rules create perdure-closed" in text
    assert "--action DENY --rules all" in text
    own = dataclasses.replace(WANTED["gcp"], subnets=("a-subnet-of-mine",))
    assert "firewall-rules" not in gcp_setup.preparation(own).setup_text()
    assert "firewall-rules" not in gcp_setup.preparation(own).teardown_text()
    azure = azure_setup.preparation(WANTED["azure"]).setup_text()
    assert "containers/jobs" in azure
    assert azure.count("--tags perdure=az://jobs/perdure") == 3
    assert azure.count("virtualMachineScaleSets/write") == 2
    assert "Owner" not in azure
    assert isinstance(WANTED["azure"], CloudSettings)
