"""What GCP's list of prices has of a region: Cloud Billing API, v1, ListSkusResponse.

The amounts are invented.
"""

from __future__ import annotations

from typing import Any

Values = dict[str, Any]

REGION, PLACE = "europe-west4", "Netherlands"
PATH = "/v1/services/6F81-5844-456A/skus"
SPOT, LISTED = "Preemptible", "OnDemand"


def entry(
    description: str, usage: str, dollars: float, unit: str = "h", group: str = "CPU"
) -> Values:
    """Return an entry as the list has one."""
    nanos = round(dollars * 1e9)
    amount = {"currencyCode": "USD", "units": str(nanos // 10**9), "nanos": nanos % 10**9}
    number = f"{abs(hash((description, usage))) % 10**8:08d}"
    return {
        "name": f"services/6F81-5844-456A/skus/{number}",
        "skuId": number,
        "description": description,
        "category": {
            "serviceDisplayName": "Compute Engine",
            "resourceFamily": "Compute",
            "resourceGroup": group,
            "usageType": usage,
        },
        "serviceRegions": [REGION],
        "pricingInfo": [_pricing(amount, unit)],
        "serviceProviderName": "Google",
    }


def _pricing(amount: Values, unit: str) -> Values:
    told: Values = {"usageUnit": unit, "displayQuantity": 1}
    told["tieredRates"] = [{"startUsageAmount": 0, "unitPrice": amount}]
    words = {"summary": "", "effectiveTime": "2026-11-21T00:00:00Z", "currencyConversionRate": 1}
    return {**words, "pricingExpression": told}


def parts(series: str, core: float, ram: float) -> list[Values]:
    """Return the four entries of a series; on demand it costs three times as much."""
    found = []
    for usage, before, times in ((SPOT, "Spot Preemptible ", 1), (LISTED, "", 3)):
        for what, dollars, unit in (("Core", core, "h"), ("Ram", ram, "GiBy.h")):
            words = f"{before}{series} Instance {what} running in {PLACE}"
            found.append(entry(words, usage, dollars * times, unit))
    return found


def gpu(name: str, dollars: float) -> list[Values]:
    """Return the two entries of a GPU."""
    spot = f"Nvidia {name} GPU attached to Spot Preemptible VMs running in {PLACE}"
    return [
        entry(spot, SPOT, dollars, group="GPU"),
        entry(f"Nvidia {name} GPU running in {PLACE}", LISTED, dollars * 3, group="GPU"),
    ]


#: As the list has them, others among them whose words are nearly the same.
ENTRIES = [
    *parts("E2", 0.01, 0.001),
    *parts("N1 Predefined", 0.02, 0.002),
    *parts("N2", 0.03, 0.003),
    *parts("G2", 0.04, 0.004),
    *parts("A2", 0.05, 0.005),
    *gpu("L4", 0.2),
    *gpu("Tesla A100", 1.0),
    *gpu("Tesla A100 80GB", 2.0),
    *parts("N2D AMD", 9.0, 9.0),
    *parts("N2 Custom", 9.0, 9.0),
    *parts("N2 Sole Tenancy", 9.0, 9.0),
    entry(f"Commitment v1: E2 Cpu in {PLACE} for 1 Year", "Commit1Yr", 9.0),
    entry(f"Reserved Nvidia L4 GPU in {PLACE}", LISTED, 9.0, group="GPU"),
]


def page(token: str) -> Values:
    """Return the first page of the list, or the one of its token."""
    half = len(ENTRIES) // 2
    if token:
        return {"skus": ENTRIES[half:], "nextPageToken": ""}
    return {"skus": ENTRIES[:half], "nextPageToken": "the-rest"}
