"""Writes the README's table of figures from benchmarks/results.json.

`--check` writes nothing and ends with 1 where the README is not up to date. results.json holds

    {"machine": "2 cores, 24 GiB, ...", "measured": "2026-01-31",
     "figures": [{"claim": "stall of a 1 GiB checkpoint", "ours": "54 ms", "limit": "memcpy 55 ms",
                  "ratio": 0.98, "at_most": 1.2, "peers": "torch.save + fsync 718 ms"}]}

A figure has either `at_most` or `at_least`, what its ratio to the limit must reach.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TypedDict

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
RESULTS = HERE / "results.json"
BEGIN = "<!-- benchmarks:begin (made by benchmarks/table.py) -->"
END = "<!-- benchmarks:end -->"
HEADINGS = ("claim", "here", "limit, same run", "ratio", "to reach", "peers, same run")


class Figure(TypedDict, total=False):
    """One claim, as measured."""

    claim: str
    ours: str
    limit: str
    ratio: float
    at_most: float
    at_least: float
    peers: str


class Results(TypedDict):
    """All of them, and where they were measured."""

    machine: str
    measured: str
    figures: list[Figure]


def target(figure: Figure) -> str:
    """Return what the ratio must reach, marked where it does not."""
    ratio = figure.get("ratio", float("nan"))
    if "at_most" in figure:
        wanted, reached = f"<= {figure['at_most']:g}", ratio <= figure["at_most"]
    elif "at_least" in figure:
        wanted, reached = f">= {figure['at_least']:g}", ratio >= figure["at_least"]
    else:
        return ""
    return wanted if reached else f"{wanted} **not reached**"


def table(results: Results) -> str:
    """Return the table as Markdown."""
    rows = [HEADINGS, tuple("---" for _ in HEADINGS)]
    for figure in results["figures"]:
        ratio = f"{figure['ratio']:.2f}" if "ratio" in figure else ""
        texts = (figure["claim"], figure["ours"], figure.get("limit", ""))
        rows.append((*texts, ratio, target(figure), figure.get("peers", "")))
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    lines += ["", f"Measured {results['measured']} on {results['machine']}."]
    return "\n".join(lines)


def filled(readme: str, text: str) -> str:
    """Return the README with the text between its markers.

    Raises:
        ValueError: a marker is missing.
    """
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def read(path: Path) -> Results:
    """Return the results in a file."""
    results: Results = json.loads(path.read_text(encoding="utf-8"))
    return results


def main() -> int:
    """Return 0 when the README holds the table of the results."""
    parser = argparse.ArgumentParser(description="Write the README's table of figures.")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    old = README.read_text(encoding="utf-8")
    new = filled(old, table(read(RESULTS)))
    if options.check:
        return int(new != old)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
