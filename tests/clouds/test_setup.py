"""What GCP and Azure need once: the commands as they are printed, and as they are run."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path

import boto3
import pytest

from perdure.clouds import azure_setup, commanding, gcp_setup
from perdure.clouds.commanding import Command
from perdure.clouds.provider import Preparation
from perdure.clouds.providers import open_provider
from perdure.errors import EnvironmentFailed, MissingProgram
from perdure.model.settings import CloudSettings
from tests.clouds import test_azure_requests, test_gcp_requests
from tests.clouds.conftest import REGION
from tests.clouds.google_plane import bound

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
            "*signed-in-user*) echo 89ab-cdef ;;\n"
            "*remove-iam*) echo 'ERROR: Policy binding with the specified principal, role, and"
            " condition not found!' >&2; exit 1 ;;\n"
            "*'assignment delete'*) echo 'No matched assignments were found' >&2; exit 1 ;;\n"
            "*project-of-one*) echo \"ERROR: You can't create a role with role_id"
            " (perdureInstance) where there is an existing role with that role_id in a deleted"
            ' state." >&2; exit 1 ;;\n'
            "*one-priority*) echo 'ERROR: (SecurityRuleConflict) Security rule x conflicts with"
            " rule y. Rules cannot have the same Priority and Direction.' >&2; exit 1 ;;\n"
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
    asked = ("principalId", "signed-in-user")
    run = [line for line in told.read_text().splitlines() if not any(x in line for x in asked)]
    printed = [line for line in needed.setup_text().splitlines() if line.startswith(TOOLS[kind])]
    assert len(run) == len(printed) == len(said)
    for line, words in zip(run, printed, strict=True):
        plain = words.partition('"$(')[0]
        assert line.startswith(shlex.join(shlex.split(plain)[1:]).replace("'", "")[:40])
    if kind == "azure":
        assert sum("--assignee-object-id 0123-4567" in line for line in run) == 2
        # Nobody may use blobs by being an owner.
        assert sum("User --assignee-object-id 89ab-cdef" in line for line in run) == 1


@pytest.mark.parametrize("kind", WANTED)
def test_what_is_not_there_need_not_be_deleted(kind: str, told: Path) -> None:
    needed = open_provider(kind, WANTED[kind], "cloud").preparation()
    done, *left = needed.tear_down()
    assert done.endswith("there was none")
    # What other targets may need stays, and what would delete it is said.
    assert left[0].startswith("`perdure-instance")
    assert " stay" in left[0]
    assert any(each.startswith(TOOLS[kind]) and "delete perdure-" in each for each in left) or any(
        "identity delete --name perdure-" in each for each in left
    )
    assert all(f"# {each}" in needed.teardown_text().splitlines() for each in left)


@pytest.mark.parametrize("kind", WANTED)
def test_one_target_takes_nothing_from_another(kind: str) -> None:
    """Of two buckets each has its own binding, and the teardown of one undoes that alone."""
    one = WANTED[kind]
    other = dataclasses.replace(one, bucket=f"{one.bucket}-too")
    needed = {each.bucket: open_provider(kind, each, "x").preparation() for each in (one, other)}
    undone = needed[one.bucket].teardown_text().splitlines()
    done = [line for line in undone if not line.startswith("#") and line]
    assert len(done) == 1
    again = (
        done[0].replace("remove-iam", "add-iam").replace("assignment delete", "assignment create")
    )
    its_own = again.partition(" --assignee")[0]
    assert its_own in needed[one.bucket].setup_text()
    if kind == "gcp":  # of Azure's container a folder has no role of its own
        assert its_own not in needed[other.bucket].setup_text()


def test_each_bucket_of_aws_has_a_policy_of_its_own(aws: str) -> None:
    def needed(bucket: str) -> Preparation:
        wanted = CloudSettings(REGION, bucket, ("m5.large",))
        return open_provider("aws", wanted, "aws").preparation()

    one, two = needed("s3://lab/perdure"), needed("s3://others/perdure")
    assert [*one.set_up(), *two.set_up()].count("put_role_policy: done") == 2
    iam = boto3.client("iam", region_name=REGION)

    def allowed() -> set[str]:
        names = iam.list_role_policies(RoleName="perdure-instance")["PolicyNames"]
        found = (iam.get_role_policy(RoleName="perdure-instance", PolicyName=x) for x in names)
        return {each["PolicyDocument"]["Statement"][0]["Resource"] for each in found}

    assert allowed() == {"arn:aws:s3:::lab/perdure/*", "arn:aws:s3:::others/perdure/*"}
    undone, stays = one.tear_down()
    assert undone == "delete_role_policy: done"
    assert "the role `perdure-instance` stays: it has other policies: perdure-" in stays
    assert allowed() == {"arn:aws:s3:::others/perdure/*"}
    assert [each.partition(": ")[2] for each in two.tear_down()] == ["done"] * 4
    assert iam.list_roles()["Roles"] == []
    assert [each.partition(": ")[2] for each in one.tear_down()] == ["there was none"] * 4
    assert "aws iam list-role-policies --role-name perdure-instance" in one.teardown_text()


def test_each_resource_group_has_a_role_of_its_own() -> None:
    """A role's name is one in a directory, and it is assigned where it was made for alone."""
    one = WANTED["azure"]
    other = dataclasses.replace(one, group="another")
    assert azure_setup.role_of(one) != azure_setup.role_of(other)
    text = azure_setup.preparation(other).setup_text()
    assert text.count(azure_setup.role_of(other)) == 2
    assert "resourceGroups/perdure" not in text


def test_a_role_that_was_deleted_is_said_to_be_had_back(told: Path) -> None:
    again = f"gcloud iam roles create {gcp_setup.ROLE} --project-of-one my-project"
    with pytest.raises(EnvironmentFailed, match="in a deleted state") as error:
        list(commanding.run([tuple(again.split())]))
    assert f"gcloud iam roles undelete {gcp_setup.ROLE}" in str(error.value.hint)


def test_another_rule_in_the_way_is_not_that_it_is_there(told: Path) -> None:
    """As Azure answers where two have one priority: its code has `Conflict` in it."""
    asked: tuple[Command, ...] = (("az", "network", "nsg", "rule", "one-priority"),)
    with pytest.raises(EnvironmentFailed, match="Rules cannot have the same Priority"):
        list(commanding.run(asked))


def test_a_refusal_is_one_error_and_a_missing_tool_another(
    told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied: tuple[Command, ...] = (("az", "group", "create", "denied"),)
    with pytest.raises(EnvironmentFailed, match="az group create denied` failed: ERROR"):
        list(commanding.run(denied))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingProgram, match="gcloud"):
        list(commanding.run(gcp_setup.setup_commands(WANTED["gcp"])))


def test_a_condition_that_asks_for_a_groups_name_is_never_met() -> None:
    commands = gcp_setup.setup_commands(WANTED["gcp"])
    named = "--condition=title=perdure,expression=resource.name.startsWith('x')"
    changed = [tuple(named if x == "--condition=None" else x for x in each) for each in commands]
    assert bound(changed) == set()


def test_machines_may_do_little(told: Path) -> None:
    text = gcp_setup.preparation(WANTED["gcp"]).setup_text()
    assert "compute.instanceGroupManagers.get,compute.instanceGroupManagers.update" in text
    assert "objects/perdure/" in text
    assert bound(gcp_setup.setup_commands(WANTED["gcp"])) == {*gcp_setup.MACHINE}
    assert "firewall-rules create perdure-instance-closed" in text
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
