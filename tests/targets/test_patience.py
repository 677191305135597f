from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from perdure.errors import HostUnreachable, UsageError
from perdure.hosts.host import Host
from perdure.targets.patience import patiently


class Flaky:
    """A host that does not answer the first times it is asked."""

    name = "gpu1"

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def call(self, function: Callable[..., Any], *arguments: object) -> object:
        self.failures -= 1
        if self.failures >= 0:
            raise HostUnreachable("it does not answer")
        return function(*arguments)


def test_a_host_is_waited_for_and_told_of_once() -> None:
    host, told, paused = Flaky(4), list[str](), list[float]()
    found = patiently(
        cast(Host, host),
        lambda message, **_: told.append(message),
        lambda: host.call(str, 7),
        pause=paused.append,
    )
    assert found == "7"
    assert told == ["`gpu1` does not answer; what runs there goes on", "`gpu1` answers again"]
    assert len(paused) == 3


def test_another_error_is_nothing_to_wait_for() -> None:
    def refuse() -> None:
        raise UsageError("no")

    with pytest.raises(UsageError):
        patiently(cast(Host, Flaky(9)), lambda message, **_: None, refuse)
