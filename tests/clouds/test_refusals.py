"""What a provider refuses, in our words: one error, what failed, and what would mend it."""

from __future__ import annotations

from email.message import Message
from typing import Any

import pytest
from google.auth.exceptions import RefreshError

from perdure.clouds import aws_account, gcp_credentials
from perdure.clouds.opening import open_folder
from perdure.clouds.rest import Call, Exists, Gone, Rest, explained, message
from perdure.errors import EnvironmentFailed, HostUnreachable, PerdureError, UsageError
from perdure.moving.address import Address
from perdure.moving.bucket import asking
from tests.clouds.planes import Answer, address, close, serve

Values = dict[str, Any]


@pytest.mark.parametrize(
    ("code", "said", "kind", "words", "hint"),
    [
        ("AccessDenied", "no", EnvironmentFailed, "`RunInstances`: permission denied", "setup aws"),
        ("UnauthorizedOperation", "no", EnvironmentFailed, "permission denied", "--explain"),
        (
            "AccessDenied",
            "User: arn:aws:iam::1:user/ada is not authorized to perform: iam:PassRole on resource",
            EnvironmentFailed,
            "`iam:PassRole`: permission denied",
            "setup aws --explain",
        ),
        ("BucketAlreadyExists", "x", UsageError, "belongs to another account", "another name"),
        ("RequestExpired", "old", EnvironmentFailed, "the signature", "clock"),
        ("SignatureDoesNotMatch", "x", EnvironmentFailed, "the signature", "timedatectl"),
        ("InvalidClientTokenId", "x", EnvironmentFailed, "know the credentials", "aws configure"),
        ("ExpiredToken", "x", EnvironmentFailed, "know the credentials", "aws configure"),
        ("VcpuLimitExceeded", "x", EnvironmentFailed, "a quota is reached", "doctor aws"),
        ("ResourceLimitExceeded", "x", EnvironmentFailed, "a quota is reached", "doctor aws"),
        ("Unsupported", "not in your zone", UsageError, "not in your zone", ""),
        ("InvalidPermission.Duplicate", "x", aws_account._Exists, "x", ""),
        ("InvalidGroup.NotFound", "x", aws_account._Gone, "x", ""),
        ("DependencyViolation", "x", EnvironmentFailed, "machines of jobs", "teardown aws"),
    ],
)
def test_aws(code: str, said: str, kind: type[PerdureError], words: str, hint: str) -> None:
    error = aws_account._explained("aws", "run_instances", code, said)
    assert type(error) is kind
    assert words in error.message
    assert hint in str(error.hint)


@pytest.mark.parametrize(
    ("status", "said", "kind", "words"),
    [
        (409, "The resource already exists", Exists, "exists"),
        (404, "", Gone, "there is no"),
        (401, "expired", EnvironmentFailed, "does not take the credentials"),
        (403, "Required 'x' permission", EnvironmentFailed, "permission denied: Required 'x'"),
        (403, "Quota 'CPUS' exceeded", EnvironmentFailed, "a quota is reached"),
        (409, "OperationNotAllowed: exceeding quota", EnvironmentFailed, "a quota is reached"),
        (400, "Invalid value for field", UsageError, "Invalid value for field"),
        (503, "", HostUnreachable, "does not answer"),
    ],
)
def test_gcp_and_azure(status: int, said: str, kind: type[PerdureError], words: str) -> None:
    error = explained(("GCP", "gcp"), "POST x", status, said)
    assert type(error) is kind
    assert words in error.message


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "RequestExpired"])
def test_a_wrong_clock_is_what_a_bucket_says(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As S3 answers: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""
    said = "The difference between the request time and the current time is too large."
    xml = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{said}</Message></Error>"
    server = serve(lambda *_: (403, xml))
    bucket = Address("s3", "lab", "cats")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address(server)}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "a-secret")
    try:
        opened = open_folder(bucket, "eu-central-1")
        with (
            pytest.raises(EnvironmentFailed, match="not take the signature") as error,
            asking(bucket, "read"),
        ):
            opened.names("kit")
    finally:
        close(server)
    assert "this machine's clock" in str(error.value.hint)
    assert "a-secret" not in str(error.value)


def test_a_wrong_clock_is_what_google_says() -> None:
    """As its token server answers to a service account's key."""

    class Late:
        valid = False

        def refresh(self, request: object) -> None:
            said = "invalid_grant: Invalid JWT: Token must be a short-lived token (60 minutes) and "
            raise RefreshError(said + "in a reasonable timeframe.")

    with pytest.raises(EnvironmentFailed, match="RefreshError") as error:
        gcp_credentials.refreshed(Late())
    assert "this machine's clock" in str(error.value.hint)


def test_what_is_said_is_one_short_line() -> None:
    assert message(b'{"error": {"message": "two\\n  lines"}}') == "two lines"
    assert message(b'{"error": "plain"}') == "plain"
    assert message(b"<html>") == message(b"[]") == message(b"{}") == ""
    assert len(message(b'{"error": {"message": "' + b"x" * 5000 + b'"}}')) == 300


def test_who_is_busy_is_asked_again_and_garbage_is_no_answer() -> None:
    answers: list[Answer] = [(503, {}), (429, {}), (200, {"fine": True}), (200, "<html>")]
    asked = []

    def answer(method: str, path: str, query: Values, headers: Message, body: Values) -> Answer:
        asked.append((method, path, headers["Authorization"]))
        return answers.pop(0)

    server = serve(answer)
    rest = Rest(f"http://{address(server)}/", "GCP", "gcp", lambda: "a-token", lambda seconds: None)
    try:
        assert rest.send(Call("GET", "x")) == {"fine": True}
        assert asked == [("GET", "/x", "Bearer a-token")] * 3
        with pytest.raises(HostUnreachable, match="is not the provider"):
            rest.send(Call("GET", "x"))
    finally:
        close(server)
    with pytest.raises(HostUnreachable, match="does not answer"):
        rest.send(Call("GET", "x"))


def test_a_list_of_several_pages_is_one() -> None:
    def answer(method: str, path: str, query: Values, headers: Message, body: Values) -> Answer:
        if "pageToken" not in query:
            return 200, {"items": [{"name": "a"}], "nextPageToken": "2"}
        return 200, {"items": {"zones/z": {"name": "b"}}}

    server = serve(answer)
    rest = Rest(f"http://{address(server)}/", "GCP", "gcp", lambda: "a-token")
    try:
        found = rest.all(Call("GET", "x", None, {"filter": "y"}), "items")
    finally:
        close(server)
    assert found == [{"name": "a"}, {"scope": "zones/z", "name": "b"}]
