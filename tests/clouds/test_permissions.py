"""A person's permissions on AWS, one by one: against a simulator on loopback that reads policies.

It answers as SimulatePrincipalPolicy of the IAM API Reference has it, of the operators and of what
a policy of ours has; a context key that a condition wants and nobody gave is a denial.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from perdure.clouds import aws_iam, aws_permissions
from perdure.clouds.aws_account import Account
from perdure.clouds.provider import Found
from perdure.moving.address import Address
from tests.clouds.planes import Answer, address, close, serve_forms

Values = dict[str, Any]

POLICY = aws_iam.person_policy(Address("s3", "lab", "cats"))
USER, ROLE = "arn:aws:iam::123456789012:user/lab/ada", "arn:aws:iam::123456789012:role/of/ada"
SESSION = "arn:aws:sts::123456789012:assumed-role/ada/today"
_ANSWER = (
    '<{name}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><{name}Result>{result}'
    "</{name}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{name}Response>"
)
_DENIED = (
    "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: x is not "
    "authorized to perform: iam:{name} on resource: x</Message></Error></ErrorResponse>"
)


def listed(form: dict[str, str], name: str) -> list[str]:
    found = (key for key in form if re.fullmatch(rf"{re.escape(name)}\.member\.\d+", key))
    return [form[key] for key in sorted(found, key=lambda key: int(key.rpartition(".")[2]))]


@dataclass(slots=True)
class Simulator:
    """IAM and STS for one person, whose policy is `statements`; `refused`: calls not allowed."""

    arn: str = USER
    statements: list[Values] = field(default_factory=lambda: [*POLICY["Statement"]])
    refused: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def answer(self, form: dict[str, str]) -> Answer:
        name = form["Action"]
        if name in self.refused:
            return 403, _DENIED.format(name=name)
        if name == "GetCallerIdentity":
            result = f"<Arn>{self.arn}</Arn><UserId>A</UserId><Account>123456789012</Account>"
        elif name == "GetRole":
            assert form["RoleName"] == "ada"
            times = "<CreateDate>2026-01-01T00:00:00Z</CreateDate><Path>/of/</Path>"
            ids = f"<RoleName>ada</RoleName><RoleId>A</RoleId><Arn>{ROLE}</Arn>"
            result = f"<Role>{times}{ids}</Role>"
        else:
            result = self.simulated(form)
        return 200, _ANSWER.format(name=name, result=result)

    def simulated(self, form: dict[str, str]) -> str:
        assert form["PolicySourceArn"] == (USER if self.arn == USER else ROLE)
        entries = "ContextEntries.member.{}.ContextKeyName"
        count = next(n for n in range(1, 99) if entries.format(n) not in form)
        context = {
            form[entries.format(n)]: listed(form, f"ContextEntries.member.{n}.ContextKeyValues")
            for n in range(1, count)
        }
        members = []
        for action in listed(form, "ActionNames"):
            self.asked.append(action)
            (resource,) = listed(form, "ResourceArns") or ["*"]
            members.append(
                f"<member><EvalActionName>{action}</EvalActionName><EvalResourceName>{resource}"
                f"</EvalResourceName><EvalDecision>{self.judged(action, resource, context)}"
                "</EvalDecision><MatchedStatements/><MissingContextValues/></member>"
            )
        results = f"<EvaluationResults>{''.join(members)}</EvaluationResults>"
        return f"{results}<IsTruncated>false</IsTruncated>"

    def judged(self, action: str, resource: str, context: dict[str, list[str]]) -> str:
        effects = {
            each["Effect"]
            for each in self.statements
            if any(fnmatchcase(action, one) for one in each["Action"])
            and fnmatchcase(resource, each["Resource"])
            and all(
                any(fnmatchcase(given, wanted) for given in context.get(key, ()))
                for condition in each.get("Condition", {}).values()
                for key, value in condition.items()
                for wanted in [value if isinstance(value, str) else value[0]]
            )
        }
        if "Deny" in effects:
            return "explicitDeny"
        return "allowed" if "Allow" in effects else "implicitDeny"


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Simulator]:
    made = Simulator()
    server = serve_forms(made.answer)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address(server)}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "a-secret")
    yield made
    close(server)


def found(*known: str) -> dict[str, Found]:
    account = Account("eu-central-1")
    return {each.name: each for each in aws_permissions.examine(account, POLICY, known)}


def test_whoever_has_the_least_that_is_printed_lacks_nothing(simulator: Simulator) -> None:
    said = found("ec2:RunInstances")
    assert {each.verdict for each in said.values()} == {"ok"}
    every = {action for each in POLICY["Statement"] for action in each["Action"]}
    beside = {action for action in every if action.startswith("s3:")}
    assert every - beside - said.keys() == {"ec2:RunInstances", "iam:SimulatePrincipalPolicy"}


def test_each_that_lacks_is_named(simulator: Simulator) -> None:
    simulator.statements = [each for each in simulator.statements if each["Sid"] != "OwnGroups"]
    never = {"Sid": "No", "Effect": "Deny", "Action": ["iam:PassRole"], "Resource": "*"}
    simulator.statements.append(never)
    said = {name: each for name, each in found().items() if each.verdict != "ok"}
    assert said.keys() == {
        "autoscaling:DeleteAutoScalingGroup",
        "autoscaling:PutScheduledUpdateGroupAction",
        "autoscaling:UpdateAutoScalingGroup",
        "iam:PassRole",
    }
    assert said["iam:PassRole"].told == "denied: a policy denies it"
    assert said["autoscaling:UpdateAutoScalingGroup"].told == "denied: no policy allows it"
    assert {each.remedy for each in said.values()} == {"perdure cloud setup aws --explain"}


@pytest.mark.parametrize("refused", [(), ("GetRole",)])
def test_of_a_roles_session_the_role_is_asked_about(
    simulator: Simulator, refused: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.arn, simulator.refused = SESSION, refused
    if refused:
        # Then its path is not known.
        monkeypatch.setattr("tests.clouds.test_permissions.ROLE", ROLE.replace("/of/", "/"))
    assert {each.verdict for each in found().values()} == {"ok"}


def test_who_may_not_ask_is_told_so(simulator: Simulator) -> None:
    simulator.refused = ("SimulatePrincipalPolicy",)
    (said,) = found().values()
    assert (said.name, said.verdict) == ("permissions", "warning")
    assert "`iam:SimulatePrincipalPolicy`: permission denied" in said.told


def test_the_accounts_own_credentials_may_do_all(simulator: Simulator) -> None:
    simulator.arn = "arn:aws:iam::123456789012:root"
    (said,) = found().values()
    assert (said.name, said.verdict, simulator.asked) == ("permissions", "ok", [])
