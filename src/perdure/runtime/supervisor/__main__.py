"""The supervisor run by path: `python -I -S .../supervisor/__main__.py OPTIONS -- COMMAND`.

Nothing is installed as far as this interpreter knows: the folder that holds the
package goes to the end of `sys.path`, after the standard library, which nothing there may shadow.
"""

from __future__ import annotations

import os
import sys

if not __package__:
    _PARENTS = 4  # perdure/runtime/supervisor/__main__.py
    _root = os.path.abspath(__file__)
    for _ in range(_PARENTS):
        _root = os.path.dirname(_root)
    if _root not in sys.path:
        sys.path.append(_root)

from perdure.runtime.supervisor.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
