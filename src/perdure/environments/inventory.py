"""What is installed beside a Python, as JSON. Sent to the Python in a container, and run by it.

    python - < inventory.py

Standard library only, Python 3.8 or newer. It reads what installers write: the core metadata,
INSTALLER and REQUESTED (PEP 376), direct_url.json (PEP 610), and conda's own records of a prefix.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def inventory(paths: Sequence[str] | None = None, prefix: str | None = None) -> dict[str, object]:
    """Return the Python, its packages and conda's, of `paths` and `prefix` instead of its own."""
    found: dict[str, dict[str, object]] = {}
    chosen = metadata.distributions() if paths is None else metadata.distributions(path=[*paths])
    for each in chosen:
        name = normalised(each.metadata["Name"] or "")
        # Python takes the first one on its path, too.
        if name and name not in found:
            found[name] = about(each)
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "packages": [dict(found[name], name=name) for name in sorted(found)],
        "conda": conda_packages(Path(prefix or sys.base_prefix, "conda-meta")),
    }


def about(found: metadata.Distribution) -> dict[str, object]:
    """Return the version of a distribution, what it needs, who asked for it and where it is from.

    Only pip's word counts for who asked: uv marks every package as requested.
    """
    plain = [text for text in found.requires or () if "extra ==" not in text]
    names = [re.match(r"\s*([A-Za-z0-9._-]+)", text) for text in plain]
    by_pip = (found.read_text("INSTALLER") or "").strip() == "pip"
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    return {
        "version": found.version,
        "needs": sorted({normalised(name.group(1)) for name in names if name}),
        "requested": by_pip and found.read_text("REQUESTED") is not None,
        "url": origin.get("url", ""),
        "commit": origin.get("vcs_info", {}).get("commit_id", ""),
        "editable": bool(origin.get("dir_info", {}).get("editable")),
    }


def conda_packages(folder: Path) -> list[dict[str, str]]:
    """Return the packages of conda's records, each with what a person asked conda for, or ""."""
    found = []
    for file in sorted(folder.glob("*.json")):
        each = json.loads(file.read_text(encoding="utf-8"))
        specs = each.get("requested_specs") or [each.get("requested_spec")]
        requested = [spec for spec in specs if isinstance(spec, str) and spec]
        texts = {key: str(each.get(key, "")) for key in ("name", "version", "build")}
        found.append({**texts, "requested": requested[0] if requested else ""})
    return found


def normalised(name: str) -> str:
    """Return a name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(inventory()))
