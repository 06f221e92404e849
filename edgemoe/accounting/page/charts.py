"""Charts as SVG, written by hand: they need no library, no script and no network, and print as they look.

Each bar, point and curve carries its figure as ``data-value`` and where it stands in the record as ``data-path``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

__all__ = ["Bar", "Curve", "Part", "Point", "bars", "curves", "scatter"]

WIDTH = 720  # of every chart, in its own units
_LETTER = 6.6  # at most, of a letter of 12 units


@dataclass(frozen=True)
class Part:
    """A part of a bar: its value, where that stands in the record, and its class in the style sheet."""

    value: float
    path: str
    kind: str


@dataclass(frozen=True)
class Bar:
    """A row of parts, one behind the other, its name on the left and what it says on the right.

    `base` is what a length of 1 stands for.
    """

    name: str
    parts: Sequence[Part]
    says: str
    base: float = 1.0


@dataclass(frozen=True)
class Point:
    """A point of a scatter with its name, and where its two values stand in the record."""

    name: str
    x: float
    y: float
    path: str
    kind: str


@dataclass(frozen=True)
class Curve:
    """Points (x, y) in the order of x, with a name and where they stand in the record."""

    name: str
    points: Sequence[tuple[float, float]]
    path: str
    kind: str


def bars(title: str, rows: Sequence[Bar], top: float) -> str:
    """Draw horizontal stacked bars on a scale from 0 to `top`, which is above 0."""
    names = max(len(row.name) for row in rows) * _LETTER + 14
    says = max(len(row.says) for row in rows) * _LETTER + 14
    room, body = WIDTH - names - says, ""
    for i, row in enumerate(rows):
        y, x = 34 * i + 8, names
        body += _text(names - 8, y + 15, row.name, "end")
        body += f'<rect class="track" x="{names:.1f}" y="{y}" width="{room:.1f}" height="22"/>'
        for part in row.parts:
            width = room * part.value / row.base / top
            body += (
                f'<rect class="{part.kind}" x="{x:.2f}" y="{y}" width="{width:.3f}" height="22" '
                f'data-path="{escape(part.path)}" data-value="{part.value!r}"/>'
            )
            x += width
        body += _text(names + room + 8, y + 15, row.says)
    return _svg(title, 34 * len(rows) + 6, body)


def scatter(title: str, points: Sequence[Point], x_name: str, y_name: str, say_x: Callable[[float], str]) -> str:
    """Draw points, x (above 0) on a logarithmic scale and y in per cent; names stand where they meet no other."""
    height, left, right, top, bottom = 340, 58, 20, 12, 46
    low_x, high_x = min(p.x for p in points) / 1.6, max(p.x for p in points) * 1.6
    low_y, high_y = floor(min(p.y for p in points) / 2 - 0.5) * 2, ceil(max(p.y for p in points) / 2 + 0.25) * 2

    def place(x: float, y: float) -> tuple[float, float]:
        across = (log10(x) - log10(low_x)) / (log10(high_x) - log10(low_x))
        return left + (WIDTH - left - right) * across, height - bottom - (height - top - bottom) * (y - low_y) / (
            high_y - low_y
        )

    ticks = [m * 10**e for e in range(floor(log10(low_x)), ceil(log10(high_x)) + 1) for m in (1, 2, 5)]
    body = ""
    for tick in (t for t in ticks if low_x <= t <= high_x):
        x, _ = place(tick, low_y)
        body += f'<path class="grid" d="M{x:.1f} {top}V{height - bottom}"/>'
        body += _text(x, height - bottom + 17, say_x(tick), "middle")
    step = 2 if high_y - low_y <= 16 else 5
    for level in range(int(low_y), int(high_y) + 1, step):
        _, y = place(low_x, level)
        body += f'<path class="grid" d="M{left} {y:.1f}H{WIDTH - right}"/>' + _text(left - 8, y + 4, str(level), "end")
    body += _text((left + WIDTH - right) / 2, height - 8, x_name, "middle") + _text(
        -(top + height - bottom) / 2, 14, y_name, "middle", "rotate(-90)"
    )
    taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in (place(p.x, p.y) for p in points)]
    for point in points:
        x, y = place(point.x, point.y)
        body += f'<circle class="{point.kind}" cx="{x:.1f}" cy="{y:.1f}" r="6" data-path="{escape(point.path)}" '
        body += f'data-value="{point.x!r}" data-accuracy="{point.y!r}"/>'
        length = len(point.name) * _LETTER
        spots = [(x + 11, y + 4), (x - 11 - length, y + 4), (x - length / 2, y - 12), (x - length / 2, y + 22)]
        spots = [s for s in spots if left <= s[0] and s[0] + length <= WIDTH - right and s[1] < height - bottom - 2]
        boxes = [(a, b - 11, a + length, b + 3) for a, b in spots]
        free = [i for i, box in enumerate(boxes) if not any(_meet(box, other) for other in taken)]
        at = free[0] if free else 0
        if spots:
            taken.append(boxes[at])
            body += _text(*spots[at], point.name)
    return _svg(title, height, body)


def curves(title: str, found: Sequence[Curve], x_name: str, y_name: str) -> str:
    """Draw curves over a share from 0 to 1; values are in per cent of what is meant by 100."""
    height, left, right, top, bottom = 280, 62, 20, 12, 46
    values = [y for curve in found for _, y in curve.points] + [100.0]
    spread = max(max(values) - min(values), 0.1)
    low, high = min(values) - 0.12 * spread, max(values) + 0.12 * spread

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (WIDTH - left - right) * x, height - bottom - (height - top - bottom) * (y - low) / (high - low)

    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 1e9) if spread / s <= 6)
    body, level = "", ceil(low / step) * step
    while level <= high:
        _, y = place(0, level)
        body += f'<path class="grid" d="M{left} {y:.1f}H{WIDTH - right}"/>'
        body += _text(left - 8, y + 4, f"{level:.1f}" if step < 1 else f"{level:.0f}", "end")
        level += step
    for tick in range(0, 101, 20):
        x, _ = place(tick / 100, low)
        body += _text(x, height - bottom + 17, f"{tick} %", "middle")
    body += _text((left + WIDTH - right) / 2, height - 8, x_name, "middle")
    body += _text(-(top + height - bottom) / 2, 14, y_name, "middle", "rotate(-90)")
    _, y = place(0, 100)
    body += f'<path class="whole" d="M{left} {y:.1f}H{WIDTH - right}"/>'
    for curve in found:
        steps = " ".join(f"{a:.1f},{b:.2f}" for a, b in (place(*point) for point in curve.points))
        body += f'<polyline class="line {curve.kind}" points="{steps}" data-path="{escape(curve.path)}"/>'
    return _svg(title, height, body)


def _svg(title: str, height: float, body: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _text(x: float, y: float, text: str, anchor: str = "start", turn: str = "") -> str:
    turned = f' transform="{turn}"' if turn else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turned}>{escape(text)}</text>'


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
