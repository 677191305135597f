"""What AWS is asked for: by its own models, by what it refuses beyond them, and to the letter."""

from __future__ import annotations

import base64
import datetime as dt
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.session
import botocore.validate
import pytest

from perdure.clouds import aws_iam, aws_network, aws_requests, aws_rules
from perdure.clouds.side import signing
from perdure.clouds.side.order import Config
from perdure.clouds.user_data import boot, user_data
from perdure.model.settings import CloudSettings
from perdure.moving.address import Address, parse_address

GOLDEN = Path(__file__).with_name("aws_requests.txt")
FOLDER = Address("s3", "lab", "perdure/cats-01234567")
CONFIG = Config("aws", "eu-central-1", "group", str(FOLDER), "otter", "0" * 16)
WISH = aws_requests.Wish(
    name=aws_requests.group_name(str(FOLDER), "brave-otter", 3),
    job="brave-otter",
    folder=str(FOLDER),
    image="ami-12c6146b",
    types=("g5.xlarge", "g4dn.xlarge"),
    market="spot",
    disk_gib=100,
    profile="perdure-instance",
    subnets=("subnet-1", "subnet-2"),
    user_data=user_data(CONFIG.text(), "aws"),
    deadline=1_800_000_000.0,
)
VISITED = CloudSettings(
    *("eu-central-1", "s3://lab/perdure", ("g5.xlarge",)), ssh_from=("192.0.2.0/24", "0.0.0.0/0")
)
GROUPS = ("sg-0123456789abcdef0", "sg-0fedcba9876543210")
OPENING = aws_network.setup_calls(VISITED)
CALLS = {
    f"{number}-{call[0]}.{call[1]}": call
    for number, call in enumerate(
        (
            *aws_requests.calls(WISH),
            *aws_requests.calls(replace(WISH, name="on-demand", market="on-demand")),
            ("autoscaling", "update_auto_scaling_group", aws_requests.nothing("group")),
            *aws_iam.setup_calls(FOLDER, "eu-central-1"),
            *aws_iam.teardown_calls(FOLDER),
            *aws_iam.role_deletion(),
            ("ec2", "create_launch_template", aws_requests.template(replace(WISH, groups=GROUPS))),
            *OPENING,
            ("ec2", "revoke_security_group_ingress", OPENING[1][2]),
            *aws_network.teardown_calls(VISITED),
            ("ec2", "describe_security_groups", {"GroupNames": [*aws_network.names(VISITED)]}),
            ("ec2", "describe_images", {"ImageIds": ["ami-12c6146b"]}),
            ("iam", "list_role_policies", {"RoleName": aws_iam.ROLE}),
        )
    )
}


def model_of(service: str, operation: str) -> Any:  # noqa: ANN401
    session = botocore.session.get_session()
    model = session.get_service_model(service)
    named = "".join(word.title() for word in operation.split("_"))
    return model.operation_model(named).input_shape


def wrong_words(shape: Any, value: Any) -> list[str]:  # noqa: ANN401
    """Return the values that an enumeration of the model does not have: its validator lets pass."""
    if shape.type_name == "structure":
        members = shape.members
        return [bad for key, each in value.items() for bad in wrong_words(members[key], each)]
    if shape.type_name == "list":
        return [bad for each in value for bad in wrong_words(shape.member, each)]
    known = getattr(shape, "enum", None)
    return [value] if known and value not in known else []


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_aws_own_models_take_it(call: tuple[str, str, dict[str, Any]]) -> None:
    service, operation, values = call
    shape = model_of(service, operation)
    report = botocore.validate.ParamValidator().validate(values, shape)
    assert not report.has_errors(), report.generate_report()
    assert wrong_words(shape, values) == []
    assert aws_rules.problems(operation, values) == []


def test_the_models_and_their_words_refuse_what_is_wrong() -> None:
    shape = model_of("ec2", "create_launch_template")
    bad = aws_requests.template(WISH)
    bad["LaunchTemplateData"]["MetadataOptions"]["HttpTokens"] = "sometimes"
    assert wrong_words(shape, bad) == ["sometimes"]
    bad["LaunchTemplateData"]["Userdata"] = "x"
    assert botocore.validate.ParamValidator().validate(bad, shape).has_errors()


def tag(data: dict[str, Any], key: str, value: str) -> None:
    data["TagSpecifications"][0]["Tags"].append({"Key": key, "Value": value})


def harm_template(change: Callable[[dict[str, Any]], object]) -> list[str]:
    values = aws_requests.template(WISH)
    change(values["LaunchTemplateData"])
    return aws_rules.problems("create_launch_template", values)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda data: data.update(InstanceMarketOptions={"MarketType": "spot"}), "exclude"),
        (lambda data: data["MetadataOptions"].update(HttpTokens="optional"), "version 1"),
        (lambda data: data["MetadataOptions"].update(HttpPutResponseHopLimit=1), "containers"),
        (lambda data: data.pop("InstanceInitiatedShutdownBehavior"), "would be kept"),
        (lambda data: data.update(UserData="no base64!"), "not base64"),
        (lambda data: data.update(UserData=base64.b64encode(b"x" * 16385).decode()), "16385"),
        (lambda data: tag(data, "aws:x", ""), "no tag"),
        (lambda data: tag(data, "x", "a;b"), "letter"),
        (lambda data: data.update(NetworkInterfaces=[{}], SecurityGroupIds=["sg-1"]), "exclude"),
        (lambda data: data.update(SecurityGroups=["default"]), "by their ids"),
        (lambda data: data.update(SecurityGroupIds=["default"]), "`default`: no ids"),
        (lambda data: data.update(SecurityGroupIds=["sg-1"] * 6), "five at most"),
    ],
)
def test_what_mocks_take_and_aws_does_not(
    change: Callable[[dict[str, Any]], object], word: str
) -> None:
    problems = harm_template(change)
    assert len(problems) == 1
    assert word in problems[0]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"GroupName": "sg-visitors"}, "no name"),
        ({"GroupName": "x" * 256}, "no name"),
        ({"Description": "perdure's"}, "letter"),
        ({"TagSpecifications": [{"Tags": [{"Key": "x", "Value": "a;b"}]}]}, "letter"),
    ],
)
def test_security_groups_that_aws_refuses(change: dict[str, Any], word: str) -> None:
    (problem,) = aws_rules.problems("create_security_group", {**OPENING[0][2], **change})
    assert word in problem


@pytest.mark.parametrize("network", ["192.0.2.1/24", "192.0.2.1", "192.0.2.0/255.255.255.0", "x"])
def test_networks_that_aws_takes_for_others(network: str) -> None:
    values = {"GroupName": "x", "IpPermissions": [{"IpRanges": [{"CidrIp": network}]}]}
    (problem,) = aws_rules.problems("authorize_security_group_ingress", values)
    assert f"`{network}` is no block" in problem


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("CapacityRebalance", True, "two machines"),
        ("VPCZoneIdentifier", "", "no subnet"),
        ("MaxSize", 2, "one machine"),
        ("DesiredCapacity", 3, "no limits"),
        ("AutoScalingGroupName", "a:b", "no name"),
    ],
)
def test_groups_that_would_cost_or_fail(key: str, value: object, word: str) -> None:
    values = {**aws_requests.group(WISH), key: value}
    assert any(word in each for each in aws_rules.problems("create_auto_scaling_group", values))


def test_the_group_is_of_spot_machines_only_or_of_none() -> None:
    for market, share in (("spot", 0), ("on-demand", 100)):
        policy = aws_requests.group(replace(WISH, market=market))["MixedInstancesPolicy"]
        found = policy["InstancesDistribution"]
        assert found["OnDemandPercentageAboveBaseCapacity"] == share
        assert found["OnDemandBaseCapacity"] == 0


def test_the_limit_is_after_the_deadline_in_utc() -> None:
    values = aws_requests.limit(WISH)
    assert values["StartTime"] == dt.datetime(2027, 1, 15, 8, 15, tzinfo=dt.UTC)
    local = {
        **values,
        "StartTime": values["StartTime"].astimezone(dt.timezone(dt.timedelta(hours=1))),
    }
    assert aws_rules.problems("put_scheduled_update_group_action", local)


def test_the_same_wish_gives_the_same_bytes() -> None:
    words = [aws_requests.words(*call) for call in aws_requests.calls(WISH)]
    assert words == [aws_requests.words(*call) for call in aws_requests.calls(replace(WISH))]
    # Of group and limit; the template has perdure's own text in it.
    assert "\n".join(words[1:]) + "\n" == GOLDEN.read_text()


def test_names_tell_jobs_folders_and_turns_apart_and_are_names() -> None:
    odd = "a job: with ümläuts and 'quotes' " * 8
    named = {
        aws_requests.group_name(folder, job, turn)
        for folder in ("s3://lab/a", "s3://lab/b")
        for job in ("x", "x y", "x-y", odd)
        for turn in (1, 2)
    }
    assert len(named) == 16
    for name in named:
        values = {**aws_requests.template(WISH), "LaunchTemplateName": name}
        assert aws_rules.problems("create_launch_template", values) == []


def test_user_data_is_small_whole_and_has_no_secret() -> None:
    text = user_data(CONFIG.text(), "aws")
    assert len(text.encode()) < aws_rules.USER_DATA_BYTES * 3 / 4
    content = json.loads(text.removeprefix("#cloud-config\n"))
    files = {each["path"]: each["content"] for each in content["write_files"]}
    assert Config.read(files["/opt/perdure/config.json"]) == CONFIG
    compile(boot("aws"), "boot.py", "exec")
    assert files["/opt/perdure/boot.py"] == boot("aws")
    assert content["runcmd"][0][2].endswith("shutdown -h now")


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_a_machine_that_is_turned_off_tells_the_program_first(cloud: str) -> None:
    text = user_data(CONFIG.text(), cloud).removeprefix("#cloud-config\n")
    (_, _, line), *others = json.loads(text)["runcmd"]
    words = shlex.split(line)
    assert not others
    # What the system stops before it stops these: tests/clouds/test_google_machine.py sees it.
    assert "--property=After=network-online.target docker.service" in words
    assert "--property=KillMode=mixed" in words
    assert {"--wait", "--unit=perdure"} < set(words)


def test_signatures_are_those_of_aws_own_sdk() -> None:
    keys = {"AccessKeyId": "AKID", "SecretAccessKey": "s/e+c", "Token": "to/ken=="}
    now = dt.datetime(2026, 11, 21, 15, 30, 1, tzinfo=dt.UTC)
    bucket, other = "https://s3.eu-central-1.amazonaws.com/lab.data", "https://autoscaling.aws"
    for method, url, body, service in (
        ("GET", f"{bucket}/a%20b/k-1.zip", b"", "s3"),
        ("POST", f"{other}/", b"Action=X&A=1%2F2", "autoscaling"),
    ):
        found = signing.signed(method, url, body, ("eu-central-1", service), keys, now.timestamp())
        request = botocore.awsrequest.AWSRequest(method, url, data=body)
        for name in ("x-amz-content-sha256", "content-type"):
            if name in found:
                request.headers[name] = found[name]
        known = botocore.credentials.Credentials("AKID", "s/e+c", "to/ken==")
        kind = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(botocore.auth, "get_current_datetime", lambda *any: now, raising=False)
            kind(known, service, "eu-central-1").add_auth(request)
        assert found["authorization"] == request.headers["Authorization"]


def test_a_bucket_with_a_dot_is_asked_where_aws_own_sdk_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The certificate of S3 is for `*.s3.REGION.amazonaws.com`: one more dot is no host of it."""
    asked: list[str] = []
    keys = {"AccessKeyId": "AKID", "SecretAccessKey": "s/e+c"}
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(signing, "credentials", lambda: keys)
    monkeypatch.setattr(signing, "_answer", lambda url, *any: asked.append(url))
    signing.fetch("lab.data", "perdure/a b/kit.zip", "eu-central-1")
    known = botocore.session.get_session().create_client(
        "s3", "eu-central-1", aws_access_key_id="AKID", aws_secret_access_key="s/e+c"
    )
    values = {"Bucket": "lab.data", "Key": "perdure/a b/kit.zip"}
    url = known.generate_presigned_url("get_object", values)
    assert asked == [url.partition("?")[0]]


def test_a_machine_may_do_little() -> None:
    address = parse_address("s3://lab/perdure")
    statements = aws_iam.machine_policy(address)["Statement"]
    assert {each["Sid"]: each["Action"] for each in statements} == {
        "Objects": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
        "List": ["s3:ListBucket"],
        "End": ["autoscaling:UpdateAutoScalingGroup"],
    }
    assert statements[0]["Resource"] == "arn:aws:s3:::lab/perdure/*"
    assert statements[1]["Condition"] == {"StringLike": {"s3:prefix": ["perdure/*"]}}
    assert statements[2]["Condition"]["StringLike"] == {
        "autoscaling:ResourceTag/perdure": "s3://lab/perdure/*"
    }
    assert aws_requests.tag_of("s3://lab/perdure/cats-01").startswith("s3://lab/perdure/")
