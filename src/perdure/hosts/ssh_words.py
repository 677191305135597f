"""Words on their way through a login shell there, whichever it is: sh, bash, zsh, csh, fish."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What no shell takes for anything else.
_PLAIN = re.compile(r"[A-Za-z0-9_./:,+-]+")
# What every shell takes as it is between quotes of one stroke. Not a backslash, which fish reads
# there, an exclamation mark (csh), a newline (csh), or what is no ASCII (whose bytes some check).
_QUOTABLE = re.compile(r"[ -&(-\[\]-~]*")
_HISTORY = "!"
_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,+-=@ ")


def line(argv: Sequence[str]) -> str:
    """Return the line that has any login shell run a command in its own place. Pure."""
    words = [_quoted(word) for word in argv]
    if None not in words:
        return " ".join(("exec", *(word for word in words if word is not None)))
    import os
    import shlex

    # For a POSIX shell then, which gets what it shall run in a code that no other one reads.
    script = os.fsencode("exec " + shlex.join(argv))
    coded = "".join(chr(byte) if byte in _SAFE else f"\\0{byte:03o}" for byte in script)
    return f"""exec sh -c 'eval "$(printf %b "{coded}")"'"""


def _quoted(word: str) -> str | None:
    """Return a word for any shell, None if there is no such thing."""
    if _PLAIN.fullmatch(word):
        return word
    if _QUOTABLE.fullmatch(word) and _HISTORY not in word:
        return f"'{word}'"
    return None
