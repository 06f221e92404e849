"""The benchmark's pictures."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from edgemoe.benchmark.report import in_order, is_ours

__all__ = ["HEIGHT", "WIDTH", "curve", "scatter"]

WIDTH, HEIGHT = 1200, 800  # pixels
DPI = 120
OURS, OTHERS = "#c0392b", "#44546a"
STYLES = ("-", "--", "-.", ":")  # of our methods' lines, which share a colour
LINEAR = 0.2  # points of generic accuracy up to which the axis is linear, and beyond which it is logarithmic


def scatter(results: Mapping[str, Any]) -> bytes:
    """Draw each method's user accuracy against the generic accuracy it loses, with the 95 % intervals, as PNG."""
    methods = results["methods"]
    figure = _figure()
    axes = figure.add_axes((0.08, 0.09, 0.9, 0.85))
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=1)
    points = {}
    for name in in_order(methods):
        row = methods[name]
        x, y = 100 * row["generic_lost"], 100 * row["user_accuracy"]
        spans = [[100 * abs(row[key] - end) for end in row["ci95"][key]] for key in ("generic_lost", "user_accuracy")]
        colour = OURS if is_ours(name) else OTHERS
        axes.errorbar(
            x, y, xerr=np.reshape(spans[0], (2, 1)), yerr=np.reshape(spans[1], (2, 1)), fmt="o", color=colour,
            markersize=7, elinewidth=0.8, ecolor=matplotlib.colors.to_rgba(colour, 0.35),
        )  # fmt: skip
        points[name] = (x, y)
    axes.invert_xaxis()
    axes.axvline(0, color="0.75", linewidth=0.8, zorder=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("generic accuracy lost, points (logarithmic beyond 0.2)")
    axes.set_ylabel("accuracy on the user's characters, %")
    axes.set_title(f"{results['writers']} writers, {results['shots']} samples of each character to learn from")
    axes.annotate(
        "better", xy=(0.985, 0.985), xytext=(0.9, 0.9), xycoords="axes fraction", color="0.4", ha="center", va="center",
        arrowprops={"arrowstyle": "-|>", "color": "0.4", "linewidth": 1.5},
    )  # fmt: skip
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    _label(figure, axes, points)
    return _png(figure)


def curve(studies: Mapping[int, Mapping[str, Any]]) -> bytes:
    """Draw user errors removed and generic accuracy lost against shots, a line a method, as PNG.

    Parameters
    ----------
    studies : dict of shots to results
    """
    shots = sorted(studies)
    figure = _figure()
    names = in_order(studies[shots[-1]]["methods"])
    ours = [name for name in names if is_ours(name)]
    colours = [
        colour for i, colour in enumerate(matplotlib.colormaps["tab20"](np.arange(20))) if i not in (6, 7)
    ]  # the reds
    panels = (("errors_removed", "user errors removed, %"), ("generic_lost", "generic accuracy lost, points"))
    for panel, (key, title) in enumerate(panels):
        axes = figure.add_axes((0.07 + 0.37 * panel, 0.1, 0.31, 0.82))
        for number, name in enumerate(names):
            if name == "global":
                continue
            rows = [studies[count]["methods"][name] for count in shots]
            colour = OURS if is_ours(name) else colours[number % len(colours)]
            axes.plot(
                shots, [100 * row[key] for row in rows], color=colour, label=name,
                linestyle=STYLES[ours.index(name) % len(STYLES)] if name in ours else "-",
                linewidth=2.2 if is_ours(name) else 1.1, marker="os^D"[number % 4], markersize=4,
            )  # fmt: skip
            if is_ours(name):
                low, high = (100 * np.array([row["ci95"][key][end] for row in rows]) for end in (0, 1))
                axes.fill_between(shots, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.set_xscale("log")
        axes.set_xticks(shots, [str(count) for count in shots])
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        if key == "generic_lost":
            axes.set_yscale("symlog", linthresh=LINEAR, linscale=1)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("samples of each character to learn from")
        axes.set_title(title)
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.03, 1), frameon=False, fontsize=9, reverse=True)
    return _png(figure)


def _figure() -> Figure:
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _label(figure: Figure, axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each name beside its point, where it covers no point and no name, as near as may be."""
    figure.canvas.draw()
    places = {name: axes.transData.transform(point) for name, point in points.items()}
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in places.values()]
    frame = axes.get_window_extent()
    corner = Bbox.from_extents(frame.x0 + 0.86 * frame.width, frame.y0 + 0.86 * frame.height, frame.x1, frame.y1)
    for name, (x, y) in places.items():
        text = axes.text(0, 0, name, fontsize=9, transform=None, color=OURS if is_ours(name) else "0.15",
                         weight="bold" if is_ours(name) else "normal", va="bottom")  # fmt: skip
        box = text.get_window_extent()
        width, height = box.width, box.height

        def cost(corner_at: tuple[float, float], width: float = width, height: float = height) -> int:
            there = Bbox.from_bounds(*corner_at, width, height).padded(2)
            inside = frame.x0 <= there.x0 and there.x1 <= frame.x1 and frame.y0 <= there.y0 and there.y1 <= frame.y1
            return sum(there.overlaps(other) for other in [*taken, corner]) + 10 * (not inside)

        candidates = _around(x, y, width, height)
        best = min(candidates, key=cost)  # the first, and so the nearest, of the least costly ones
        text.set_position(best)
        taken.append(Bbox.from_bounds(*best, width, height))
        if candidates.index(best) >= 8:  # too far away to tell whose it is
            ends = np.clip(x, best[0], best[0] + width), np.clip(y, best[1], best[1] + height)
            axes.annotate("", xy=(x, y), xytext=ends, xycoords="figure pixels", textcoords="figure pixels",
                          arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6})  # fmt: skip


def _around(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    """Return lower left corners for a box around a point, from near to far."""
    corners: Sequence[tuple[float, float]] = [
        (x + width / 2 * across - width / 2 + gap * across, y + height / 2 * up - height / 2 + gap * up)
        for gap in (11, 21, 34, 50, 70, 95)
        for across, up in ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))
    ]
    return list(corners)
