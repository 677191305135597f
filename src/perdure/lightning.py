"""Lightning trainings that carry on: `from perdure.lightning import PerdureCallback`."""

from perdure.runtime.lightning import PerdureCallback

__all__ = ["PerdureCallback"]
