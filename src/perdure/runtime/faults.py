"""What can go wrong in the runtime, as errors of its own.

Fault
├── StateError           a tracked value cannot be written without loss; names its path
├── MismatchError        a checkpoint belongs to another model; lists names and shapes
├── CorruptError         a checkpoint's bytes are not what was written; resume falls back
├── NewerFormatError     a checkpoint was written by a newer perdure
├── SaveError            the last save of a run did not reach the disk
├── GroupError           the ranks of a run have lost each other, or one of them failed
└── MisuseError          the runtime was called in a way that cannot be exact
"""

from __future__ import annotations

from typing import Optional


class Fault(RuntimeError):
    """What failed, with the value in it, and a hint that says what to do."""

    def __init__(self, message: str, hint: Optional[str] = None) -> None:
        super().__init__(message if hint is None else f"{message}\nhint: {hint}")
        self.message = message
        self.hint = hint


class StateError(Fault):
    """A tracked value is of a kind that cannot be written without loss."""


class MismatchError(Fault):
    """The checkpoint was written by a training that tracked something else."""


class CorruptError(Fault):
    """The bytes of a checkpoint are not the ones that were written."""


class NewerFormatError(Fault):
    """The checkpoint's format is newer than this version can read."""


class SaveError(Fault):
    """The last save of the run did not reach the disk; older checkpoints are untouched."""


class GroupError(Fault):
    """Another rank does not answer, or could not do its part."""


class MisuseError(Fault):
    """A call that the runtime cannot carry out exactly."""
