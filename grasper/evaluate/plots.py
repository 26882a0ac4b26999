"""Small inline SVG plots for the report: crisp at any size, coloured by the page's own style sheet (so they follow light and dark).

Every text is escaped; colours are CSS classes `m0`, `m1` … of the methods. All functions give a complete `<svg>` element.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from markupsafe import Markup

WIDTH = 360
_ROW = 25
_LABELS = 128
_VALUES = 52


@dataclass(frozen=True)
class Point:
    """One value with its interval; `series` chooses the colour."""

    label: str
    value: float
    low: float
    high: float
    series: int = 0
    is_best: bool = False


def dot_plot(title: str, points: Sequence[Point], *, reference: float | None = None, signed: bool = False, digits: int = 3) -> Markup:
    """One row per point: label, dot with interval, value. `reference` draws a line that values are read against (zero, chance)."""
    low, high = _range([number for point in points for number in (point.low, point.high)] + ([] if reference is None else [reference]))
    left, right = _LABELS, WIDTH - _VALUES - 8
    height = _ROW * len(points) + 24

    def x(number: float) -> float:
        return left + (number - low) / (high - low) * (right - left)

    parts = [_grid_vertical(low, high, x, height - 20, signed)]
    if reference is not None:
        parts.append(f'<line class="reference" x1="{x(reference):.1f}" x2="{x(reference):.1f}" y1="0" y2="{height - 20}"/>')
    for row, point in enumerate(points):
        y = _ROW * row + _ROW / 2
        weight = ' class="best"' if point.is_best else ""
        parts.append(
            f'<g{weight}><text class="label" x="0" y="{y + 4:.1f}">{escape(_short(point.label, 19))}</text>'
            f'<g class="m{point.series}"><line class="bar" x1="{x(point.low):.1f}" x2="{x(point.high):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle cx="{x(point.value):.1f}" cy="{y}" r="4.2"/></g>'
            f'<text class="number" x="{WIDTH}" y="{y + 4:.1f}">{_number(point.value, digits, signed)}</text></g>'
        )
    spoken = "; ".join(
        f"{point.label} {_number(point.value, digits, signed)} ({_number(point.low, digits, signed)} to {_number(point.high, digits, signed)})"
        for point in points
    )
    return _svg(f"{title}: {spoken}", WIDTH, height, parts)


def level_plot(
    title: str, levels: Sequence[str], series: Sequence[tuple[int, str, Sequence[Point | None]]], *, reference: float | None = None
) -> Markup:
    """Values over ordered levels: one line per series, dodged so that the intervals do not hide one another; gaps where a level has no value."""
    known = [point for _, _, points in series for point in points if point]
    low, high = _range([number for point in known for number in (point.low, point.high)] + ([] if reference is None else [reference]))
    left, right, top, bottom = 38.0, float(WIDTH), 6.0, 170.0
    step = (right - left) / len(levels)
    dodge = min(9.0, step * 0.7 / max(len(series), 1))

    def y(number: float) -> float:
        return bottom - (number - low) / (high - low) * (bottom - top)

    parts = []
    for tick in _ticks(low, high):
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{left - 6}" y="{y(tick) + 3.5:.1f}">{_tick_label(tick, low, high)}</text>')
    if reference is not None:
        parts.append(f'<line class="reference" x1="{left}" x2="{right}" y1="{y(reference):.1f}" y2="{y(reference):.1f}"/>')
    for place, level in enumerate(levels):
        parts.append(f'<text class="tick" text-anchor="middle" x="{left + step * (place + 0.5):.1f}" y="{bottom + 17}">{escape(level)}</text>')
    for order, (colour, _, points) in enumerate(series):
        offset = (order - (len(series) - 1) / 2) * dodge
        places = [(left + step * (place + 0.5) + offset, point) for place, point in enumerate(points)]
        runs = [" ".join(f"{x:.1f},{y(point.value):.1f}" for x, point in run if point) for _, run in groupby(places, lambda place: place[1] is None)]
        lines = "".join(f'<polyline class="trend" points="{run}"/>' for run in runs if run)
        marks = "".join(
            f'<line class="bar" x1="{x:.1f}" x2="{x:.1f}" y1="{y(point.low):.1f}" y2="{y(point.high):.1f}"/>'
            f'<circle cx="{x:.1f}" cy="{y(point.value):.1f}" r="3.4"/>'
            for x, point in places
            if point
        )
        parts.append(f'<g class="m{colour}">{lines}{marks}</g>')
    spoken = "; ".join(
        f"{name}: " + ", ".join(f"{level} {point.value:.3f}" for level, point in zip(levels, points, strict=True) if point)
        for _, name, points in series
    )
    return _svg(f"{title}: {spoken}", WIDTH, int(bottom) + 24, parts)


def bar_plot(title: str, bars: Sequence[tuple[str, float, str]]) -> Markup:
    """Horizontal bars: label, share 0–1, and what to print behind it."""
    largest = max((share for _, share, _ in bars), default=0) or 1.0
    left, right = 52, WIDTH - 92
    parts = []
    for row, (label, share, text) in enumerate(bars):
        y = _ROW * row
        parts.append(
            f'<text class="label" x="0" y="{y + 17}">{escape(label)}</text>'
            f'<rect class="track" x="{left}" y="{y + 5}" width="{right - left}" height="15" rx="3"/>'
            f'<rect class="fill" x="{left}" y="{y + 5}" width="{share / largest * (right - left):.1f}" height="15" rx="3"/>'
            f'<text class="number" x="{WIDTH}" y="{y + 17}">{escape(text)}</text>'
        )
    return _svg(f"{title}: " + "; ".join(f"{label} {text}" for label, _, text in bars), WIDTH, _ROW * len(bars) + 4, parts)


def cost_plot(title: str, points: Sequence[tuple[float, Point]]) -> Markup:
    """Quality over seconds per target on a logarithmic axis; each point carries its label."""
    left, right, top, bottom = 40.0, 540.0, 12.0, 230.0
    exponents = [math.log10(seconds) for seconds, _ in points]
    first, last = math.floor(min(exponents)), math.ceil(max(exponents))
    last = max(last, first + 1)
    low, high = _range([number for _, point in points for number in (point.low, point.high)])

    def x(exponent: float) -> float:
        return left + 24 + (exponent - first) / (last - first) * (right - left - 130)

    def y(number: float) -> float:
        return bottom - (number - low) / (high - low) * (bottom - top)

    parts = []
    for tick in _ticks(low, high):
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{left - 6}" y="{y(tick) + 3.5:.1f}">{_tick_label(tick, low, high)}</text>')
    for power in range(first, last + 1):
        parts.append(f'<text class="tick" text-anchor="middle" x="{x(power):.1f}" y="{bottom + 18}">{_seconds(10.0**power)}</text>')
        parts.append(f'<line class="grid" x1="{x(power):.1f}" x2="{x(power):.1f}" y1="{bottom}" y2="{bottom + 5}"/>')
    parts.append(f'<text class="tick" text-anchor="end" x="{right}" y="{bottom + 36}">seconds per target (log)</text>')
    for exponent, (_, point) in zip(exponents, points, strict=True):
        place = f"{x(exponent):.1f}"
        interval = f'<line class="bar" x1="{place}" x2="{place}" y1="{y(point.low):.1f}" y2="{y(point.high):.1f}"/>'
        parts.append(f'<g class="m{point.series}">{interval}<circle cx="{place}" cy="{y(point.value):.1f}" r="5"/></g>')
    label_ends: list[tuple[float, float]] = []
    for exponent, (_, point) in sorted(zip(exponents, points, strict=True), key=lambda pair: -pair[1][1].value):
        label_x, label_y = x(exponent) + 10, y(point.value) + 4
        while any(abs(label_x - other_x) < 100 and abs(label_y - other_y) < 14 for other_x, other_y in label_ends):
            label_y += 3  # labels of points that lie together are set below one another
        label_ends.append((label_x, label_y))
        parts.append(f'<text class="label" x="{label_x:.1f}" y="{label_y:.1f}">{escape(point.label)}</text>')
    spoken = "; ".join(f"{point.label} {point.value:.3f} at {seconds:.2g} seconds" for seconds, point in points)
    return _svg(f"{title}: {spoken}", int(right), int(bottom) + 42, parts)


def _svg(description: str, width: int, height: int, parts: Sequence[str]) -> Markup:
    return Markup(f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(description, quote=True)}">{"".join(parts)}</svg>')


def _grid_vertical(low: float, high: float, x: Callable[[float], float], bottom: float, signed: bool) -> str:
    lines = []
    for tick in _ticks(low, high):
        place = x(tick)
        lines.append(f'<line class="grid" x1="{place:.1f}" x2="{place:.1f}" y1="0" y2="{bottom}"/>')
        label = _tick_label(tick, low, high)
        lines.append(
            f'<text class="tick" text-anchor="middle" x="{place:.1f}" y="{bottom + 15}">{f"+{label}" if signed and tick > 0 else label}</text>'
        )
    return "".join(lines)


def _range(numbers: Sequence[float]) -> tuple[float, float]:
    """The numbers' range with a little room; never empty."""
    known = [number for number in numbers if math.isfinite(number)] or [0.0, 1.0]
    low, high = min(known), max(known)
    room = (high - low) * 0.06 or max(abs(high) * 0.1, 0.01)
    return low - room, high + room


def _ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers inside the range, some `wanted` of them."""
    raw = (high - low) / wanted
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _tick_label(tick: float, low: float, high: float) -> str:
    digits = max(0, 1 - math.floor(math.log10(high - low)))
    text = f"{tick:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return (text if float(text) else "0").replace("-", "−")


def _number(value: float, digits: int, signed: bool) -> str:
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.replace("-", "−")


def _seconds(value: float) -> str:
    return f"{value:g} s" if value >= 1e-3 else f"{value * 1e6:g} µs"


def _short(label: str, length: int) -> str:
    return label if len(label) <= length else label[: length - 1] + "…"
