"""Energy and accuracy of each global expert that ships."""

from collections.abc import Mapping
from typing import Any

from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.accounting.report import overhead
from edgemoe.device.global_expert import load_global_expert, shipped_experts

__all__ = ["zoo_record"]


def zoo_record() -> list[dict[str, Any]]:
    """Count each shipped expert's int8 graph and set it beside the accuracy that its card records.

    Returns
    -------
    list of dict
        ``name``, ``classes`` (how many), ``parameters``, ``bytes``, ``macs``, ``energy_nj`` (by the ratio model),
        ``accuracy`` of the int8 form in [0, 1] and ``data``, the test set that it was measured on, the last one of the
        card; both None where it has none.
    """
    rows = []
    for name in shipped_experts():
        expert = load_global_expert(name)
        whole = overhead(count_graph(parse_onnx(expert.bundle.int8, name)))["global"]
        figures = expert.metadata.get("figures")
        data, accuracy = None, None
        for key, found in figures.items() if isinstance(figures, Mapping) else ():
            if isinstance(found, Mapping) and isinstance(found.get("int8"), float):
                data, accuracy = key, found["int8"]
        rows.append(
            {"name": name, "classes": len(expert.classes)}
            | {key: whole[key] for key in ("parameters", "bytes", "macs", "energy_nj")}
            | {"accuracy": accuracy, "data": data}
        )
    return rows
