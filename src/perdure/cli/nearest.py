"""What the user may have meant. `difflib` is imported only when something was mistyped."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that looks most like `word`, or None where none is close."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return a hint: the word that was meant, else `otherwise`."""
    found = nearest(word, known)
    return f"did you mean `{found}`?" if found else otherwise
