"""Axes as people write them: `lr=1e-3,1e-4`, `seed=0..4`, `lr=1e-5..1e-1:log:5`. Pure.

a,b,c            each of them; a value in quotes or brackets keeps its commas
0..4             0, 1, 2, 3, 4
0..100:10        0, 10, ..., 100
1e-5..1e-1:log:5 five values from one to the other, evenly spaced in their logarithm
0..1:lin:5       five values, evenly spaced: whole numbers where their distance is one
1e-5..1e-1:log   any value, evenly in its logarithm: where values are drawn, not in a grid
0.0..0.9         any value: likewise
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation, localcontext

from perdure.errors import UsageError
from perdure.model.sweep import EXACT, Axis, Span, Steps, Style

# More are not listed for one axis, and not of a range that stands in a list, where all are held.
MOST_VALUES = 100_000_000
MOST_HELD = 1_000_000
# What is computed is written in so many digits at least, and no end has more than the most.
_LEAST_DIGITS, _MOST_DIGITS = 6, 28

_NAME = re.compile(r"[+~]{0,2}[A-Za-z_][A-Za-z0-9_.@/:-]*")
_FLAG = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::(.*))?", re.ASCII)
_END = re.compile(_NUMBER, re.ASCII)
_HALF = re.compile(rf"{_NUMBER}\.\.(?::.*)?|\.\.{_NUMBER}(?::.*)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
_SEED = re.compile(r"\d{1,19}", re.ASCII)
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_OPENING = {"[": "]", "(": ")", "{": "}"}
_QUOTING = "a value in quotes stands for itself: '\"a,b\",c'"
_SAFE = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")


def parse_axes(words: Sequence[str], style: Style = "flags") -> tuple[Axis, ...]:
    """Return the axes that words such as `lr=1e-3,1e-4` name, in their order.

    Raises:
        UsageError: a word that is none, an axis without values or one that is there twice.
    """
    found: dict[str, Axis] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(
                f"`{word}` is no axis",
                hint="write NAME=VALUE,VALUE or NAME=0..4; a task's own arguments come after `--`",
            )
        if name in found:
            raise UsageError(
                f"the axis `{name}` is there twice", hint=f"{name}={found[name].text},{text}"
            )
        found[name] = parse_axis(name, text, style)
    return tuple(found.values())


def parse_axis(name: str, text: str, style: Style = "flags") -> Axis:
    """Return an axis.

    Raises:
        UsageError: a name or a value that is none.
    """
    check_name(name, style)
    _check_text(name, text)
    values: list[str] = []
    single: Sequence[str] | Span = values
    items = list(_items(name, text))
    for item, quoted in items:
        if not item and not quoted:
            raise UsageError(
                f"the axis `{name}` has an empty value in `{text}`",
                hint='write "" for an empty one',
            )
        found = None if quoted else _range(name, item)
        if found is not None and len(items) == 1:
            single = found
        elif isinstance(found, Span):
            raise UsageError(
                f"`{item}` of `{name}` cannot stand in a list: it is a whole range",
                hint=f"{name}={item}",
            )
        elif found is not None:
            values.extend(_bounded(name, found))
        else:
            values.append(item)
    if isinstance(single, list):
        _refuse_twice(name, single)
        return Axis(name, tuple(single), text)
    return Axis(name, single, text)


def check_name(name: str, style: Style) -> None:
    """Return if an axis can have that name.

    Raises:
        UsageError: it cannot.
    """
    if not (_NAME if style == "hydra" else _FLAG).fullmatch(name):
        raise UsageError(
            f"`{name}` cannot name an axis",
            hint="letters, digits, `_`, `.` and `-`"
            if style == "flags"
            else "a key as Hydra has it",
        )


def written(values: Iterable[object]) -> str:
    """Return values of a file as `parse_axis` reads them: each stands for itself."""
    return ",".join(_written(value) for value in values)


def new_values(axis: Axis, known: Axis) -> Axis:
    """Return what an axis has that the known one of that name has not.

    Raises:
        UsageError: nothing, or it is a range of which any number is meant.
    """
    require_listed([axis])
    before = set(known.listed())
    fresh = [value for value in axis.listed() if value not in before]
    if not fresh:
        raise UsageError(
            f"the axis `{axis.name}` has `{axis.text}` already", hint="name values that are new"
        )
    return Axis(axis.name, tuple(fresh), written(fresh))


def require_listed(axes: Sequence[Axis]) -> None:
    """Return if a grid can be made of the axes.

    Raises:
        UsageError: one is a range of which any number is meant.
    """
    for axis in axes:
        if isinstance(axis.values, Span):
            kind = "log" if axis.values.log else "lin"
            bare = axis.text.partition(":")[0]
            raise UsageError(
                f"`{axis.name}={axis.text}` has no end of values",
                hint=f"say how many: {axis.name}={bare}:{kind}:5",
            )


def require_seeds(axis: Axis) -> None:
    """Return if all values of an axis are seeds: whole numbers from 0 on.

    Raises:
        UsageError: one is none.
    """
    values = axis.values
    if isinstance(values, Span):
        fits = values.whole and values.low >= 0 and _SEED.fullmatch(str(values.high))
        wrong = None if fits else axis.text
    else:
        # Of steps the first two tell how all are written, and the last is the longest.
        some = (*values[:2], values[-1]) if isinstance(values, Steps) else values
        wrong = next((value for value in some if not _SEED.fullmatch(value)), None)
    if wrong is not None:
        raise UsageError(
            f"the axis `{axis.name}` has `{wrong}`, which is no seed",
            hint=f"whole numbers from 0 on: {axis.name}=0..4",
        )


def mapping(axes: Iterable[Axis]) -> Mapping[str, str]:
    """Return axes as texts by name: what `parse_axis` takes."""
    return {axis.name: axis.text for axis in axes}


def _check_text(name: str, text: str) -> None:
    """Return if there are values in it that a file can hold, and a program be given."""
    if not text.strip():
        raise UsageError(f"the axis `{name}` has no values", hint=f"{name}=1,2,3 or {name}=0..4")
    if _NO_TEXT.search(text):
        raise UsageError(
            f"the axis `{name}` has a value that is no text: `{text}`",
            hint="UTF-8, and no character 0",
        )


def _written(value: object) -> str:
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if _SAFE.fullmatch(text):
        return text
    return f'"{text}"' if '"' not in text else "'" + text.replace("'", "''") + "'"


def _items(name: str, text: str) -> Iterator[tuple[str, bool]]:
    """Yield each value, and whether it was in quotes."""
    item, quoted, closing = "", False, [""]
    index = 0
    while index < len(text):
        letter = text[index]
        index += 1
        if letter in "\"'" and not item and not quoted:
            item, index = _quoted(name, text, index, letter)
            quoted = True
            if index < len(text) and text[index] != ",":
                raise UsageError(
                    f"the axis `{name}` has something after a quote in `{text}`", hint=_QUOTING
                )
        elif letter == "," and closing == [""]:
            yield item if quoted else item.strip(), quoted
            item, quoted = "", False
        else:
            item += letter
            if letter in _OPENING:
                closing.append(_OPENING[letter])
            elif letter == closing[-1]:
                closing.pop()
    if closing != [""]:
        raise UsageError(f"the axis `{name}` lacks a `{closing[-1]}` in `{text}`", hint=_QUOTING)
    yield item if quoted else item.strip(), quoted


def _quoted(name: str, text: str, index: int, mark: str) -> tuple[str, int]:
    """Return what stands in quotes from `index` on, and where it ends; a doubled one is one."""
    found = ""
    while index < len(text):
        if text[index] != mark:
            found += text[index]
        elif text[index + 1 : index + 2] == mark:
            found += mark
            index += 1
        else:
            return found, index + 1
        index += 1
    raise UsageError(f"the axis `{name}` has a quote without an end in `{text}`", hint=_QUOTING)


def _range(name: str, item: str) -> Sequence[str] | Span | None:
    """Return the values of a range, None where the item is none."""
    found = _RANGE.fullmatch(item)
    if found is None:
        if _HALF.fullmatch(item):
            raise UsageError(
                f"`{item}` of `{name}` is half a range",
                hint=f'{name}=0..4; as a word, in quotes: {name}="{item}"',
            )
        return None
    ends, how = (found[1], found[2]), found[3]
    low, high = _ends(name, item, ends)
    whole = all(_WHOLE.fullmatch(end) for end in ends)
    if how is None and whole:
        return Steps(low, Decimal(1), _count(name, item, low, high))
    kind, _, count = (how or "lin").partition(":")
    if kind not in ("log", "lin"):
        return _stepped(name, item, low, high, str(how))
    if kind == "log" and low <= 0:
        raise UsageError(
            f"`{item}` of `{name}`: a logarithmic range begins above 0",
            hint=f"{name}=1e-5..{ends[1] if high > 1 else '1e-1'}:log:5",
        )
    if count:
        return _spaced(name, item, ends, kind, count)
    return _span(name, item, (low, high), log=kind == "log", whole=whole and kind == "lin")


def _ends(name: str, item: str, ends: tuple[str, str]) -> tuple[Decimal, Decimal]:
    """Return the ends of a range, which a program can count with, the lower one first."""
    low, high = (Decimal(end) for end in ends)
    for end, text in ((low, ends[0]), (high, ends[1]), (high - low, item)):
        lost = bool(end) and float(end) in (0.0, math.inf, -math.inf)
        if lost or len(end.as_tuple().digits) > _MOST_DIGITS:
            raise UsageError(
                f"`{text}` of `{name}` is more than a program can count with",
                hint=f'{name}=1e-5..1e-1:log:5; as a word, in quotes: {name}="{item}"',
            )
    if low >= high:
        turned = ends[0] if low == high else f"{ends[1]}..{ends[0]}"
        raise UsageError(f"`{item}` of `{name}` does not go upwards", hint=f"{name}={turned}")
    return low, high


def _span(name: str, item: str, ends: tuple[Decimal, Decimal], *, log: bool, whole: bool) -> Span:
    low, high = ends
    if whole:
        return Span(int(low), int(high), whole=True)
    if float(low) == float(high):
        raise UsageError(
            f"between the ends of `{item}` of `{name}` there is no number", hint=f"{name}={low}"
        )
    return Span(float(low), float(high), log)


def _stepped(name: str, item: str, low: Decimal, high: Decimal, how: str) -> Steps:
    step = Decimal(how) if _END.fullmatch(how) else Decimal(0)
    if step <= 0:
        raise UsageError(
            f"`{item}` of `{name}` has no step above 0",
            hint=f"{name}=0..100:10, {name}=1e-5..1e-1:log:5 or {name}=0..1:lin:5",
        )
    return Steps(low, step, _count(name, item, low, high, step))


def _count(name: str, item: str, low: Decimal, high: Decimal, step: Decimal = Decimal(1)) -> int:
    try:
        count = int(EXACT.divide_int(EXACT.subtract(high, low), step)) + 1
    except InvalidOperation:
        count = MOST_VALUES + 1
    if count > MOST_VALUES:
        raise UsageError(
            f"`{item}` of `{name}` has more than {MOST_VALUES:,} values",
            hint=f"{name}={low}..{high}:lin:100",
        )
    return count


def _spaced(name: str, item: str, ends: tuple[str, str], kind: str, count: str) -> Sequence[str]:
    if not _COUNT.fullmatch(count) or not 2 <= int(count) <= MOST_HELD:
        raise UsageError(
            f"`{item}` of `{name}` ends in no number of values from 2 on",
            hint=f"{name}={ends[0]}..{ends[1]}:{kind}:5",
        )
    low, high = (Decimal(end) for end in ends)
    with localcontext(EXACT):
        between = _geometric if kind == "log" else _linear
        inner = between(low, high, int(count) - 1)
        whole = low == int(low) and high == int(high)
        first, last = (_written_out(end) if whole else end for end in ends)
        return (first, *inner, last)


def _written_out(end: str) -> str:
    """Return a whole number as it was typed, but without an exponent, which `int` does not read."""
    value = Decimal(end)
    return str(int(value)) if "e" in end.lower() and value.adjusted() < _MOST_DIGITS else end


def _linear(low: Decimal, high: Decimal, parts: int) -> Iterator[str]:
    gap = (high - low) / parts
    return (_rounded(low + (high - low) * i / parts, gap) for i in range(1, parts))


def _geometric(low: Decimal, high: Decimal, parts: int) -> Iterator[str]:
    ratio = ((high / low).ln() / parts).exp()
    value = low
    for _ in range(1, parts):
        gap = value * (ratio - 1)
        value *= ratio
        yield _rounded(value, gap)


def _rounded(value: Decimal, gap: Decimal) -> str:
    """Return a number in digits that tell it from those a gap away, a whole one in all of them."""
    last = min(value.adjusted() - _LEAST_DIGITS + 1, gap.adjusted() - 2)
    if value.adjusted() < _MOST_DIGITS:
        last = min(last, 0)
    found = value.quantize(Decimal(1).scaleb(last)).normalize()
    if -5 < found.adjusted() < _MOST_DIGITS:
        return format(found, "f")
    digits = len(found.as_tuple().digits)
    # As Python writes floats; of more digits than those have, as they are.
    return f"{float(found):.{digits}g}" if digits < 16 else str(found)


def _bounded(name: str, values: Sequence[str]) -> Sequence[str]:
    if len(values) > MOST_HELD:
        raise UsageError(
            f"a range of `{name}` with {len(values):,} values cannot stand in a list",
            hint=f"the range alone: {name}=0..{len(values)}",
        )
    return values


def _refuse_twice(name: str, values: Sequence[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise UsageError(f"the axis `{name}` has `{value}` twice", hint="leave one out")
        seen.add(value)
