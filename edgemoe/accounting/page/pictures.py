"""The sections of the page that draw something."""

from html import escape

from edgemoe.accounting.page.charts import Bar, Curve, Part, Point, bars, curves, scatter
from edgemoe.accounting.page.html import Page, count, legend, section, share

__all__ = ["cards", "overheads", "routing", "stacked", "zoo"]

_KEYS = (("bytes", "bytes stored"), ("macs", "multiply-accumulates"), ("energy_nj", "energy, by the ratio model"))
_MODES = {
    "shared": ("gate always, local expert where routed", "other"),
    "both": ("both always", "gate"),
    "sequential": ("gate first, then one expert’s head", "local"),
}


def cards(page: Page) -> str:
    """Show the overheads in large figures."""
    if not page.report["overhead"]:
        return ""
    made = ""
    for key, name in (("bytes", "memory"), ("macs", "arithmetic"), ("energy", "energy of an inference")):
        before = ""
        if page.report["unpruned"]:
            before = page.figure(f"unpruned.overhead.{key}", share)
            before = f"<span>{before} of the network before pruning</span>"
        made += f'<div class="card"><b>+{page.figure(f"overhead.{key}", share)}</b><span>{name}</span>{before}</div>'
    each = page.figure("training.inferences", count)
    made += f'<div class="card"><b>{each}</b><span>inferences’ energy for one training on '
    made += f"{page.figure('training.samples', count)} characters</span></div>"
    return f'<div class="cards">{made}</div>'


def stacked(page: Page) -> str:
    """Draw what each part costs, whole and magnified."""
    if not page.report["overhead"] or None in page.report["overhead"].values():
        return ""
    whole, added = [], []
    for key, name in _KEYS:
        base = page.value(f"global.{key}")
        parts = [Part(page.value(f"{part}.{key}"), f"{part}.{key}", part) for part in ("local", "gate")]
        if key == "bytes":
            parts.append(Part(page.value("profile.header_bytes"), "profile.header_bytes", "header"))
        extra = sum(part.value for part in parts)
        unit = " nJ" if key == "energy_nj" else ""
        whole.append(Bar(name, [Part(base, f"global.{key}", "global"), *parts], f"{base + extra:,.0f}{unit}", base))
        added.append(Bar(name, parts, f"+{share(extra / base)}", base))
    top = max(sum(p.value for p in bar.parts) / bar.base for bar in added)
    return section(
        "What the parts cost, one inference",
        bars("global expert, local expert and gate", whole, 1 + top),
        '<p class="note">The added part alone, magnified, as a share of the global expert:</p>',
        bars("local expert and gate, magnified", added, top),
        legend(
            ("global", "global expert"), ("local", "local expert"), ("gate", "gate"), ("header", "profile’s header")
        ),
        note=f"Energy: {escape(page.report['model'])}, weights in {page.report['levels']['weights']}, activations "
        f"and profile in {page.report['levels']['activations']}; for ratios only. Both parts are counted as if every "
        "input were routed to the local expert.",
    )


def overheads(page: Page) -> str:
    """Draw the overhead against the pruned and the unpruned network."""
    if not page.report["unpruned"] or not page.report["overhead"] or None in page.report["overhead"].values():
        return ""
    rows = []
    for key, name in (("bytes", "bytes"), ("macs", "MACs"), ("energy", "energy")):
        for path, kind, network in (("overhead", "local", "pruned"), ("unpruned.overhead", "other", "unpruned")):
            value = page.value(f"{path}.{key}")
            rows.append(Bar(f"{name}, against {network}", [Part(value, f"{path}.{key}", kind)], share(value)))
    shape = "-".join(map(str, page.value("unpruned.shape")))
    return section(
        "Overhead against the pruned and the unpruned global expert",
        bars("overheads", rows, max(p.value for row in rows for p in row.parts)),
        legend(("local", "against the pruned expert, which ships"), ("other", "against the unpruned one")),
        note=f"Before pruning the network was {shape}: {page.figure('unpruned.parameters', count)} parameters, "
        f"{page.figure('unpruned.bytes', count)} bytes in plain int8, {page.figure('unpruned.macs', count)} MACs. "
        "The overhead that counts is the one against the pruned expert: pruning makes it larger, and it is small all "
        "the same.",
    )


def routing(page: Page) -> str:
    """Draw the expected energy of each mode against the share of inputs routed."""
    base, found, shown = page.value("global.energy_nj"), [], []
    for mode, (name, kind) in _MODES.items():
        if page.value(f"modes.{mode}") and base:
            points = [(row["rate"], 100 * row["energy_nj"] / base) for row in page.value(f"modes.{mode}")]
            found.append(Curve(name, points, f"modes.{mode}", kind))
            first, last = points[0][1], points[-1][1]
            shown.append((kind, f"{name}: {first:.1f} to {last:.1f} %"))
    if not found:
        return ""
    return section(
        "Expected energy against the routing rate",
        curves(
            "energy against routing rate",
            found,
            "share of inputs routed to the local expert",
            "% of the global expert’s energy",
        ),
        legend(*shown),
        note="Dashed: the global expert alone. Ratio model.",
    )


def zoo(page: Page) -> str:
    """Draw energy and accuracy of the shipped experts."""
    rows = [(i, row) for i, row in enumerate(page.report["zoo"]) if row["accuracy"] is not None]
    if not rows:
        return ""
    chosen = page.report["expert"]["name"]
    points = [
        Point(
            f"{row['name'].removeprefix('lenet5-')} ({row['classes']} classes)",
            row["energy_nj"],
            100 * row["accuracy"],
            f"zoo.{i}",
            "local" if row["name"] == chosen else "other",
        )
        for i, row in rows
    ]
    sets = " and ".join(sorted({row["data"] for _, row in rows}))
    return section(
        "Energy against accuracy: the global experts that ship",
        scatter(
            "energy against accuracy",
            points,
            "energy of an inference, nJ, by the ratio model",
            "accuracy, %",
            lambda v: f"{v:,.0f}",
        ),
        legend(("local", "this one"), ("other", "the others")),
        note=f"int8, on {escape(sets)}. Fewer classes are easier to tell apart: compare experts of the same classes.",
    )
