"""Perdure: machine-learning runs that carry on.

`import perdure` costs next to nothing: the runtime is loaded on first use of `start`, and torch and
numpy only where the training has imported them itself.
"""

from __future__ import annotations

# As typing.TYPE_CHECKING: importing typing would be most of what importing perdure costs.
TYPE_CHECKING = False

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "start"]

if TYPE_CHECKING:
    from perdure.runtime.run import Run, start


def __getattr__(name: str) -> object:
    if name in ("start", "Run"):
        from perdure.runtime import run

        return getattr(run, name)
    raise AttributeError(f"module 'perdure' has no attribute {name!r}")
