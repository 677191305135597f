"""What GCP's machines cost: parts of a list in its documented form, and what is no price."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import googleapiclient
import jsonschema
import pytest

from perdure.clouds import gcp_prices
from perdure.clouds.provider import Price
from perdure.clouds.rest import Rest
from perdure.errors import EnvironmentFailed
from tests.clouds.google_prices import ENTRIES, PATH, REGION, SPOT, entry, page, parts
from tests.clouds.planes import Answer, Values, address, close, serve
from tests.clouds.test_gcp_requests import strict

DOCUMENT = Path(googleapiclient.__file__).parent / "discovery_cache/documents/cloudbilling.v1.json"
A_DAY_S = 86400.0


def machine(name: str, cpus: int, gib: float, **more: object) -> Values:
    return {"name": name, "guestCpus": cpus, "memoryMb": int(gib * 1024), **more}


def guests(kind: str, count: int) -> dict[str, list[Values]]:
    return {"accelerators": [{"guestAcceleratorType": kind, "guestAcceleratorCount": count}]}


MACHINES = {
    "e2-standard-4": (machine("e2-standard-4", 4, 16), 0.056),
    "n1-highmem-2": (machine("n1-highmem-2", 2, 13), 0.066),
    "n2-standard-8": (machine("n2-standard-8", 8, 32), 0.336),
    "g2-standard-4": (machine("g2-standard-4", 4, 16, **guests("nvidia-l4", 1)), 0.424),
    "a2-highgpu-2g": (machine("a2-highgpu-2g", 24, 170, **guests("nvidia-tesla-a100", 2)), 4.05),
    "a2-ultragpu-1g": (machine("a2-ultragpu-1g", 12, 170, **guests("nvidia-a100-80gb", 1)), 3.45),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_costs_what_its_parts_cost(name: str) -> None:
    values, dollars = MACHINES[name]
    known = gcp_prices.of_entries(ENTRIES, REGION)
    found = gcp_prices.price_of(gcp_prices.shape_of(values), known)
    assert found == pytest.approx((dollars, 3 * dollars))


@pytest.mark.parametrize(
    "values",
    [
        machine("e2-micro", 2, 1, isSharedCpu=True),
        machine("n2-custom-4-8192", 4, 8),
        machine("c3-standard-4", 4, 16),
        machine("a2-highgpu-1g", 12, 85, **guests("nvidia-unheard-of", 1)),
        {"name": "e2-standard-4", "guestCpus": "many"},
        {},
    ],
)
def test_a_machine_with_other_parts_has_no_price(values: Values) -> None:
    known = gcp_prices.of_entries(ENTRIES, REGION)
    assert gcp_prices.price_of(gcp_prices.shape_of(values), known) == Price(None, None)


def changed(path: str, value: Any) -> Values:  # noqa: ANN401
    """Return the first entry with another value at a path."""
    found = copy.deepcopy(ENTRIES[0])
    *way, last = path.split(".")
    at: Any = found
    for name in way:
        at = at[int(name)] if name.isdigit() else at[name]
    at[last] = value
    return found


_PRICING = "pricingInfo.0.pricingExpression"
_PRICE = f"{_PRICING}.tieredRates.0.unitPrice"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("serviceRegions", ["us-east1"]),
        ("category.resourceFamily", "Storage"),
        ("category.usageType", "OnDemand"),
        ("category.usageType", "Commit1Yr"),
        ("pricingInfo", []),
        (f"{_PRICING}.usageUnit", "mo"),
        (f"{_PRICING}.tieredRates", []),
        (f"{_PRICING}.tieredRates", [{"startUsageAmount": 0}] * 2),
        (f"{_PRICING}.tieredRates.0.startUsageAmount", 20),
        (f"{_PRICE}.currencyCode", "EUR"),
        (f"{_PRICE}.units", "-1"),
        (f"{_PRICE}.units", "much"),
        (f"{_PRICE}.nanos", 10**9),
        (f"{_PRICE}.nanos", 0),
        ("description", "Spot Preemptible E2 Instance Core"),
        ("description", "A Spot Preemptible E2 Instance Core running in Netherlands"),
    ],
)
def test_an_entry_that_is_not_as_documented_counts_for_nothing(path: str, value: object) -> None:
    assert gcp_prices.of_entries([ENTRIES[0]], REGION) == {("E2 Core", SPOT): 0.01}
    assert gcp_prices.of_entries([changed(path, value)], REGION) == {}


def test_a_part_at_two_prices_has_none() -> None:
    twice = [*parts("E2", 0.01, 0.001), entry(ENTRIES[0]["description"], SPOT, 0.02)]
    known = gcp_prices.of_entries(twice, REGION)
    found = gcp_prices.price_of(gcp_prices.shape_of(MACHINES["e2-standard-4"][0]), known)
    assert found == pytest.approx((None, 0.168))


def test_what_is_asked_and_answered_is_as_google_documents_it() -> None:
    document = json.loads(DOCUMENT.read_text())
    call = gcp_prices.listing()
    method = document["resources"]["services"]["resources"]["skus"]["methods"]["list"]
    assert call.path == f"v1/{_parent(call.path)}/skus"
    assert (call.method, method["path"]) == (method["httpMethod"], "v1/{+parent}/skus")
    assert call.query.keys() <= method["parameters"].keys()
    definitions = {name: strict(each) for name, each in document["schemas"].items()}
    schema = {"$ref": "#/definitions/ListSkusResponse", "definitions": definitions}
    for token in ("", "the-rest"):
        assert list(jsonschema.Draft7Validator(schema).iter_errors(page(token))) == []


def _parent(path: str) -> str:
    return path.removeprefix("v1/").removesuffix("/skus")


class List:
    """The list as a server has it, and who asked for it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.refusal: Answer | None = None
        self.server = serve(self.answer)

    def answer(
        self, method: str, path: str, query: Values, headers: Message, body: Values
    ) -> Answer:
        assert (method, path, query["currencyCode"], body) == ("GET", PATH, "USD", {})
        self.asked.append((query.get("pageToken", ""), headers["X-Goog-User-Project"]))
        return self.refusal or (200, page(query.get("pageToken", "")))

    def rest(self) -> Rest:
        more = {"X-Goog-User-Project": "mine"}
        return Rest(f"http://{address(self.server)}/", "GCP", "cloud", lambda: "a", more=more)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[List]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a cache"))
    found = List()
    yield found
    close(found.server)


def test_the_list_is_read_once_a_day(listed: List, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = {"e2-standard-4": MACHINES["e2-standard-4"][0], "x9-huge": {"name": "x9-huge"}}

    def told(now: float) -> dict[str, Price]:
        return gcp_prices.prices(listed.rest(), machines, REGION, lambda: now)

    first = told(0.0)
    assert first["e2-standard-4"] == pytest.approx((0.056, 0.168))
    assert first["x9-huge"] == Price(None, None)
    both = [("", "mine"), ("the-rest", "mine")]
    assert listed.asked == both
    assert told(A_DAY_S - 1) == first
    assert listed.asked == both
    assert told(A_DAY_S + 1) == first
    assert listed.asked == both * 2
    # Of another server, or torn: neither is what this one would tell.
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING", "http://127.0.0.1:9")
    assert told(A_DAY_S + 1) == first
    assert listed.asked == both * 3


def test_who_may_not_ask_is_told_so(listed: List) -> None:
    said = "Cloud Billing API has not been used in project 1 before or it is disabled"
    listed.refusal = (403, {"error": {"code": 403, "message": said}})
    with pytest.raises(EnvironmentFailed, match="has not been used"):
        gcp_prices.prices(listed.rest(), {}, REGION)
