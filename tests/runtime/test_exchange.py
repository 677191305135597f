"""The words between ranks: within limits, and in our own words when the store is gone."""

from __future__ import annotations

import sys

import pytest

from perdure.runtime import exchange
from perdure.runtime.exchange import Exchange
from perdure.runtime.faults import GroupError, MisuseError
from tests.runtime.memory_store import hash_store

TOLD = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}


@pytest.fixture
def line() -> Exchange:
    return Exchange(hash_store(), 0, 3, limit_s=0.05)


def test_what_was_left_is_taken(line: Exchange) -> None:
    line.put("greeting", "ünïcode \n'\"$(x)")
    assert line.take("greeting") == "ünïcode \n'\"$(x)"
    line.remove(["greeting"])
    assert not line.has("greeting")


def test_what_does_not_come_is_named(line: Exchange) -> None:
    line.put("report/1", "here")
    with pytest.raises(GroupError, match=r"did not answer within 0 s: report/2"):
        line.take_all(line.of_others("report"))


def test_closing_ends_a_wait(line: Exchange) -> None:
    line.close()
    assert not line.appears(["never"], 1000)


def test_a_store_that_is_gone() -> None:
    class Gone:
        def set(self, key: str, value: str) -> None:
            raise RuntimeError("Broken pipe\nframe #0: a stack")

        def get(self, key: str) -> bytes:
            raise NotImplementedError

        def check(self, keys: list[str]) -> bool:
            raise NotImplementedError

        def delete_key(self, key: str) -> bool:
            raise NotImplementedError

    with pytest.raises(GroupError, match="lost each other: Broken pipe\nhint"):
        Exchange(Gone(), 0, 2).put("key", "value")


def test_the_first_rank_hosts_the_store_where_no_agent_does() -> None:
    line = exchange.connect({**TOLD, "MASTER_PORT": "0"})
    line.put("word", "said")
    assert (line.take("word"), line.rank, line.world) == ("said", 0, 2)
    assert exchange.hosts(TOLD, 0)
    assert not exchange.hosts(TOLD, 1)
    assert not exchange.hosts({**TOLD, "TORCHELASTIC_USE_AGENT_STORE": "True"}, 0)


def test_missing_variables_are_all_named() -> None:
    with pytest.raises(MisuseError, match="RANK, MASTER_ADDR, MASTER_PORT is not set"):
        exchange.connect({"WORLD_SIZE": "2"})


def test_a_variable_that_is_no_number() -> None:
    with pytest.raises(MisuseError, match=r"not a number: .*'x'"):
        exchange.connect({**TOLD, "RANK": "x"})


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.distributed", None)
    with pytest.raises(MisuseError, match=r"torch\.distributed is not there"):
        exchange.connect(TOLD)
