"""The metadata service that the tests' machines ask is as strict as EC2's own."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from perdure.clouds.side import signing
from tests.clouds.imds import TOKEN, TTL, Metadata, serve_on_loopback

WORDS = {"instance-id": "i-1", "placement/region": "eu-central-1", "spot/instance-action": None}


@pytest.fixture
def url() -> Iterator[str]:
    words = {name: (lambda each=each: each) for name, each in WORDS.items()}
    server, url = serve_on_loopback(Metadata({**words}, "#cloud-config\n{}\n"))
    yield url
    server.shutdown()
    server.server_close()


def asked(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    try:
        with urlopen(Request(f"{url}/{path}", headers=headers, method=method)) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, ""


def test_a_token_is_asked_for_and_wanted(url: str) -> None:
    for ttl in ("0", "21601", "x"):
        assert asked(url, "latest/api/token", "PUT", **{TTL: ttl})[0] == 400
    assert asked(url, "latest/api/token", "PUT")[0] == 400
    proxied = {TTL: "60", "X-Forwarded-For": "10.0.0.1"}
    assert asked(url, "latest/api/token", "PUT", **proxied)[0] == 403
    status, token = asked(url, "latest/api/token", "PUT", **{TTL: "60"})
    assert status == 200
    assert asked(url, "latest/meta-data/instance-id")[0] == 401
    assert asked(url, "latest/meta-data/instance-id", **{TOKEN: "another"})[0] == 401
    assert asked(url, "latest/meta-data/instance-id", **{TOKEN: token}) == (200, "i-1")


def test_it_is_a_tree_that_has_what_there_is_now(url: str) -> None:
    _, token = asked(url, "latest/api/token", "PUT", **{TTL: "60"})

    def told(path: str) -> tuple[int, str]:
        return asked(url, path, **{TOKEN: token})

    assert told("2021-03-23/meta-data/") == (200, "instance-id\nplacement/")
    assert told("latest/meta-data/placement/") == (200, "region")
    assert told("latest/") == (200, "meta-data/\ndynamic/\nuser-data")
    assert told("latest/user-data") == (200, "#cloud-config\n{}\n")
    assert told("latest/meta-data/spot/instance-action")[0] == 404
    assert told("1999-01-01/meta-data/instance-id")[0] == 404


def test_perdures_own_questions_are_answered(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
    assert signing.metadata("instance-id") == "i-1"
