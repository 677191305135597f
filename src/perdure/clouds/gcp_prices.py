"""What an hour of GCP's machines costs: of its processors, its memory and its GPUs, added up.

GCP lists no machines, but their parts: Cloud Billing API, v1, services.skus.list. Which part an
entry is of, only its description says; one that is not exactly as expected counts for nothing, and
a machine of which one part is not listed, or at two prices, has no price. Disks, local SSDs and
addresses are not in it.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from perdure.clouds.provider import Price
from perdure.clouds.rest import Call, Rest
from perdure.errors import HostUnreachable

Values = dict[str, Any]

BILLING = "https://cloudbilling.googleapis.com/"
# "Manage gcloud CLI properties", api_endpoint_overrides.
_OTHER_BILLING = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBILLING"
# Compute Engine in "Google Cloud SKUs".
_SERVICE = "services/6F81-5844-456A"
_PAGE = "5000"
# The first words of the types of a series, and what its parts are called in descriptions.
SERIES: Mapping[str, str] = MappingProxyType(
    {"a2": "A2", "e2": "E2", "g2": "G2", "n1": "N1 Predefined", "n2": "N2"}
)
GPUS: Mapping[str, str] = MappingProxyType(
    {
        "nvidia-l4": "L4",
        "nvidia-tesla-a100": "Tesla A100",
        "nvidia-a100-80gb": "Tesla A100 80GB",
    }
)
_PLACE = r"running in \S.*"
_SERIES, _GPUS = "|".join(SERIES.values()), "|".join(GPUS.values())
_PART = re.compile(rf"(Spot Preemptible )?({_SERIES}) Instance (Core|Ram) {_PLACE}")
_GPU = re.compile(rf"Nvidia ({_GPUS}) GPU (attached to Spot Preemptible VMs )?{_PLACE}")
# In what each is told: "GiBy.h" is a gibibyte for an hour.
_UNITS: Mapping[str, str] = MappingProxyType({"Core": "h", "Ram": "GiBy.h", "GPU": "h"})
_SPOT, _LISTED = "Preemptible", "OnDemand"
# "Spot VMs", pricing: they change once a day at most. The list is tens of megabytes.
_FRESH_S = 86400.0
_MOST_S = 60.0

#: What a part is, `E2 Core` or `L4 GPU`, and how it is paid for.
Part = tuple[str, str]
#: What a machine is made of: how many of each part; memory in GiB.
Shape = Mapping[str, float]


def base() -> str:
    """Return where prices are asked for, as `gcloud` has it."""
    return f"{os.environ.get(_OTHER_BILLING, BILLING).rstrip('/')}/"


def listing() -> Call:
    """Return the call for the first page of what Compute Engine sells, in dollars. Pure."""
    query = {"currencyCode": "USD", "pageSize": _PAGE}
    return Call("GET", f"v1/{_SERVICE}/skus", None, query)


def prices(
    rest: Rest, machines: Mapping[str, Values], region: str, now: Callable[[], float] = time.time
) -> dict[str, Price]:
    """Return what an hour of each machine costs, in dollars; both None: the list does not tell.

    `machines` are as machineTypes has them. The list is asked for once a day; what counts of it is
    kept in the user's cache.

    Raises:
        EnvironmentFailed: it may not be read.
        HostUnreachable: no answer, or it takes longer than a minute.
    """
    known = _kept(region, now())
    if known is None:
        known = of_entries(_entries(rest), region)
        _keep(region, known, now())
    return {name: price_of(shape_of(each), known) for name, each in machines.items()}


def shape_of(machine: Values) -> Shape | None:
    """Return what a machine is made of, None for one whose parts have other prices. Pure.

    Those that share a core are paid for by a part of it; custom ones have entries of their own.
    """
    name = str(machine.get("name", ""))
    series = SERIES.get(name.partition("-")[0])
    if series is None or machine.get("isSharedCpu") or "-custom-" in name:
        return None
    guests = machine.get("accelerators", ())
    if any(each.get("guestAcceleratorType") not in GPUS for each in guests):
        return None
    try:
        parts = {f"{series} Core": float(machine["guestCpus"])}
        parts[f"{series} Ram"] = int(machine["memoryMb"]) / 1024
        for each in guests:
            gpu = f"{GPUS[each['guestAcceleratorType']]} GPU"
            parts[gpu] = float(each["guestAcceleratorCount"])
    except (KeyError, TypeError, ValueError):
        return None
    return parts


def price_of(shape: Shape | None, known: Mapping[Part, float]) -> Price:
    """Return what an hour of a machine costs where each of its parts has a price. Pure."""
    return Price(_sum(shape, known, _SPOT), _sum(shape, known, _LISTED))


def of_entries(entries: Iterable[Values], region: str) -> dict[Part, float]:
    """Return the prices of parts in a region; a part with two prices has none. Pure."""
    found: dict[Part, set[float]] = {}
    for each in entries:
        if (part := part_of(each, region)) and (dollars := dollars_of(each, part)):
            found.setdefault(part, set()).add(dollars)
    return {part: each.pop() for part, each in found.items() if len(each) == 1}


def part_of(entry: Values, region: str) -> Part | None:
    """Return which part of a machine an entry is of, None for any other. Pure."""
    category, description = entry.get("category", {}), str(entry.get("description", ""))
    usage = category.get("usageType")
    if category.get("resourceFamily") != "Compute" or region not in entry.get("serviceRegions", ()):
        return None
    if found := _PART.fullmatch(description):
        preemptible, name = found[1], f"{found[2]} {found[3]}"
    elif found := _GPU.fullmatch(description):
        preemptible, name = found[2], f"{found[1]} GPU"
    else:
        return None
    return (name, usage) if usage == (_SPOT if preemptible else _LISTED) else None


def dollars_of(entry: Values, part: Part) -> float | None:
    """Return what an hour of a part costs; None where that is not told as documented. Pure."""
    try:
        told = entry["pricingInfo"][-1]["pricingExpression"]
        (rate,) = told["tieredRates"]
        price = rate["unitPrice"]
        units, nanos = int(price.get("units", "0")), int(price.get("nanos", 0))
        as_expected = (
            told["usageUnit"] == _UNITS[part[0].rpartition(" ")[2]]
            and price["currencyCode"] == "USD"
            and rate.get("startUsageAmount", 0) == 0
            and units >= 0
            and 0 <= nanos < 10**9
        )
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return (units + nanos / 1e9) or None if as_expected else None


def _sum(shape: Shape | None, known: Mapping[Part, float], usage: str) -> float | None:
    total = 0.0
    for name, count in shape.items() if shape else ():
        if (name, usage) not in known:
            return None
        total += count * known[name, usage]
    return total or None


def _entries(rest: Rest) -> Iterator[Values]:
    """Yield what all pages of the list hold. Touches the network."""
    until = time.monotonic() + _MOST_S
    for page in rest.pages(listing()):
        yield from page.get("skus", ())
        if time.monotonic() > until:
            raise HostUnreachable("GCP's list of prices takes too long", hint="try again")


def _file(region: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(home) / "perdure" / "gcp-prices" / f"{region}.json"


def _kept(region: str, now: float) -> dict[Part, float] | None:
    """Return the prices that were asked for within a day, None where there are none."""
    try:
        found = json.loads(_file(region).read_bytes())
        if found["from"] != base() or not 0 <= now - float(found["at"]) < _FRESH_S:
            return None
        return {(str(name), str(usage)): float(each) for name, usage, each in found["parts"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(region: str, known: Mapping[Part, float], now: float) -> None:
    """Keep prices for a day; where they cannot be written they are asked for again."""
    file = _file(region)
    parts = [[name, usage, each] for (name, usage), each in sorted(known.items())]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}-{os.getpid()}")
        draft.write_text(json.dumps({"from": base(), "at": now, "parts": parts}))
        draft.replace(file)
    except OSError:
        return
