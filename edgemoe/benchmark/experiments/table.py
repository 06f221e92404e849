"""The Markdown table of docs/experiments.md, made from the JSON record."""

from typing import Any

__all__ = ["BEGIN", "END", "LIMITS", "markdown", "verdict", "with_table"]

BEGIN, END = "<!-- experiments: begin -->", "<!-- experiments: end -->"
LIMITS = {"compact": 0.025, "full": 0.12}  # of the int8 global expert's bytes: what is kept for a user and what ships
WORTH = 0.01  # share of errors removed, below which a change is not worth its words


def verdict(name: str, row: dict[str, Any], ge_bytes: int) -> str:
    """Say in a few words what speaks for or against an experiment."""
    if name == row["size"]:
        return "the product"
    over = row["profile_bytes"] + row["bundle_bytes"] - LIMITS[row["size"]] * ge_bytes
    if row["gained_high"] < 0:
        return "no: worse"
    if row["gained_low"] <= 0:
        return "no: no clear difference"
    if over > 0:
        return f"no: better, but {over:,.0f} bytes too large"
    return "yes: better" if row["gained"] >= WORTH else "no: better by less than a point"


def markdown(record: dict[str, Any]) -> str:
    """Return the table, a row an experiment, in the record's order."""
    lines = [
        "| `--only` | what is tried | errors removed | generic lost | at equal loss, against the product | bytes "
        "| gate AUC | worth keeping |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in record["experiments"].items():
        size = f"{row['profile_bytes']:,.0f}"
        if row["bundle_bytes"]:
            size += f" + {row['bundle_bytes']:,.0f} shipped"
        gained = f"{100 * row['gained']:+.1f} ({100 * row['gained_low']:+.1f} to {100 * row['gained_high']:+.1f})"
        lines.append(
            f"| `{name}` | {row['tried']} | {100 * row['removed']:.1f} % | {100 * row['lost']:.2f} "
            f"| {'' if name == row['size'] else gained} | {size} | {row['auc']:.3f} "
            f"| {verdict(name, row, record['global_expert_bytes'])} |"
        )
    return "\n".join(lines)


def with_table(text: str, record: dict[str, Any]) -> str:
    """Return a document with the table between its two marks made anew."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{markdown(record)}\n{END}{rest.split(END)[1]}"
