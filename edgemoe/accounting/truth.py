"""Sets counts against what a processor executes: instructions of each layer, on an emulated board.

Instructions are not cycles and not joules. But nothing in them is assumed: a wrong count, or a cost that no count has,
shows as a layer off the line. `firmware_export.executed` writes the files that are read here.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgemoe.accounting.constants import of_type, read_object
from edgemoe.accounting.cost import GraphCost, LayerCost, PartCost
from edgemoe.errors import EdgemoeError

__all__ = ["Executed", "compare", "load_executed"]

_COUNTS = ("global", "mixture", "training")


@dataclass(frozen=True)
class Executed:
    """Instructions of an expert on a target.

    Parameters
    ----------
    target, expert, fingerprint : str
    layers : mapping of str to int
        Of each layer with weights, by the name that the graph has for it; what comes before the first and behind the
        last counts to these.
    instructions : mapping of str to int
        "global" and "mixture" of an inference, "training" of a whole training.
    macs, update_macs : int
        Of the network as the C library has it, and of a training without the passes of the global expert.
    samples, retained : int
        Of that training.
    """

    target: str
    expert: str
    fingerprint: str
    layers: Mapping[str, int]
    instructions: Mapping[str, int]
    macs: int
    update_macs: int
    samples: int
    retained: int

    @property
    def per_update_mac(self) -> float:
        """Instructions of a training for each MAC, the passes of the global expert left out of both."""
        passes = self.samples * self.instructions["global"]
        return (self.instructions["training"] - passes) / self.update_macs


def load_executed(path: str | os.PathLike[str] | None = None) -> Executed:
    """Load a record of executed instructions, by default the shipped one of a Cortex-M4."""
    path = path or Path(__file__).with_name("executed_cortex-m4.json")
    place, content = os.fspath(path), read_object(path)

    def count(values: Any, name: str) -> int:
        value = of_type(values, dict, place, "counts").get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise EdgemoeError(f"{place}: {name}: is missing or no positive count")
        return value

    layers = of_type(content.get("layers"), dict, place, "layers")
    return Executed(
        target=of_type(content.get("target"), str, place, "target"),
        expert=of_type(content.get("expert"), str, place, "expert"),
        fingerprint=of_type(content.get("fingerprint"), str, place, "fingerprint"),
        layers={name: count(layers, name) for name in layers},
        instructions={name: count(content.get("instructions"), name) for name in _COUNTS},
        macs=count(content, "macs"),
        update_macs=count(content, "update_macs"),
        samples=count(content, "samples"),
        retained=count(content, "retained"),
    )


def compare(graph: GraphCost, executed: Executed, added: PartCost | None, training: PartCost | None) -> dict[str, Any]:
    """Fit instructions to counts, layer by layer, and return the fit with its residuals.

    The fit is ``per_mac * macs + per_byte * weight_bytes + per_layer``, by least squares of relative errors, so that
    small layers count as much as large ones: a weight of a dense layer is used once, and reading and unpacking it costs
    as much as its MAC. "by_macs" is what the MACs alone would say, at the network's mean.

    Parameters
    ----------
    graph : GraphCost
    executed : Executed
        Of the same expert.
    added : PartCost, optional
        Local expert and gate.
    training : PartCost, optional
        A training on `executed.samples` samples.

    Raises
    ------
    EdgemoeError
        If the layers are not the graph's.
    """
    groups = _groups(graph.layers, executed.layers)
    rows = np.array([[sum(x.macs for x in g), sum(x.weight_bytes_read for x in g), 1] for g in groups.values()], float)
    moved = [sum(x.weight_bytes_read + x.bytes_read + x.bytes_written for x in group) for group in groups.values()]
    found = np.array([executed.layers[name] for name in groups], float)
    macs = rows[:, 0]
    constants = np.linalg.lstsq(rows / found[:, None], np.ones(len(found)), rcond=None)[0]
    fitted, alone = rows @ constants, macs * found.sum() / macs.sum()
    off = found / fitted - 1
    whole, mixture, trained = (executed.instructions[name] for name in _COUNTS)
    return {
        "target": executed.target,
        "expert": executed.expert,
        "samples": executed.samples,
        "layers": [
            {
                "name": name,
                "macs": int(macs[i]),
                "bytes": int(moved[i]),
                "instructions": int(found[i]),
                "fitted": float(fitted[i]),
                "residual": float(off[i]),
                "by_macs": float(alone[i]),
            }
            for i, name in enumerate(groups)
        ],
        **dict(zip(("per_mac", "per_byte", "per_layer"), constants.tolist(), strict=True)),
        "correlation": float(np.corrcoef(macs, found)[0, 1]) if len(found) > 1 else None,
        "correlation_bytes": float(np.corrcoef(moved, found)[0, 1]) if len(found) > 1 else None,
        "worst": float(off[np.abs(off).argmax()]),
        "worst_by_macs": float((found / alone - 1)[np.abs(found / alone - 1).argmax()]),
        "global": {"macs": graph.total().macs, "instructions": whole},
        "overhead": {
            "macs": added.macs / graph.total().macs if added else None,
            "instructions": mixture / whole - 1,
        },
        "training": {"macs": training.macs if training else None, "instructions": trained},
    }


def _groups(layers: Sequence[LayerCost], names: Mapping[str, int]) -> dict[str, list[LayerCost]]:
    """Put each layer to the last named one before it, in whose step its pooling or conversion runs."""
    groups: dict[str, list[LayerCost]] = {}
    before: list[LayerCost] = []
    for layer in layers:
        if layer.name in names:
            groups[layer.name] = [*before, layer]
            before = []
        elif groups:
            groups[next(reversed(groups))].append(layer)
        else:
            before.append(layer)
    if list(groups) != list(names):
        raise EdgemoeError(f"executed layers {', '.join(names)}: the graph has {', '.join(groups) or 'none of them'}")
    return groups
