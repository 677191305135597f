"""Who may visit machines: the rules that setup makes, on moto's AWS and as `gcloud` and `az` do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import boto3
import pytest

from perdure.clouds import aws_network, aws_permissions, aws_setup
from perdure.clouds.aws_account import Account
from perdure.clouds.provider import Found, Provider, visitors
from perdure.clouds.providers import open_provider
from perdure.errors import EnvironmentFailed, UsageError
from perdure.model.settings import CloudSettings
from tests.clouds import test_azure_requests, test_gcp_requests
from tests.clouds.conftest import REGION
from tests.clouds.machines import client
from tests.clouds.test_aws_images import GROUP, UBUNTU

Keys = tuple[str, str]

LAB, HOME = "192.0.2.0/24", "198.51.100.7/32"
WANTED = CloudSettings(
    REGION, "s3://lab/perdure", ("m5.large",), image=UBUNTU, ssh_from=(LAB, HOME)
)
OTHERS = {
    "gcp": replace(test_gcp_requests.WANTED, ssh_from=(LAB, HOME)),
    "azure": replace(test_azure_requests.WANTED, ssh_from=(LAB, HOME)),
}
NAME = aws_network.names(WANTED)[1]


def opened(**changes: Any) -> Provider:  # noqa: ANN401
    return open_provider("aws", replace(WANTED, **changes), "aws")


def ec2() -> Any:  # noqa: ANN401
    return boto3.client("ec2", region_name=REGION)


def rules() -> set[tuple[str, int, int, str]]:
    (group,) = ec2().describe_security_groups(Filters=[{"Name": "group-name", "Values": [NAME]}])[
        "SecurityGroups"
    ]
    return {
        (each["IpProtocol"], each["FromPort"], each["ToPort"], network["CidrIp"])
        for each in group["IpPermissions"]
        for network in each["IpRanges"]
    }


def test_setup_lets_in_what_is_named_and_shuts_out_what_is_no_longer(aws: str) -> None:
    said = list(opened().preparation().set_up())
    assert said[-3:] == [
        "create_security_group: done",
        *["authorize_security_group_ingress: done"] * 2,
    ]
    assert rules() == {("tcp", 2222, 2222, LAB), ("tcp", 2222, 2222, HOME)}
    # Said again nothing is an error; one that is new is let in, whatever was there.
    again = list(opened(ssh_from=(LAB, "0.0.0.0/0", HOME)).preparation().set_up())
    assert [each.partition(": ")[2] for each in again[-4:]] == [
        *["was there already"] * 2,
        "done",
        "was there already",
    ]
    # What the user has let in by hand at other ports is the user's.
    own = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": LAB}]}
    ec2().authorize_security_group_ingress(GroupName=NAME, IpPermissions=[own])
    last = list(opened(ssh_from=(HOME,)).preparation().set_up())
    assert last[-2:] == ["revoke_security_group_ingress: done"] * 2
    assert rules() == {("tcp", 2222, 2222, HOME), ("tcp", 22, 22, LAB)}


def test_the_group_is_tagged_and_of_one_folder(aws: str) -> None:
    other = opened(bucket="s3://lab/perdure-too")
    for each in (opened(), other):
        list(each.preparation().set_up())
    tagged = [{"Name": "tag:perdure", "Values": ["s3://lab/perdure"]}]
    (group,) = ec2().describe_security_groups(Filters=tagged)["SecurityGroups"]
    assert group["GroupName"] == NAME
    undone = list(opened().preparation().tear_down())
    assert "delete_security_group: done" in undone
    assert ec2().describe_security_groups(Filters=tagged)["SecurityGroups"] == []
    names = {each["GroupName"] for each in ec2().describe_security_groups()["SecurityGroups"]}
    assert aws_network.names(other.wanted)[1] in names
    assert "delete_security_group: there was none" in list(opened().preparation().tear_down())


@pytest.fixture
def ada(aws: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Keys, Any]:
    """Have this process be who may what setup prints.

    Return the keys of who may what it prints without `ssh_from`, and how AWS itself asks.
    """
    list(opened().preparation().set_up())
    ec2().create_vpc(CidrBlock="10.9.0.0/16")
    iam, keys = boto3.client("iam", region_name=REGION), {}
    anything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for name, policy in (
        ("ada", aws_setup.person_policy(WANTED)),
        ("bob", aws_setup.person_policy(replace(WANTED, ssh_from=()))),
        ("provider", {"Version": "2012-10-17", "Statement": [anything]}),
    ):
        iam.create_user(UserName=name)
        document = json.dumps(policy)
        iam.put_user_policy(UserName=name, PolicyName="perdure", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys[name] = (key["AccessKeyId"], key["SecretAccessKey"])
    monkeypatch.setattr("moto.core.responses.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    become(monkeypatch, keys["ada"])
    return keys["bob"], client("ec2", aws, REGION, keys["provider"])


def become(monkeypatch: pytest.MonkeyPatch, keys: Keys) -> None:
    # What boto3 keeps for a process has the keys that it began with.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), keys, strict=True):
        monkeypatch.setenv(name, value)


def groups_of(asked: Any) -> list[str]:  # noqa: ANN401
    named = {"LaunchTemplateName": GROUP.name, "Versions": ["$Latest"]}
    (version,) = asked.describe_launch_template_versions(**named)["LaunchTemplateVersions"]
    found: list[str] = version["LaunchTemplateData"].get("SecurityGroupIds", [])
    return found


def test_a_machine_is_in_the_default_group_too(ada: tuple[Keys, Any]) -> None:
    """Whoever may what is printed can submit; of several networks' default groups it is ours."""
    _, asked = ada
    opened().start(GROUP)
    known = {each["GroupId"]: each for each in asked.describe_security_groups()["SecurityGroups"]}
    found = [known[each] for each in groups_of(asked)]
    assert [each["GroupName"] for each in found] == ["default", NAME]
    assert len({each["VpcId"] for each in found}) == 1
    (vpc,) = asked.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    assert found[0]["VpcId"] == vpc["VpcId"]
    # The machine that the group has started is in both.
    (reservation,) = asked.describe_instances()["Reservations"]
    (machine,) = reservation["Instances"]
    assert {each["GroupName"] for each in machine["SecurityGroups"]} == {"default", NAME}


def test_who_lacks_the_permission_is_told_which(
    ada: tuple[Keys, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, ada[0])
    with pytest.raises(EnvironmentFailed, match="DescribeSecurityGroups`: permission denied"):
        opened().start(GROUP)
    # Without `ssh_from` nobody needs it.
    opened(ssh_from=()).start(GROUP)
    assert groups_of(ada[1]) == []


def test_submitting_before_setup_is_one_error(aws: str) -> None:
    with pytest.raises(UsageError, match=f"no security group `{NAME}`, which `ssh_from`") as error:
        opened().start(GROUP)
    assert str(error.value.hint) == "perdure cloud setup aws"
    assert ec2().describe_launch_templates()["LaunchTemplates"] == []
    # With subnets of one's own it is their rules that count: nothing is made, and none is named.
    (subnet, *_) = ec2().describe_subnets()["Subnets"]
    own = opened(subnets=(subnet["SubnetId"],))
    assert "security_group" not in " ".join(own.preparation().set_up())
    assert "security" not in own.preparation().setup_text() + own.preparation().teardown_text()
    own.start(GROUP)
    assert groups_of(ec2()) == []


def test_aws_is_explained_without_asking_anybody() -> None:
    text = opened().preparation().setup_text()
    assert text.count("aws ec2 create-security-group") == 1
    assert text.count("aws ec2 authorize-security-group-ingress") == 2
    assert f"# then `revoke-security-group-ingress` for whatever else `{NAME}` lets in" in text
    assert "ec2:DescribeSecurityGroups" in text
    assert f'"GroupName": "{NAME}"' in opened().preparation().teardown_text()
    assert f'"ID-OF-default",\n   "ID-OF-{NAME}"' in opened().explained(GROUP)
    without = opened(ssh_from=())
    told = without.preparation().setup_text() + without.preparation().teardown_text()
    assert "ecurity" not in told + without.explained(GROUP)


def of_visitors(provider: Provider) -> list[Found]:
    found = list(provider.examine(GROUP.folder))
    return [each for each in found if each.name == "ssh_from"]


def test_doctor_says_who_is_let_in(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # moto has no simulator of policies: tests/clouds/test_permissions.py has.
    monkeypatch.setattr(aws_permissions, "examine", lambda *asked: iter(()))
    assert of_visitors(opened(ssh_from=())) == []
    (before,) = of_visitors(opened())
    assert (before.verdict, before.remedy) == ("problem", "perdure cloud setup aws")
    assert before.told == f"not let in yet: {LAB}, {HOME}"
    list(opened().preparation().set_up())
    (after,) = of_visitors(opened())
    assert (after.verdict, after.told) == ("ok", f"{LAB}, {HOME}, at port 2222")
    (more,) = of_visitors(opened(ssh_from=(HOME,)))
    assert (more.verdict, more.told) == ("warning", f"still let in: {LAB}")


def test_an_address_without_a_length_is_one_machine() -> None:
    """As Azure and GCP may tell it, which take it so too."""
    wanted = replace(WANTED, ssh_from=(HOME,))
    assert visitors(wanted, "aws", ["198.51.100.7"]).verdict == "ok"


_GCLOUD = """\
gcloud compute firewall-rules create perdure-instance-ssh-{digest} --project my-project \
--network default --direction INGRESS --action ALLOW --rules tcp:2222 --priority 90 \
--source-ranges 192.0.2.0/24,198.51.100.7/32 \
--target-service-accounts perdure-instance@my-project.iam.gserviceaccount.com
gcloud compute firewall-rules update perdure-instance-ssh-{digest} --project my-project \
--source-ranges 192.0.2.0/24,198.51.100.7/32"""
_AZ = """\
az network nsg rule create --name perdure-ssh-{digest} --nsg-name perdure --priority {priority} \
--direction Inbound --access Allow --protocol Tcp --destination-port-ranges 2222 \
--source-address-prefixes 192.0.2.0/24 198.51.100.7/32 --resource-group perdure \
--subscription 00000000-1111-2222-3333-444444444444"""
_UNDOING = {
    "gcp": "gcloud compute firewall-rules delete perdure-instance-ssh-{digest} "
    "--project my-project --quiet",
    "azure": "az network nsg rule delete --name perdure-ssh-{digest} --nsg-name perdure "
    "--resource-group perdure --subscription 00000000-1111-2222-3333-444444444444",
}
_DIGESTS = {"gcp": "b1ebaaea", "azure": "26a3fcc7"}


@pytest.mark.parametrize(("kind", "golden"), [("gcp", _GCLOUD), ("azure", _AZ)])
def test_commands_are_these_to_the_letter(kind: str, golden: str) -> None:
    def lines(wanted: CloudSettings) -> tuple[list[str], list[str]]:
        needed = open_provider(kind, wanted, kind).preparation()
        made, undone = (
            [line for line in text.splitlines() if line]
            for text in (needed.setup_text(), needed.teardown_text())
        )
        return made, undone

    wanted = OTHERS[kind]
    made, undone = lines(wanted)
    usual, usually_undone = lines(replace(wanted, ssh_from=()))
    expected = golden.format(digest=_DIGESTS[kind], priority="3960").splitlines()
    more = [each for each in made if each not in usual]
    assert more[: len(expected)] == expected
    assert [each for each in made if each not in more] == usual
    # And what doctor needs to see of it.
    assert more[len(expected)].endswith("for `perdure doctor` to see `ssh_from`:")
    assert [each for each in undone if each not in usually_undone] == [
        _UNDOING[kind].format(digest=_DIGESTS[kind])
    ]
    # A network of the user's own is the user's affair.
    subnet = ("x",)
    assert lines(replace(wanted, subnets=subnet)) == lines(
        replace(wanted, subnets=subnet, ssh_from=())
    )


def test_each_folder_has_a_rule_of_its_own() -> None:
    for kind, wanted in OTHERS.items():
        other = replace(wanted, bucket=f"{wanted.bucket}-too")
        text = open_provider(kind, other, kind).preparation().setup_text()
        assert _DIGESTS[kind] not in text


def test_what_is_not_known_everywhere_yet_is_said_again(aws: str) -> None:
    """As EC2 may answer about a group that was made a moment before."""
    calls = [each for each in aws_network.setup_calls(WANTED) if "authorize" in each[1]]
    with pytest.raises(EnvironmentFailed, match="does not know everywhere yet") as error:
        Account(REGION).make(*calls[0])
    assert error.value.hint == "in a minute: perdure cloud setup aws"
