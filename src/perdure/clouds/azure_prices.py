"""What an hour of Azure's machines costs: its public list, which asks nobody who they are."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from perdure.clouds.provider import Price

# "Azure Retail Prices REST API".
PRICES = "https://prices.azure.com/api/retail/prices"
_ANSWER_S = 10.0


def prices(types: Iterable[str], region: str, base: str = PRICES) -> dict[str, Price]:
    """Return what an hour of each size costs, in dollars. A list that is silent tells nothing."""
    found: dict[str, Price] = {}
    for each in types:
        wanted = (
            f"serviceName eq 'Virtual Machines' and armRegionName eq '{region}' and "
            f"armSkuName eq '{each}' and priceType eq 'Consumption'"
        )
        url = f"{base}?$filter={quote(wanted)}"
        try:
            # The provider's own list, or that of tests.
            with urllib.request.urlopen(url, timeout=_ANSWER_S) as reply:  # noqa: S310
                items = json.loads(reply.read())["Items"]
        except (OSError, ValueError, KeyError):
            return found
        price = price_of(items)
        if price != Price(None, None):
            found[each] = price
    return found


def price_of(items: list[dict[str, Any]]) -> Price:
    """Return the prices among the entries of a size: Linux, spot and on demand. Pure."""
    spot: list[float] = []
    listed: list[float] = []
    for each in items:
        name = str(each.get("skuName", ""))
        if "Windows" in str(each.get("productName", "")) or each.get("unitOfMeasure") != "1 Hour":
            continue
        if name.endswith("Spot"):
            spot.append(float(each["retailPrice"]))
        elif not name.endswith("Low Priority"):
            listed.append(float(each["retailPrice"]))
    return Price(min(spot, default=None), min(listed, default=None))
