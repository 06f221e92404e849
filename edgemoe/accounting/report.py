"""What an expert and a profile cost, as a record and as tables.

The record of ``account --json``. Energies are of two kinds that are never mixed. Keys ending in ``energy_nj`` are the
ratio model's (Horowitz: bare arithmetic and memory at 45 nm), which tells how parts compare, and is wrong by three
orders of magnitude for a battery. Keys ending in ``uj`` are a board's, as measured, with a range. What is not known is
None, and the table says "unknown".

- "global", "local", "gate", "overhead", "routing", "layers", "unknown", "model", "model_source", "levels": `overhead`;
  "energy_kind" is "ratio". "profile": {"bytes", "header_bytes", "source"}.
- "modes": {"shared", "sequential", "both"}, each a list of {"rate", "macs", "energy_nj"} at routing rates 0 to 1;
  "sequential" is None where the graph has no output of features; `modes.expected_cost` says what each computes.
- "session": None, or {"user", "generic", "session_user", "session_generic": share of inputs routed, "samples": {"user",
  "generic"}, "expected": [{"user_share", "rate", "session_rate", "macs", "session_macs"}]}.
- "training": {"samples", "copies", "retained", "steps": [{"name", "macs", "bits", "bytes"}], "macs", "macs_by_bits",
  "energy_nj", "inferences" (of the global expert, by the ratio model), "flash_bytes"}; `training_cost.training_cost`.
- "boards": one for each: {"name", "title", "core", "source", "kind": "calibrated" or "measured", "clock_hz",
  "pj_per_mac", "pj_per_byte", "pj_per_instruction", "global", "local", "gate", "mixture": {"uj", "low_uj", "high_uj",
  "milliseconds"}, "overhead", "training": {"compute_uj", "flash_uj", "uj", "inferences"}, "battery": [{"cell",
  "capacity_mah", "volts", "inferences", "trainings", "per_day": [{"inferences", "share"}], "idle_share"}],
  "payoff": [{"against", "radio", "once_uj", "each_uj", "other_once_uj", "other_each_uj", "inferences", "until",
  "says"}]}.
  "inferences" of a payoff: from which number on the mixture has cost less, 0 if from the first, None if never or
  unknown; "until": up to which, None if for good; "says" is the sentence. Writing flash is in no payoff.
- "executed_on": the target whose instructions say what a training costs on every board.
- "board_nj": [least, most] that the boards are known to spend on the global expert, None without a board that is
  calibrated; "board_factor": the same, as times the ratio model's energy for each MAC.
- "truth": None, or {"target", "expert", "samples", "layers": [{"name", "macs", "bytes", "instructions", "fitted",
  "residual", "by_macs"}], "per_mac", "per_byte", "per_layer", "correlation", "correlation_bytes", "worst",
  "worst_by_macs", "global": {"macs", "instructions"}, "overhead": {"macs", "instructions"}, "training": {"macs",
  "instructions"}}; `truth.compare`.
- "expert": {"name", "fingerprint"}; "unpruned": `unpruned.unpruned_record`. With ``--against``, "against":
  `against.against`; with ``--html`` also "zoo": `zoo.zoo_record`, and "constants": `citations.cited_constants`.
"""

from dataclasses import asdict
from typing import Any

from edgemoe.accounting.cost import GraphCost, PartCost
from edgemoe.accounting.energy import EnergyModel, MemoryLevels, load_energy_model

__all__ = ["overhead"]

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
        - "energy_kind": "ratio".
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
        "energy_kind": "ratio",
    }


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
