"""What an hour of AWS's machines costs: spot as it is now, on demand as it is listed."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from typing import Any

from perdure.clouds.aws_account import Account
from perdure.clouds.provider import Price
from perdure.errors import PerdureError

# "Using the AWS Price List Query API": it is in this region for all of them.
_LISTS_REGION = "us-east-1"
_SYSTEM = "Linux/UNIX"


def prices(account: Account, types: tuple[str, ...]) -> dict[str, Price]:
    """Return what an hour of each type costs, in dollars. Asks AWS.

    Whoever may not ask is told nothing: a job needs no price.
    """
    spot, listed = _spot(account, types), _listed(account, types)
    known = [each for each in types if each in spot or each in listed]
    return {each: Price(spot.get(each), listed.get(each)) for each in known}


def _spot(account: Account, types: tuple[str, ...]) -> dict[str, float]:
    """Return the lowest price over the zones: price-capacity-optimized looks at it first."""
    found: dict[str, float] = {}
    try:
        answer = account.call(
            "ec2",
            "describe_spot_price_history",
            InstanceTypes=list(types),
            ProductDescriptions=[_SYSTEM],
            StartTime=dt.datetime.now(dt.UTC),
        )
    except PerdureError:
        return found
    for each in answer["SpotPriceHistory"]:
        name, price = str(each["InstanceType"]), float(each["SpotPrice"])
        if name in types:
            found[name] = min(price, found.get(name, price))
    return found


def _listed(account: Account, types: Iterable[str]) -> dict[str, float]:
    lists = Account(_LISTS_REGION, account.target)
    found: dict[str, float] = {}
    for each in types:
        try:
            answer = lists.call("pricing", "get_products", **listing(each, account.region))
        except PerdureError:
            return found
        hours = [price for text in answer["PriceList"] for price in hourly(json.loads(text))]
        if hours:
            found[each] = min(hours)
    return found


def listing(machine: str, region: str) -> dict[str, Any]:
    """Return the values of GetProducts for a type of machine with nothing on it. Pure."""
    fields = {
        "instanceType": machine,
        "regionCode": region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    return {
        "ServiceCode": "AmazonEC2",
        "Filters": [
            {"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fields.items()
        ],
    }


def hourly(product: dict[str, Any]) -> Iterator[float]:
    """Yield the prices of an hour on demand that a product of the list has. Pure."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            price = float(dimension.get("pricePerUnit", {}).get("USD", 0.0))
            if dimension.get("unit") == "Hrs" and price > 0:
                yield price
