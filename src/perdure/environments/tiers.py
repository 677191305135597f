"""In which layer of an image each Python package is installed. Pure.

A layer is rebuilt, and shipped again, when anything in it changes. So a package stays where it has
been once, and what is new goes on top, where little is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from perdure.model.image import Requirement, Tier

HEAVY_BYTES = 40_000_000

# Where a lock has no sizes. Each of these has a wheel of more than 40 MB, or comes with one.
_HEAVY = re.compile(
    r"torch|torch(?:vision|audio)|pytorch-triton.*|triton|nvidia-.*|cuda-.*|cupy.*|jax(?:lib|-.*)?"
    r"|tensorflow.*|tf-nightly.*|libtpu|xla|xformers|flash-attn|bitsandbytes|deepspeed|vllm|paddle.*"
    r"|onnxruntime(?:-.*)?|opencv-.*|pyspark|ray|xgboost|lightgbm|catboost|faiss-.*|llvmlite|pyarrow"
)


def assign(
    requirements: Iterable[Requirement],
    sizes: Mapping[str, int],
    previous: Mapping[str, Tier] | None,
    root: Path | None = None,
) -> Mapping[str, Tier]:
    """Return the tier of each package, by name in order.

    With `previous`, a lock's, packages stay where they were and new ones are LIGHT. Without any:
    HEAVY is what has a wheel of 40 MB, LIGHT what the project in `root` brings along itself and so
    changes with it, MID the rest. `sizes` are in bytes, by name; 0 or none where not known.
    """
    named = {each.name: each for each in sorted(requirements, key=lambda each: each.name)}
    if previous:
        kept = {name: previous.get(name, Tier.LIGHT) for name in named}
        return MappingProxyType(kept)
    return MappingProxyType(
        {name: _first(each, sizes.get(name, 0), root) for name, each in named.items()}
    )


def _first(requirement: Requirement, size: int, root: Path | None) -> Tier:
    file = requirement.file
    if file is not None and root is not None and file.is_relative_to(root):
        return Tier.LIGHT
    heavy = size >= HEAVY_BYTES if size else _HEAVY.fullmatch(requirement.name) is not None
    return Tier.HEAVY if heavy else Tier.MID
