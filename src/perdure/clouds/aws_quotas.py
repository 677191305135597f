"""Which of AWS's quotas counts for a type of machine. Pure.

"Amazon EC2 instance type quotas" and "Spot Instance quotas" in the EC2 user guide: in virtual
cores, by the letter that a type begins with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_STANDARD = "standard"
# On demand, spot.
_CODES = {
    _STANDARD: ("L-1216C47A", "L-34B43A08"),
    "g": ("L-DB2E81BA", "L-3819A6DF"),
    "p": ("L-417A185B", "L-7212CCBC"),
    "p5": ("L-417A185B", "L-C4BD4855"),
}
_FAMILIES = {"g": "g", "vt": "g", "p": "p"}


def quota_codes(types: Iterable[str], market: str) -> dict[str, str]:
    """Return the codes of the quotas that count for types of machine, by a name for each."""
    found = {}
    for each in types:
        letters = re.match(r"[a-z]+", each)
        family = _FAMILIES.get(letters[0] if letters else "", _STANDARD)
        if each.startswith("p5"):
            family = "p5"
        on_demand, spot = _CODES[family]
        found[f"{family} machines, {market}"] = spot if market == "spot" else on_demand
    return found
