"""Numbers as people say them. Pure functions."""

from __future__ import annotations

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def duration(seconds: float) -> str:
    """Return a length of time in two units at most: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return joined(whole // 60, "min", whole % 60, "s")
    if whole < 86400:
        return joined(whole // 3600, "h", whole % 3600 // 60, "min")
    return joined(whole // 86400, "d", whole % 86400 // 3600, "h")


def joined(large: int, large_unit: str, small: int, small_unit: str) -> str:
    """Return two numbers with their units, the small one left out where it is 0."""
    return f"{large} {large_unit}" + (f" {small} {small_unit}" if small else "")


def size(count: int) -> str:
    """Return a number of bytes in the unit that fits: `512 bytes`, `1.5 MiB`."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} bytes" if unit == 0 else f"{value:.1f} {UNITS[unit]}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where that is due: `1 job`, `2 jobs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def printable(text: str) -> str:
    """Return the text with control characters escaped, so that no name can write to a terminal."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
