"""What a person may do, one permission after the other, as AWS's policy simulator says it.

SimulatePrincipalPolicy, AWS Identity and Access Management API Reference: nothing is done, and what
it says may differ from what AWS does. Standing apart from it is what has a trial run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from perdure.clouds.provider import Found
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from perdure.clouds.aws_account import Account

Values = dict[str, Any]

_ASKING = "iam:SimulatePrincipalPolicy"
# Of the bucket, which is written and read as jobs do it.
_TRIED = "s3:"
# What stands for the part of a value that a policy leaves open.
_ANY = "x"
_WHY = {"explicitDeny": "a policy denies it", "implicitDeny": "no policy allows it"}


def examine(account: Account, policy: Values, known: Collection[str]) -> Iterator[Found]:
    """Yield of each permission in a policy but the `known` ones whether it is there. Asks AWS."""
    arn = account.identity()
    if arn.endswith(":root"):
        yield Found("permissions", "ok", "all: they are the account's own credentials")
        return
    try:
        who = _principal(account, arn)
        answers = [
            account.call("iam", "simulate_principal_policy", PolicySourceArn=who, **each)
            for each in questions(policy, account.region, arn.split(":")[4], known)
        ]
    except PerdureError as error:
        told = f"not told one by one: {error.message}"
        remedy = f"whoever has `{_ASKING}` is told; a refusal names what lacks, too"
        yield Found("permissions", "warning", told, remedy)
        return
    for answer in answers:
        yield from _judged(answer, f"perdure cloud setup {account.target} --explain")


def questions(
    policy: Values, region: str, number: str, known: Collection[str] = ()
) -> tuple[Values, ...]:
    """Return what the simulator is asked, without whose permissions they are. Pure.

    `number` is the account's.
    """
    found = []
    for each in policy["Statement"]:
        asked_of = (action for action in each["Action"] if not action.startswith(_TRIED))
        actions = [action for action in asked_of if action not in (*known, _ASKING)]
        if not actions:
            continue
        context = {
            name: value
            for condition in each.get("Condition", {}).values()
            for name, value in condition.items()
        }
        asked: Values = {"ActionNames": actions}
        if each["Resource"] != "*":
            asked["ResourceArns"] = [_filled(each["Resource"], region, number)]
        if context:
            asked["ContextEntries"] = [_entry(*pair) for pair in context.items()]
        found.append(asked)
    return tuple(found)


def _filled(arn: str, region: str, number: str) -> str:
    """Return a resource without what is open in it: of IAM it has no region, of others ours."""
    parts = arn.split(":", 5)
    parts[3] = region if parts[3] == "*" else parts[3]
    parts[4] = number if parts[4] == "*" else parts[4]
    return ":".join(parts).replace("*", _ANY)


def _entry(name: str, value: str | list[str]) -> Values:
    several = value if isinstance(value, list) else [value]
    values = [each.replace("*", _ANY) for each in several]
    return {"ContextKeyName": name, "ContextKeyType": "string", "ContextKeyValues": values[:1]}


def _principal(account: Account, arn: str) -> str:
    """Return the user or role that credentials are of: of a role's session its role."""
    head, _, named = arn.partition(":assumed-role/")
    if not named:
        return arn
    role = named.partition("/")[0]
    try:
        # The session does not tell the role's path.
        return str(account.call("iam", "get_role", RoleName=role)["Role"]["Arn"])
    except PerdureError:
        return f"{head.replace(':sts:', ':iam:')}:role/{role}"


def _judged(answer: Mapping[str, Any], remedy: str) -> Iterator[Found]:
    for each in answer["EvaluationResults"]:
        name, said = str(each["EvalActionName"]), str(each["EvalDecision"])
        if said == "allowed":
            yield Found(name, "ok", "allowed")
        elif not each.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True):
            yield Found(name, "warning", "denied: your organization does not allow it", remedy)
        else:
            yield Found(name, "warning", f"denied: {_WHY.get(said, said)}", remedy)
