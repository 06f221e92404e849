"""What an expert and a profile cost, as a record and as tables.

The record of ``account --json``. Energies are of one of two kinds that are never mixed: keys ending in ``energy_nj`` are
the ratio model's (Horowitz, bare arithmetic and memory at 45 nm: good for comparing parts, wrong by three orders of
magnitude for a battery), and keys ending in ``_uj`` and ``joule`` are a board's, as measured, with a range. What is not
known is None, and the table says "unknown".

- "global", "local", "gate", "overhead", "routing", "layers", "unknown", "model", "model_source", "levels": `overhead`;
  "energy_kind" is "ratio". "profile": {"bytes", "header_bytes", "source"}.
- "modes": {"shared", "sequential", "both"}, each a list of {"rate", "macs", "energy_nj"} at routing rates 0 to 1, or None
  where the graph has no output of features ("sequential"); `modes.expected_cost` says what each computes.
- "session": None, or {"user", "generic", "session_user", "session_generic": share of inputs routed, "samples": {"user",
  "generic"}, "expected": [{"user_share", "rate", "session_rate", "macs", "session_macs"}]}.
- "training": {"samples", "copies", "steps": [{"name", "macs", "bits"}], "macs", "macs_by_bits", "energy_nj",
  "inferences" (of the global expert, by the ratio model), "flash_bytes"}; `training_cost.training_cost`.
- "boards": one for each: {"name", "title", "core", "source", "kind": "calibrated" or "measured", "pj_per_mac",
  "pj_per_byte", "pj_per_instruction", "global", "local", "gate", "mixture": {"uj", "low_uj", "high_uj",
  "milliseconds"}, "overhead", "training": {"compute_uj", "flash_uj", "uj", "inferences"}, "battery": [{"cell",
  "capacity_mah", "volts", "inferences", "trainings", "per_day": [{"inferences", "share"}], "idle_share"}],
  "payoff": [{"against", "radio", "once_uj", "each_uj", "other_once_uj", "other_each_uj", "inferences", "says"}]}.
  "inferences" of a payoff: from which number on the mixture has cost less, 0 if from the first, None if never or
  unknown; "says" is the sentence.
- "truth": None, or {"target", "layers": [{"name", "macs", "bytes", "instructions", "fitted", "residual"}], "per_mac",
  "per_byte", "per_layer", "correlation", "worst", "global": {"macs", "instructions"}, "overhead": {"macs",
  "instructions"}, "training": {"macs", "instructions"}}; `truth.compare`.
"""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgemoe.accounting.cost import GraphCost, PartCost
from edgemoe.accounting.energy import EnergyModel, MemoryLevels, load_energy_model

__all__ = ["overhead", "print_report"]

_RATES = (0.0, 0.25, 0.5, 0.75, 1.0)


def overhead(
    global_cost: GraphCost,
    local: PartCost | None = None,
    gate: PartCost | None = None,
    model: EnergyModel | None = None,
) -> dict[str, Any]:
    """Set the costs of the parts against each other.

    Parameters
    ----------
    global_cost : GraphCost
        The global expert as deployed: count its int8 form.
    local, gate : PartCost, optional
        The local expert and the gate, which read features that the global expert has computed anyway. Without
        both there is no overhead to tell.
    model : EnergyModel, optional
        By default `load_energy_model()`.

    Returns
    -------
    dict
        The record that ``account --json`` prints, ready for `json.dumps`:

        - "global", "local", "gate": parameters, bytes, macs, traffic in bytes and energy_nj of each part;
          None for a part not given.
        - "overhead": bytes, macs and energy of local expert plus gate as fractions of the global expert, for
          an input that is routed to the local expert; None where the global expert counts nothing. "energy"
          is that of a profile in working memory, where the device trains and changes it; "energy_stored"
          that of one that is read where the global expert's weights are stored, at each inference.
        - "routing": expected macs and energy_nj of the whole mixture against the share of inputs that are
          routed. The global expert and the gate see every input.
        - "layers": the global expert's, with energy_nj; "unknown": what could not be counted.
        - "levels": the memory sizes that weights and activations imply.
        - "board_nj": what boards spend on so many MACs as the global expert has, lowest and highest.
    """
    model = model or load_energy_model()
    parts = {"global": global_cost.total(), "local": local, "gate": gate}
    stored = sum(part.bytes for part in parts.values() if part)
    working = sum(part.bytes for part in (local, gate) if part)
    levels = model.levels(stored, global_cost.peak_activation_bytes + working)
    near = MemoryLevels(weights=levels.activations, activations=levels.activations)
    report: dict[str, Any] = {
        name: part and _part(part, model, levels if name == "global" else near) for name, part in parts.items()
    }
    report["global"] |= {
        "file_bytes": global_cost.file_bytes,
        "peak_activation_bytes": global_cost.peak_activation_bytes,
    }
    report["overhead"], report["routing"] = None, []
    if local is not None and gate is not None:
        whole, added = report["global"], _part(local + gate, model, near)
        added["energy_stored_nj"] = model.energy_nj(local + gate, levels)
        shares = {"bytes": "bytes", "macs": "macs", "energy": "energy_nj", "energy_stored": "energy_nj"}
        report["overhead"] = {
            name: added["energy_stored_nj" if name == "energy_stored" else key] / whole[key] if whole[key] else None
            for name, key in shares.items()
        }
        report["routing"] = [
            {"rate": rate}
            | {k: whole[k] + report["gate"][k] + rate * report["local"][k] for k in ("macs", "energy_nj")}
            for rate in _RATES
        ]
    return report | {
        "layers": [asdict(c) | {"energy_nj": model.energy_nj(c.part(), levels)} for c in global_cost.layers],
        "unknown": [asdict(entry) for entry in global_cost.unknown],
        "model": model.name,
        "model_source": model.source,
        "levels": asdict(levels),
        "board_factor": list(model.board_factor),
        "board_nj": [factor * model.mac_nj(global_cost.total()) for factor in model.board_factor],
    }


def print_report(report: dict[str, Any], console: Console) -> None:
    """Print a record made by `overhead` as tables, with what the figures leave out."""
    names = {"global": "global expert", "local": "local expert", "gate": "gate"}
    columns = ["parameters", "bytes", "macs", "weight_bytes_read", "bytes_read", "bytes_written", "energy_nj"]
    headings = ["parameters", "bytes", "MACs", "weights read", "activ. read", "written", "energy nJ"]

    def table(title: str, first: str, rows: list[tuple[str, dict[str, Any]]]) -> Table:
        made = Table(title=title)
        made.add_column(first)
        for heading in headings:
            made.add_column(heading, justify="right")
        for name, row in rows:
            made.add_row(escape(name), *[f"{row[c]:,.1f}" if c == "energy_nj" else f"{row[c]:,}" for c in columns])
        return made

    layers = [(f"{layer['name']} ({layer['op']})", layer) for layer in report["layers"]]
    console.print(table("Layers of the global expert, one inference", "layer", layers))
    parts = [(title, report[name]) for name, title in names.items() if report[name]]
    console.print(table("Parts, one inference", "part", parts))
    whole = report["global"]
    console.print(
        f"The global expert's file has {whole['file_bytes']:,} bytes; "
        f"its activations take {whole['peak_activation_bytes']:,} bytes at most."
    )
    if report["overhead"]:
        names = {"bytes": "bytes", "macs": "macs", "energy": "energy", "energy_stored": "energy if read from storage"}
        shares = [f"{names[key]} {value:.2%}" for key, value in report["overhead"].items() if value is not None]
        console.print(f"Local expert and gate on top of the global expert: {', '.join(shares)}.")
        routing = Table(title="Cost against routing rate")
        for heading in ("routed", "MACs", "energy nJ"):
            routing.add_column(heading, justify="right")
        for row in report["routing"]:
            routing.add_row(f"{row['rate']:.0%}", f"{row['macs']:,.0f}", f"{row['energy_nj']:,.1f}")
        console.print(routing)
    times, board = report["board_factor"], report["board_nj"]
    console.print(
        f"Energies after {report['model']}, for ratios only: weights in {report['levels']['weights']}, "
        f"activations and profile in {report['levels']['activations']}. Real boards spend {times[0]:,.0f} to "
        f"{times[1]:,.0f} times as much for each MAC, {board[0] / 1e6:,.2g} to {board[1] / 1e6:,.2g} mJ for "
        "those of the global expert."
    )
    for entry in report["unknown"]:
        text = f"Not counted: {entry['name']} ({entry['op']}): {entry['reason']}."
        console.print(escape(text), style="bold red")


def _part(part: PartCost, model: EnergyModel, levels: MemoryLevels) -> dict[str, Any]:
    return {
        "parameters": part.parameters,
        "bytes": part.bytes,
        "macs": part.macs,
        "weight_bytes_read": part.weight_bytes_read,
        "bytes_read": part.bytes_read,
        "bytes_written": part.bytes_written,
        "energy_nj": model.energy_nj(part, levels),
    }
