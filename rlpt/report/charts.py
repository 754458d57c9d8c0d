"""The geometry of a report's charts: paths, ticks and the values behind them; templates/ turns it into SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isnan
from typing import Any

import numpy as np

from rlpt.results.records import Run
from rlpt.stats import curve_band

WIDTH, HEIGHT = 340, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 8, 30
# A curve keeps at least so many points, where it has them, and at least every tenth.
_POINTS, _MOST_THINNED = 24, 10


@dataclass(frozen=True)
class Series:
    """One condition's line."""

    label: str
    slot: int
    "Colour and dashes, by number."
    line: str
    band: str
    raw: list[str]
    "One path a run, not smoothed."
    values: dict[str, list[list[float | None]]]
    "For reading off: smoothed → [x, mean, low, high], raw → [x, mean, lowest, highest]."


@dataclass(frozen=True)
class Chart:
    """Lines in a frame with ticks."""

    title: str
    description: str
    series: list[Series]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    frame: dict[str, float]
    "left, right, top, bottom in the picture's units; x_max and y_max in the axes'."
    x_label: str
    y_label: str


def readings(chart: Chart) -> list[dict[str, Any]]:
    """Returns what the page's script reads values from."""
    return [{"label": each.label, "slot": each.slot, "runs": len(each.raw), **each.values} for each in chart.series]


@dataclass(frozen=True)
class Line:
    """What a chart shows of one condition before it has a place in the picture."""

    label: str
    slot: int
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    raw: np.ndarray
    "float [runs, points]; empty: no raw lines."


def curve_line(runs: Sequence[Run], slot: int, label: str = "") -> Line:
    """Returns the mean smoothed curve of one condition's runs, with its band, at steps that all have, thinned."""
    shared = sorted(set.intersection(*(set(run.curve["step"]) for run in runs)))
    stride = max(1, min(_MOST_THINNED, len(shared) // _POINTS))
    steps = shared[::-1][::stride][::-1]  # with the last, where the final score is
    tables = [run.curve[run.curve["step"].isin(steps)] for run in runs]
    mean, low, high = curve_band(np.array([table["smoothed"] for table in tables]))
    raw = np.array([table["return"] for table in tables])
    return Line(label or runs[0].label, slot, np.array(steps, float), mean, low, high, raw)


def chart(
    title: str, description: str, lines: Sequence[Line], x_max: float, y_max: float, labels: tuple[str, str]
) -> Chart:
    """Places lines in a frame from 0 to x_max and from 0 to y_max.

    Args:
        title: a few words.
        description: what the picture says, for those who do not see it.
        lines: what is drawn.
        x_max: the end of the axis, which becomes a tick or lies after the last.
        y_max: likewise.
        labels: of the axes.
    """
    frame = {
        "left": _LEFT, "right": WIDTH - _RIGHT, "top": _TOP, "bottom": HEIGHT - _BOTTOM, "x_max": x_max, "y_max": y_max
    }  # fmt: skip
    return Chart(
        title,
        description,
        [_series(line, frame) for line in lines],
        [(_x(value, frame), _short(value)) for value in _ticks(x_max, 4)],
        [(_y(value, frame), _short(value)) for value in _ticks(y_max, 4)],
        frame,
        *labels,
    )


def top_of(lines: Sequence[Line], least: float = 10) -> float:
    """Returns a round number above everything that lines show, raw values too."""
    highest = max([least, *(float(np.nanmax(each)) for line in lines for each in (line.mean, line.high, line.raw)
                            if each.size and not np.isnan(each).all())])  # fmt: skip
    return rounded_up(highest)


def rounded_up(highest: float) -> float:
    """Returns the end of an axis with about four ticks that reaches `highest`."""
    unit = _step(highest, 4)
    return ceil(highest / unit) * unit


def end_of(runs: Sequence[Run]) -> float:
    """Returns a round number of agent steps that no run goes beyond."""
    steps = max(run.steps for run in runs)
    unit = _step(steps, 4) / 10
    return ceil(steps / unit) * unit


def _series(line: Line, frame: dict[str, float]) -> Series:
    xs = [_x(value, frame) for value in line.x]
    band = ""
    if len(xs) and not np.isnan(line.low).any():
        edge = [*zip(xs, line.high, strict=True), *zip(reversed(xs), line.low[::-1], strict=True)]
        band = _path([(x, _y(value, frame)) for x, value in edge]) + "Z"
    raw = [_path([(x, _y(v, frame)) for x, v in zip(xs, run, strict=True)]) for run in line.raw]
    values = {"smoothed": _values(line.x, line.mean, line.low, line.high)}
    if len(line.raw):
        values["raw"] = _values(line.x, line.raw.mean(0), line.raw.min(0), line.raw.max(0))
    mean = _path([(x, _y(value, frame)) for x, value in zip(xs, line.mean, strict=True)])
    return Series(line.label, line.slot, mean, band, raw, values)


def _values(*columns: np.ndarray) -> list[list[float | None]]:
    return [[None if isnan(value) else round(float(value), 2) for value in row] for row in zip(*columns, strict=True)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def _x(value: float, frame: dict[str, float]) -> float:
    return round(frame["left"] + (frame["right"] - frame["left"]) * value / frame["x_max"], 1)


def _y(value: float, frame: dict[str, float]) -> float:
    return round(frame["bottom"] - (frame["bottom"] - frame["top"]) * value / frame["y_max"], 1)


def _step(highest: float, count: int) -> float:
    """Returns a round distance (1, 2, 2.5 or 5 times a power of ten) that divides an axis into about `count` parts."""
    rough = highest / count
    power = 10.0 ** floor(np.log10(rough))
    return float(next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999))


def _ticks(highest: float, count: int) -> list[float]:
    step = _step(highest, count)
    ticks = [step * index for index in range(int(highest / step + 1e-9) + 1)]
    return [*ticks, highest] if highest - ticks[-1] >= step / 2 else ticks


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 2000 else f"{value:g}"


@dataclass(frozen=True)
class Bar:
    """An interval on a common axis, in percent of its width; wide: what decides, narrow: the bootstrap's part."""

    at: float
    wide: tuple[float, float] | None
    narrow: tuple[float, float] | None
    boundaries: list[float]


def bar(
    value: float, wide: tuple[float, float], narrow: tuple[float, float], boundaries: Sequence[float], reach: float
) -> Bar:
    """Places a difference on an axis from -reach to +reach; what lies beyond is cut off at the edge.

    Args:
        value: the observed difference.
        wide: ends of the interval that decides; NaN where there is none.
        narrow: of the bootstrap's.
        boundaries: values that the interval must clear.
        reach: of the axis.
    """

    def place(at: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, at / reach)), 2)

    def span(ends: tuple[float, float]) -> tuple[float, float] | None:
        return None if isnan(ends[0]) else (place(ends[0]), place(ends[1]))

    return Bar(place(value), span(wide), span(narrow), [place(each) for each in boundaries])
