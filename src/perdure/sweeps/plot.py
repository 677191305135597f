"""A picture of a metric against the axes of a sweep: SVG, one panel an axis. Pure.

An own page of SVG instead of a plotting library: points, two axes and their words are all it has.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 340, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 30, 44
_MOST_WORDS = 8
_COLOUR, _BEST = "#3465a4", "#cc0000"


@dataclass(frozen=True, slots=True)
class Point:
    """A trial: its values by axis, what its metric came to, and what it is called."""

    values: dict[str, str]
    metric: float
    name: str


def drawn(title: str, metric: str, axes: Sequence[str], points: Sequence[Point], best: str) -> str:
    """Return the picture as SVG. `best` names the trial to be marked."""
    panels = [
        f'<g transform="translate({index * WIDTH} 24)">{_panel(axis, metric, points, best)}</g>'
        for index, axis in enumerate(axes)
    ]
    width, height = max(1, len(axes)) * WIDTH, HEIGHT + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="12" y="18" font-size="13" font-weight="bold">{escape(title)}</text>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


def _panel(axis: str, metric: str, points: Sequence[Point], best: str) -> str:
    texts = [point.values.get(axis, "") for point in points]
    place_x, words_x = _scale(texts)
    low, high = _span([point.metric for point in points])
    logarithmic = low > 0 and high / low > 1000
    place_y = _placing(low, high, logarithmic=logarithmic)
    parts = [_frame(), _caption(axis, metric)]
    for text, at in words_x:
        parts.append(_text(_x(at), HEIGHT - _BOTTOM + 16, text, "middle"))
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        value = low ** (1 - part) * high**part if logarithmic else low * (1 - part) + high * part
        parts.append(_text(_LEFT - 6, _y(part) + 4, f"{value:.3g}", "end"))
    for point, text in zip(points, texts, strict=True):
        colour = _BEST if point.name == best else _COLOUR
        parts.append(
            f'<circle cx="{_x(place_x(text)):.1f}" cy="{_y(place_y(point.metric)):.1f}" r="3.5" '
            f'fill="{colour}" fill-opacity="0.65"><title>{escape(point.name)}: '
            f"{point.metric:.6g}</title></circle>"
        )
    return "".join(parts)


def _scale(texts: Sequence[str]) -> tuple[Callable[[str], float], list[tuple[str, float]]]:
    """Return where a value stands from 0 to 1, and the words below with their places."""
    numbers = [_number(text) for text in texts]
    known = [number for number in numbers if number is not None]
    if known and len(known) == len(texts):
        low, high = _span(known)
        # Values that are spread over decades are meant so.
        logarithmic = min(known) > 0 and max(known) / min(known) >= 50
        place = _placing(low, high, logarithmic=logarithmic)
        distinct = sorted(set(texts), key=float)
        shown = _thinned(distinct)
        return lambda text: place(float(text)), [(text, place(float(text))) for text in shown]
    distinct = list(dict.fromkeys(texts))
    places = {text: (index + 0.5) / len(distinct) for index, text in enumerate(distinct)}
    return places.__getitem__, [(text[:12], places[text]) for text in _thinned(distinct)]


def _thinned(words: Sequence[str]) -> Sequence[str]:
    every = math.ceil(len(words) / _MOST_WORDS) if words else 1
    return words[::every]


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of a scale, which differ: a lone value is in the middle of its own."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low < high:
        return low, high
    # Of large numbers a half is lost.
    room = max(0.5, abs(low) * 1e-3)
    return max(low - room, -sys.float_info.max), min(high + room, sys.float_info.max)


def _placing(low: float, high: float, *, logarithmic: bool) -> Callable[[float], float]:
    """Return what places a value from 0 to 1."""
    if logarithmic:
        first, last = math.log(low), math.log(high)
        return lambda value: (math.log(value) - first) / (last - first)
    # The difference of two floats may be more than one holds; half of the least is none.
    part = 0.5 if math.isinf(high - low) else 1.0
    return lambda value: (value * part - low * part) / (high * part - low * part)


def _x(place: float) -> float:
    return _LEFT + 8 + place * (WIDTH - _LEFT - _RIGHT - 16)


def _y(place: float) -> float:
    return HEIGHT - _BOTTOM - 8 - place * (HEIGHT - _TOP - _BOTTOM - 16)


def _frame() -> str:
    return (
        f'<rect x="{_LEFT}" y="{_TOP}" width="{WIDTH - _LEFT - _RIGHT}" '
        f'height="{HEIGHT - _TOP - _BOTTOM}" fill="none" stroke="#999"/>'
    )


def _caption(axis: str, metric: str) -> str:
    below = _text((WIDTH + _LEFT) / 2, HEIGHT - 8, axis, "middle")
    return below + _text(_LEFT, _TOP - 8, metric, "start")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
