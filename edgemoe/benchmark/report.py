"""Results as tables: Markdown for a file, rich for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from edgemoe.benchmark.streams import AFTER_SWITCH
from edgemoe.benchmark.tasks import SOURCES

__all__ = ["in_order", "is_ours", "markdown", "terminal_table"]

BOUNDS = ("oracle-router",)  # no method can reach them: they look at the labels


def is_ours(name: str) -> bool:
    """Tell whether a method is edgemoe's own mixture."""
    return name.startswith("mixture")


def in_order(methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names: the global expert, the methods from the fewest to the most errors removed, and bounds last."""

    def place(name: str) -> tuple[int, float]:
        return (0 if name == "global" else 2 if name in BOUNDS else 1, methods[name]["errors_removed"])

    return sorted(methods, key=place)


def markdown(results: Mapping[str, Any]) -> str:
    """Return the results as a Markdown document."""
    methods = results["methods"]
    names = in_order(methods)
    ours = {name: f"**{name}**" if is_ours(name) else name for name in names}
    headings = [
        "method", "the user's characters, %", "user errors removed, %", "generic, %", "generic points lost",
        "bystander points lost", "writers helped / harmed, %", "worst writer's change, points",
        "tenth worst read / least helped, % / points", "declined, %", "bytes", "MACs", "training, s", "peak memory, MB",
    ]  # fmt: skip
    rows = []
    for name in names:
        row = methods[name]
        worst = row["worst_tenth"]
        rows.append(
            [
                ours[name],
                _interval(row, "user_accuracy", 1),
                _interval(row, "errors_removed", 1),
                f"{100 * row['generic_accuracy']:.2f}",
                _interval(row, "generic_lost", 2),
                _interval(row, "bystander_lost", 2),
                f"{100 * row['helped']:.0f} / {100 * row['harmed']:.0f}",
                f"{100 * row['worst_change']:+.1f}",
                f"{100 * worst['user_accuracy']:.1f} / {100 * worst['user_change']:+.1f}",
                "" if row["declined"] is None else f"{100 * row['declined']:.1f}",
                *_costs(row),
            ]
        )
    windows = [f"first{count}" for count in AFTER_SWITCH]
    stream_headings = ["method", *(f"{source}{_first(window)}" for source in SOURCES for window in ("", *windows))]
    stream_rows = [
        [ours[name]]
        + [_percent(methods[name]["stream"][source][key]) for source in SOURCES for key in ("accuracy", *windows)]
        for name in names
    ]
    data = results["data"]
    return "\n".join(
        [
            f"# {results['writers']} writers, {results['shots']} samples of each character to learn from",
            "",
            f"Writers: `{data['writers']}`; {results['draws']} draws of each one's samples. Generic: "
            f"`{data['generic']}`, {results['generic']:,} images. Global expert: {results['global_expert']['name']}, "
            f"{results['global_expert']['bytes']:,} bytes, {results['global_expert']['macs']:,} MACs.",
            "",
            "In parentheses the 95 % intervals of the means over the writers. Points lost are of the global expert's "
            "accuracy on the same inputs. Helped and harmed are writers whose accuracy changed by more than half a "
            "point. Bytes and MACs are on top of the global expert's. Training is one fit on one core. Methods that "
            "remember their inputs are measured on the streams below, and so on fewer generic inputs.",
            "",
            *_markdown_table(headings, rows),
            "",
            "## Streams in which people take turns",
            "",
            "Runs of 5 to 40 inputs of one source; accuracy in % on all inputs of each, and on the first 1, 3 and 5 "
            "after a switch.",
            "",
            *_markdown_table(stream_headings, stream_rows),
            "",
            f"Made by `{results['command']}` (edgemoe {results['version']}).",
            "",
        ]
    )


def terminal_table(results: Mapping[str, Any]) -> Table:
    """Return the results as a table for a terminal of 120 columns."""
    methods = results["methods"]
    made = Table(
        title=f"{results['writers']} writers, {results['shots']} shots, {results['draws']} draws", title_justify="left"
    )
    headings = (
        "method", "user %", "errors\nremoved %", "generic\nlost", "bystander\nlost", "helped\n%", "harmed\n%",
        "worst\nchange", "bytes", "MACs", "train\ns", "peak\nMB",
    )  # fmt: skip
    for index, heading in enumerate(headings):
        made.add_column(heading, justify="right" if index else "left")
    for name in in_order(methods):
        row = methods[name]
        figures = (
            f"{100 * row['user_accuracy']:.1f}",
            f"{100 * row['errors_removed']:.1f}",
            f"{100 * row['generic_lost']:.2f}",
            f"{100 * row['bystander_lost']:.2f}",
            f"{100 * row['helped']:.0f}",
            f"{100 * row['harmed']:.0f}",
            f"{100 * row['worst_change']:+.1f}",
            *_costs(row),
        )
        made.add_row(escape(name), *figures, style="bold" if is_ours(name) else None)
    return made


def _costs(row: Mapping[str, Any]) -> list[str]:
    peak = row["train_peak_bytes"]
    return [
        f"{row['bytes']:,}",
        f"{row['macs']:,}",
        f"{row['train_seconds']:.2f}",
        "" if peak is None else f"{peak / 1e6:.1f}",
    ]


def _interval(row: Mapping[str, Any], key: str, digits: int) -> str:
    low, high = row["ci95"][key]
    return f"{100 * row[key]:.{digits}f} ({100 * low:.{digits}f} to {100 * high:.{digits}f})"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _first(window: str) -> str:
    return f", {window.replace('first', 'first ')}" if window else ""


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
