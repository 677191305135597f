"""Services on a host without a Python: its engine lends them one, which outlives the link."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.cli.command import Ended
from tests.e2e.house import House, make_house
from tests.e2e.test_services import ADDRESS, ASK
from tests.engines.hosts import Laptop

LIMIT_S = 1800
pytestmark = [pytest.mark.install, pytest.mark.timeout(LIMIT_S)]


@pytest.fixture
def house(laptop: Laptop) -> Iterator[House]:
    with make_house(laptop, "bare") as made:
        yield made
        made.perdure("services", "--stop", "all")


def ask(house: House, address: str, *token: str) -> tuple[int, str]:
    """Return the status and the text of an answer to somebody at the laptop."""
    done = house.hosts.run("laptop", "/usr/bin/python3", "-c", ASK, address, *token, user="ada")
    status, _, text = done.out.partition(" ")
    return int(status), text


def opened(ended: Ended) -> tuple[str, str]:
    """Return the address of a service without its token, and the token."""
    found = ADDRESS.fullmatch(ended.out.strip())
    assert found, ended
    return f"http://127.0.0.1:{found[1]}{found[2]}", found[3]


def lent(house: House) -> list[str]:
    """Return the containers that lend a Python there."""
    return house.docker("ps", "--quiet", "--filter", "label=perdure.role=side").split()


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("files", "results"),
        pytest.param("tensorboard", "TensorBoard", marks=pytest.mark.long),
        pytest.param("jupyter", "Jupyter", marks=pytest.mark.long),
    ],
)
def test_a_service_on_a_host_without_python(house: House, name: str, page: str) -> None:
    assert house.hosts.run("bare", "python3", "--version").code == 127
    assert house.perdure("run", "--on", "gpubox", "--name", "one", "train", "20").code == 0
    address, token = opened(house.perdure(name, "--on", "gpubox", "--no-browser"))
    assert ask(house, address)[0] == 401
    status, text = ask(house, address, token)
    assert status == 200, text
    assert re.search(page, text), text
    # The Python that was lent for the connection goes with it; the service's own does not.
    house.perdure("targets", "--disconnect", "gpubox")
    house.until(lambda: len(lent(house)) == 1)
    house.until(lambda: ask(house, address, token)[0] == 200)
    (found,) = house.perdure("services", "--json").out.splitlines()
    assert '"running"' in found
    house.perdure(name, "--on", "gpubox", "--stop")
    house.perdure("targets", "--disconnect", "gpubox")
    house.until(lambda: lent(house) == [])
    assert house.owners() == {1000}
