"""Import packages once, so that their bytecode lies beside them. Run by the environment's Python.

    python warm.py DISTRIBUTION...

Standard library only, and imported by nobody: it is a script. What cannot be imported is passed
over; whether that matters is for the project to find out.
"""

import contextlib
import importlib
import os
import re
import sys
from importlib import metadata
from pathlib import Path

# What these import later, in the first seconds of a training: torch for its first optimizer.
LATER = {"torch": ("torch._dynamo",), "sklearn": ("sklearn.datasets",)}


def modules(wanted: "set[str]") -> "list[str]":
    """Return the modules that the distributions bring, and what those import later."""
    found = []
    for distribution in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if name in wanted:
            files = distribution.files or []
            tops = {file.parts[0] for file in files if file.name == "__init__.py"}
            found += [top for top in sorted(tops) if top.isidentifier()]
    return [each for top in found for each in (top, *LATER.get(top, ()))]


if __name__ == "__main__":
    # The packages may print, and this prints nothing.
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        for module in modules(set(sys.argv[1:])):
            with contextlib.suppress(BaseException):
                importlib.import_module(module)
