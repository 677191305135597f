"""A bucket opened on a machine of its provider, and on one that a person is logged in at."""

from __future__ import annotations

import os
from email.message import Message
from pathlib import Path

import pytest
from obstore.exceptions import BaseError

from perdure.clouds.opening import open_folder
from perdure.moving.address import parse_address
from tests.clouds.planes import Answer, Values, address, close, serve


@pytest.mark.parametrize("is_own", [True, False])
def test_a_machine_of_azure_asks_as_itself_though_it_has_az(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_own: bool
) -> None:
    """Many images have `az`, and nobody is logged in there."""
    program, ran = tmp_path / "az", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\ntouch '{ran}'\nexit 1\n")
    program.chmod(0o755)
    asked: list[str] = []

    def answer(method: str, path: str, query: Values, headers: Message, body: Values) -> Answer:
        asked.append(path)
        return 404, {}

    server = serve(answer)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    # Where the library asks for a token of the machine's identity, in place of the link-local one.
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{address(server)}/token")
    bucket = open_folder(parse_address("az://jobs/perdure"), "westeurope/lab", is_own=is_own)
    with pytest.raises(BaseError):
        bucket.get("standing.json")
    close(server)
    assert (ran.exists(), asked) == (not is_own, ["/token"] if is_own else [])
