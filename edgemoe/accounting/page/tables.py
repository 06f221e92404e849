"""The sections of the page that are tables."""

from html import escape
from typing import Any

from edgemoe.accounting.against import about
from edgemoe.accounting.page.html import Page, count, nj, section, share, table, tenth

__all__ = ["against", "boards", "constants", "layers", "unknown"]

_ROWS = {"global": "whole", "mixture": "ours", "mixture-session": "ours"}  # classes in the style sheet


def unknown(page: Page) -> str:
    """Name what could not be counted."""
    rows = [
        ("", [escape(e["name"]), escape(e["op"]), escape(e["reason"]), f"{e['bytes']:,}"])
        for e in page.report["unknown"]
    ]
    if not rows:
        return ""
    made = table(["not counted", "operator", "why", "bytes"], rows, words=[1, 2])
    return section('<span class="unknown">Not in any figure below</span>', made)


def against(page: Page) -> str:
    """Set other ways to adapt beside the mixture."""
    rows = []
    for i, row in enumerate(page.report["against"]["methods"]):
        at = f"against.methods.{i}"
        cells = [
            escape(row["title"]),
            page.figure(f"{at}.user_accuracy", tenth),
            page.figure(f"{at}.generic_accuracy", tenth),
            page.figure(f"{at}.bytes", count),
            page.figure(f"{at}.adapt_macs", lambda v: f"{v / 1e6:,.0f} M"),
            page.figure(f"{at}.adapt_inferences", count),
            page.figure(f"{at}.inference_energy_nj", nj),
        ]
        rows.append((_ROWS.get(row["method"], ""), cells))
    headings = ["method", "the user’s characters read", "everybody’s characters read", "bytes kept"]
    headings += ["MACs to adapt", "… in inferences’ energy", "energy of an inference"]
    return section(
        "Against other ways to adapt",
        _told(page.report["against"]["methods"]),
        table(headings, rows),
        note=escape(about(page.report["against"])) + " Ratio model.",
    )


def _told(methods: list[dict[str, Any]]) -> str:
    """Say in a sentence what the mixture gains and costs, and full fine-tuning beside it."""
    rows = {row["method"]: row for row in methods}
    alone, ours, full = rows["global"], rows["mixture-session"], rows["full-finetune"]
    shares = ("user_accuracy", "generic_accuracy")
    if any(row[key] is None for row in (alone, ours, full) for key in shares) or not ours["adapt_macs"]:
        return ""

    def points(row: dict[str, Any], key: str) -> str:
        return f"{100 * (row[key] - alone[key]):+.1f}".replace("-", "−")

    kept, spent = (full[key] / ours[key] for key in ("bytes", "adapt_macs"))
    return (
        f"<p>In sessions, the mixture changes what is read of the user’s characters by {points(ours, shares[0])} "
        f"points and of everybody’s by {points(ours, shares[1])}. Full fine-tuning changes them by "
        f"{points(full, shares[0])} and {points(full, shares[1])}, keeps {kept:,.0f} times the bytes, and takes "
        f"{spent:,.0f} times the arithmetic to adapt.</p>"
    )


def boards(page: Page) -> str:
    """Tell joules and milliseconds on boards."""
    rows = []
    for i, board in enumerate(page.report["boards"]):
        at = f"boards.{i}"
        span = ""
        if board["mixture"]["low_uj"] is not None:
            low, high = (page.figure(f"{at}.mixture.{end}_uj", count) for end in ("low", "high"))
            span = f'<span class="range">{low} to {high}</span>'
        cells = [
            f"{escape(board['title'])}, {escape(board['core'])}",
            page.figure(f"{at}.mixture.uj", count),
            span or '<span class="unknown">unknown</span>',
            page.figure(f"{at}.mixture.milliseconds", lambda v: f"{v:,.1f}"),
            page.figure(f"{at}.overhead", share),
            page.figure(f"{at}.training.compute_uj", lambda v: f"{v / 1e6:,.2f}"),
            page.figure(f"{at}.battery.0.inferences", count),
        ]
        rows.append(("", cells))
    if not rows:
        return ""
    cell = page.value("boards.0.battery.0.cell")
    headings = [
        "board",
        "µJ an inference",
        "range, µJ",
        "ms",
        "overhead",
        "J a training",
        f"inferences from a {cell}",
    ]
    return section(
        "On boards, in joules",
        table(headings, rows),
        note="Of the mixture, from energies that others measured on these boards; the range is the least and the most "
        "that was published for each MAC. “unknown” is not zero: nobody published it.",
    )


def layers(page: Page) -> str:
    """List the layers of the global expert."""
    names = ("parameters", "bytes", "macs", "weight_bytes_read", "bytes_read", "bytes_written")
    rows = []
    for i, layer in enumerate(page.report["layers"]):
        cells = [page.figure(f"layers.{i}.{name}", count) for name in names]
        title = f"{layer['name']} ({layer['op']})"
        rows.append(("", [escape(title), *cells, page.figure(f"layers.{i}.energy_nj", nj)]))
    headings = ["layer", "parameters", "bytes", "MACs", "weights read", "activations read", "written", "energy"]
    peak = page.figure("global.peak_activation_bytes", count)
    made = table(headings, rows)
    return section(
        "The global expert, layer by layer",
        f"<details><summary>{len(rows)} layers</summary>{made}</details>",
        note=f"Counted from its int8 ONNX graph. Activations take {peak} bytes at most. Energy: ratio model.",
    )


def constants(page: Page) -> str:
    """List the constants and their sources."""
    rows = []
    for i, entry in enumerate(page.report["constants"]):
        value = page.figure(f"constants.{i}.value", lambda v: f"{v:,.6g}")
        text = [escape(entry["file"]), escape(entry["name"]), value, escape(entry["unit"])]
        rows.append(("", [*text, escape(entry["source"] or "")]))
    sources = sorted(
        {
            str(entry["source"]).split(":")[0].split(", closed/")[0]
            for entry in page.report["constants"]
            if entry["value"] is not None
        }
    )
    listed = "".join(f"<li>{escape(source)}</li>" for source in sources)
    made = table(["file", "constant", "value", "unit", "source"], rows, words=[1, 3, 4])
    return section(
        "Where the constants come from",
        f"<ul>{listed}</ul>",
        f"<details><summary>All {len(rows)} constants</summary>{made}</details>",
    )
