"""What a user gets wrong about another machine: each verb says so once, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.command import is_one_error
from tests.e2e.chain import Chain, make_chain
from tests.engines.hosts import Laptop

#: What leads to gpu1, and knows it by a key that is not its own.
CONFIGURATION = """\

Host changed
  HostName {address}
  HostKeyAlias gpu2
Host new
  HostName {address}
  HostKeyAlias nobody-knows
  StrictHostKeyChecking ask
"""
TARGETS = """\
[targets.typo]
host = "gpu11"
[targets.stranger]
host = "nobody@gpu1"
[targets.changed]
host = "changed"
[targets.new]
host = "new"
[targets.locked]
host = "gpu1"
engine = "process"
root = "/root/no/place"
"""
VERBS = (
    ("run", "--on", "{}", "train", "20", "0"),
    ("push", "data", "--on", "{}"),
    ("pull", "results", "--on", "{}"),
    ("clean", "data", "--yes", "--on", "{}"),
    ("sync", "--on", "{}"),
    ("files", "--no-browser", "--on", "{}"),
    ("up", "--on", "{}"),
)
#: What is said of a host that is not reached, and what to do about it.
UNREACHED = {
    "typo": ("there is no host of that name", "did you mean `gpu1`?"),
    "stranger": ("`ssh nobody@gpu1`", "does not let this user in", "ssh-copy-id nobody@gpu1"),
    "changed": ("its host key is not the one that is known", "ssh-keygen -R"),
    "new": ("its host key is not known", "ssh new"),
}


@pytest.fixture
def chain(laptop: Laptop) -> Iterator[Chain]:
    with make_chain(laptop) as made:
        (made.project / "data").mkdir()
        (made.project / "data" / "one").write_text("one")
        laptop.give(made.project)
        laptop.configure(TARGETS)
        config = laptop.hosts.state / "laptop" / "ada" / ".ssh" / "config"
        before = config.read_text()
        config.write_text(before + CONFIGURATION.format(address=laptop.hosts.address("gpu1")))
        # A connection that another test left would be shared: it leads to the same address.
        made.perdure("targets", "--disconnect", "changed")
        yield made
        config.write_text(before)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("wrong", UNREACHED)
def test_a_host_that_is_not_reached_is_one_clear_error(chain: Chain, wrong: str) -> None:
    for verb in VERBS:
        ended = chain.laptop.perdure(*(word.format(wrong) for word in verb), cwd=chain.project)
        assert is_one_error(ended, 4, *UNREACHED[wrong]), verb
    checked = chain.laptop.perdure("targets", "--check", wrong, cwd=chain.project)
    assert (checked.code, UNREACHED[wrong][0] in checked.out) == (1, True)
    assert (chain.project / "data" / "one").read_text() == "one"


@pytest.mark.timeout(180)
def test_a_folder_there_that_is_not_the_users_is_one_clear_error(chain: Chain) -> None:
    for verb in VERBS:
        if verb[0] in ("pull", "clean", "up"):
            continue  # what is not there cannot be fetched or deleted; `up` wants an engine first
        ended = chain.laptop.perdure(*(word.format("locked") for word in verb), cwd=chain.project)
        assert is_one_error(ended, 5, "/root", "ermission denied", "locked"), verb
    # What is written first is another thing where there is an environment to install.
    with (chain.project / "pyproject.toml").open("a") as file:
        file.write("[dependency-groups]\nnone = []\n")
    ended = chain.laptop.perdure("run", "--on", "locked", "train", cwd=chain.project)
    assert is_one_error(ended, 5, "/environments/", "on `locked`", "`root` of `[targets.locked]`")
    assert "is not yours to write to" in chain.perdure("doctor", "locked", code=1)
