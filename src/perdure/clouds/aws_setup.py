"""Bucket, role and instance profile: made once before the first job, or deleted again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from perdure.clouds import aws_iam, aws_network
from perdure.clouds import aws_requests as requests
from perdure.clouds.aws_account import Account
from perdure.clouds.aws_requests import Values
from perdure.model.settings import CloudSettings
from perdure.moving.address import parse_address

Calls = tuple[tuple[str, str, Values], ...]


def setup_calls(wanted: CloudSettings) -> Calls:
    """Return the calls that make them. Pure."""
    usual = aws_iam.setup_calls(parse_address(wanted.bucket), wanted.region, wanted.profile)
    return (*usual, *aws_network.setup_calls(wanted))


def teardown_calls(wanted: CloudSettings) -> Calls:
    """Return the calls that undo what is this bucket's, but for itself: jobs are in it. Pure."""
    usual = aws_iam.teardown_calls(parse_address(wanted.bucket), wanted.profile)
    return (*usual, *aws_network.teardown_calls(wanted))


def person_policy(wanted: CloudSettings) -> Values:
    """Return what whoever submits jobs has to be allowed. Pure."""
    more = aws_network.LOOKING if wanted.opened_to else ()
    return aws_iam.person_policy(parse_address(wanted.bucket), wanted.profile, more)


@dataclass(frozen=True, slots=True)
class ByCalls:
    """What an account of AWS needs once; see `Preparation`."""

    wanted: CloudSettings
    account: Account

    def setup_text(self) -> str:
        """Return the calls, and what a person may need. Pure."""
        asked = "# what whoever submits jobs has to be allowed:"
        lines = [requests.words(*call) for call in setup_calls(self.wanted)]
        if self.wanted.opened_to:
            lines.append(aws_network.closing_text(self.wanted))
        policy = json.dumps(person_policy(self.wanted), indent=1)
        return "\n".join([*lines, "", asked, policy])

    def teardown_text(self) -> str:
        """Return the calls that undo it. Pure."""
        role = self.wanted.profile
        last = f"# once `aws iam list-role-policies --role-name {role}` names none:"
        its_own = (requests.words(*call) for call in teardown_calls(self.wanted))
        shared = (requests.words(*call) for call in aws_iam.role_deletion(role))
        return "\n".join([*its_own, "", last, *shared])

    def set_up(self) -> Iterator[str]:
        """Yield what was made, and what was there already. Asks AWS."""
        for service, operation, values in setup_calls(self.wanted):
            made = self.account.make(service, operation, values)
            yield f"{operation}: {'done' if made else 'was there already'}"
        yield from self._unmake(aws_network.closing_calls(self.account, self.wanted))

    def tear_down(self) -> Iterator[str]:
        """Yield what was deleted, and what was not there or is another bucket's. Asks AWS."""
        yield from self._unmake(teardown_calls(self.wanted))
        role = self.wanted.profile
        if left := self.account.policies(role):
            yield f"the role `{role}` stays: it has other policies: {', '.join(left)}"
            return
        yield from self._unmake(aws_iam.role_deletion(role))

    def _unmake(self, calls: Calls) -> Iterator[str]:
        for service, operation, values in calls:
            done = self.account.unmake(service, operation, values)
            yield f"{operation}: {'done' if done else 'there was none'}"
