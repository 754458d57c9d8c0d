"""How numbers are written for people: rounded, with thousands separators, a true minus sign, and their intervals."""

from collections.abc import Iterable
from math import isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import
    from rlpt.stats import Difference, Interval

MINUS = "−"


def number(value: float, digits: int = 0) -> str:
    """Returns "1,234" or "−0.5"; an en dash where there is no number. Digits below 0 count before the point."""
    if isnan(value):
        return "–"
    text = f"{round(value, digits) if digits < 0 else value:,.{max(digits, 0)}f}"
    return (text[1:] if float(text.replace(",", "")) == 0 and text.startswith("-") else text).replace("-", MINUS)


def signed(value: float, digits: int = 0) -> str:
    """Returns "+12", "−12" or "0"."""
    text = number(value, digits)
    return text if text.startswith(MINUS) or not value > 0 or not text.strip("0.") else f"+{text}"


def roughly(count: int) -> str:
    """Returns "17", and above 20 one digit and zeros, rounded up: "200" for 162."""
    unit = 1 if count <= 20 else 10 ** (len(str(count)) - 1)
    return number(-(-count // unit) * unit)


def counted(count: int | str, word: str) -> str:
    """Returns "1 run", "1,234 runs" or, of a range, "1–3 runs"."""
    text = count if isinstance(count, str) else number(count)
    return f"{text} {word}{'' if text == '1' else 's'}"


def span(counts: Iterable[int]) -> str:
    """Returns "3", or "1–3" of several; empty of none."""
    ordered = sorted(counts)
    return "–".join(dict.fromkeys(number(end) for end in ordered[:1] + ordered[-1:]))


def interval(found: "Interval", digits: int = 0) -> str:
    """Returns "319 [288, 340]", or what is there instead of an interval."""
    if not found.known:
        return f"{number(found.value, digits)} (one run{' a task' if found.count > 1 else ''}: no interval)"
    return f"{number(found.value, digits)} [{number(found.low, digits)}, {number(found.high, digits)}]"


def gap(found: "Difference | None", metric: str = "final") -> str:
    """Returns "+15 [−57, 88]"; accuracies in percentage points."""
    if found is None:
        return "–"
    unit = " points" if metric == "top1" else ""
    scale, digits = _written(metric, found.low, found.high)
    value = signed(found.value * scale, digits)
    if not found.known:
        return f"{value}{unit} (one {'pair' if found.paired else 'run'}: no interval)"
    return f"{value} [{number(found.low * scale, digits)}, {number(found.high * scale, digits)}]{unit}"


def ends(low: float, high: float, metric: str = "final") -> str:
    """Returns "[−57, 88]", or an en dash."""
    scale, digits = _written(metric, low, high)
    return "–" if isnan(low) else f"[{number(low * scale, digits)}, {number(high * scale, digits)}]"


def _written(metric: str, low: float, high: float) -> tuple[int, int]:
    """Returns factor and digits of an interval: one digit more where an end would be rounded to the zero beside it."""
    if metric == "top1":
        return 100, 1
    return 1, int(any(0 < abs(end) < 0.5 for end in (low, high)))


def task(name: str) -> str:
    """Returns "cheetah run" for "cheetah-run"."""
    return name.replace("-", " ").replace("_", " ")
