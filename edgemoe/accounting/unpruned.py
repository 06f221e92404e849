"""What the network was before it was pruned: counted from the pruned one's graph and the widths that its card tells."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgemoe.accounting.cost import PartCost
from edgemoe.accounting.energy import load_energy_model
from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import OnnxModel, TensorData, parse_onnx
from edgemoe.device.global_expert import GlobalExpert
from edgemoe.errors import EdgemoeError

__all__ = ["unpruned_record", "widened"]


def unpruned_record(expert: GlobalExpert, report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Set a mixture against the network that its global expert was pruned from, in plain int8.

    That is one byte a weight and four a bias, which flatters the mixture less than four bytes a weight would.

    Parameters
    ----------
    expert : GlobalExpert
    report : mapping
        The record of the pruned expert and a profile, by `edgemoe.accounting.record`.

    Returns
    -------
    dict or None
        "shape", "parameters", "bytes", "macs", "energy_nj", and "overhead": {"bytes", "macs", "energy"}, of local
        expert and gate as fractions of this network; None where the card does not tell the widths.
    """
    training = expert.metadata.get("training")
    shape = training.get("shape") if isinstance(training, Mapping) else None
    if not isinstance(shape, list) or not all(isinstance(width, int) and 0 < width < 2**20 for width in shape):
        return None
    graph = count_graph(widened(parse_onnx(expert.bundle.float32, expert.name), [*shape, len(expert.classes)]))
    floats = graph.total()
    biases = sum(shape) + len(expert.classes)
    kept = floats.parameters + 3 * biases
    whole = PartCost(floats.parameters, kept, {8: floats.macs}, kept, floats.bytes_read // 4, floats.bytes_written // 4)
    model = load_energy_model()
    energy = model.energy_nj(whole, model.levels(kept, graph.peak_activation_bytes // 4))
    record = {
        "shape": shape,
        "parameters": whole.parameters,
        "bytes": whole.bytes,
        "macs": whole.macs,
        "energy_nj": energy,
        "overhead": None,
    }
    if report["local"] and report["gate"]:
        record["overhead"] = {
            "bytes": report["profile"]["bytes"] / whole.bytes,
            "macs": (report["local"]["macs"] + report["gate"]["macs"]) / whole.macs,
            "energy": (report["local"]["energy_nj"] + report["gate"]["energy_nj"]) / energy,
        }
    return record


def widened(model: OnnxModel, widths: Sequence[int]) -> OnnxModel:
    """Return a chain of Conv and Gemm layers with other output widths, its weights without values.

    Parameters
    ----------
    model : OnnxModel
        A float graph; each weighted layer reads the one before it.
    widths : sequence of int
        Output channels or units of each weighted layer, in order.

    Raises
    ------
    EdgemoeError
        If there are more or fewer layers than widths, or a layer is no Conv or Gemm with its weight the common way.
    """
    layers = [node for node in model.nodes if node.op_type in ("Conv", "Gemm", "MatMul")]
    initializers = dict(model.initializers)
    if len(layers) != len(widths):
        raise EdgemoeError(f"{model.source}: {len(layers)} weighted layers, and {len(widths)} widths")
    before = made = 0
    for node, width in zip(layers, widths, strict=True):
        weight = initializers.get(node.inputs[1])
        dense = node.op_type == "Gemm" and node.attributes.get("transB") == 1
        if weight is None or not (dense or (node.op_type == "Conv" and node.attributes.get("group", 1) == 1)):
            raise EdgemoeError(f"{model.source}: node {node.name}: is no layer that could be widened")
        rows, inner, *kernel = weight.dims
        # A flattened map has as many inputs for each channel as it has pixels.
        inner = inner // before * made if before else inner
        initializers[weight.name] = _empty(weight, (width, inner, *kernel))
        if len(node.inputs) > 2:
            initializers[node.inputs[2]] = _empty(initializers[node.inputs[2]], (width,))
        before, made = rows, width
    return replace(model, initializers=initializers, value_info=(), outputs=model.outputs)


def _empty(data: TensorData, dims: tuple[int, ...]) -> TensorData:
    return replace(data, dims=dims, values=None)
