"""The supervisor run by path: `python -I -S .../supervisor/__main__.py OPTIONS -- COMMAND`.

Nothing is installed as far as this interpreter knows: the folder that holds the package goes to the
end of `sys.path`, after the standard library, which nothing there may shadow.
"""

from __future__ import annotations

import os
import sys

_root = os.path.abspath(__file__)
for _ in ("__main__.py", "supervisor", "runtime", "perdure"):
    _root = os.path.dirname(_root)
sys.path.append(_root)

from perdure.runtime.supervisor.program import main  # noqa: E402 (only now can it be found)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
