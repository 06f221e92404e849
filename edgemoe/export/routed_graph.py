"""The whole mixture as one ONNX graph: the frozen global expert, and behind it gate and local expert in a few nodes.

Gate and local expert are one matrix of C + S + 1 columns (`folded`). In so small a network a node costs more than its
arithmetic, so this is one ``Gemm``: in int8 on the global expert's own integers where no weight is lost by it, or else
in float32.
"""

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgemoe.device.bundle import TAPS
from edgemoe.device.folded import Folded
from edgemoe.device.gate import CLOSED
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.device.symbols import FAR, RARE
from edgemoe.errors import EdgemoeError
from edgemoe.files import write_atomic

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["routed_graph", "write_routed_graph"]

LARGEST = 64
"""Of an int8 weight: two products with uint8 then fit the int16 sums of processors without VNNI (255 x 64 x 2 < 2**15;
onnxruntime's documentation of `reduce_range`)."""
ROUNDING = 2e-5  # of a correction's bias kept as an integer; no probability moves by more than half of it
SHIFTS = 1000  # constants tried, in [0, 1]
TINY = 1e-3  # the scale of weights that are all 0: its steps reach from `ROUNDING` to `FAR`
LOGITS, FEATURES = TAPS
SHARED = {*TAPS, "probabilities", "gate"}  # names that are known outside of the mixture's own nodes


def write_routed_graph(path: str | os.PathLike[str], moe: MixtureOfExperts) -> None:
    """Write `routed_graph` atomically."""
    write_atomic(path, routed_graph(moe))


def routed_graph(moe: MixtureOfExperts) -> bytes:
    """Return a mixture as one ONNX graph, opset 17, of standard operators.

    It reads ``image`` ``(n, 1, 28, 28)`` float32 in [0, 1], ink 1 on 0, and gives ``probabilities`` ``(n, C + S)``
    float32, those of S spare symbols last, and ``gate`` ``(n,)`` float32 in [0, 1], the local expert's weight: what
    `MixtureOfExperts.explain` says, to 1e-5. The global expert's nodes and weights are in it unchanged. Where the
    profile was declined, the gate is 0 and the global expert alone answers. The graph's metadata holds ``classes``, the
    columns' characters in order, and ``fingerprint``, the global expert's, in hexadecimal.

    Raises
    ------
    EdgemoeError
        If the package onnx is not installed, or the mixture is not fitted.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise EdgemoeError("export onnx: needs the package onnx (pip install 'edgemoe[export]')") from error

    profile = moe._fitted()
    count = len(moe.classes_)
    model = onnx.load_from_string(moe.ge.graph)
    graph = model.graph
    nodes, weights = _routed(moe, _features_scale(model)) if profile.verdict.accepted else _declined(moe)
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [name if name in SHARED else f"mixture.{name}" for name in names]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(array, f"mixture.{name}") for name, array in weights.items())
    graph.name = "mixture of experts"
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", count]))
    graph.output.append(helper.make_tensor_value_info("gate", TensorProto.FLOAT, ["n"]))
    model.producer_name = "edgemoe"
    helper.set_model_props(model, {"classes": "".join(moe.classes_), "fingerprint": moe.ge.fingerprint.hex()})
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def _signed(moe: MixtureOfExperts) -> Folded:
    """Return the mixture's matrix with scales above 0 and the threshold taken off the log-odds.

    A class without corrections keeps a bias that can be moved, and the bias of a spare symbol that was not taught puts
    it out of reach.
    """
    folded = moe._folded()
    bias = folded.bias.copy()
    bias[-1] -= moe.profile.verdict.threshold
    bias[len(moe.ge.classes) : -1] -= np.where(folded.taught, 0, FAR - RARE)
    codes = folded.codes * np.sign(folded.scales).astype(np.int16)
    return replace(folded, codes=codes, scales=np.where(folded.scales, np.abs(folded.scales), TINY), bias=bias)


def _features_scale(model: "ModelProto") -> float | None:
    """Return the step of the integers that the features are kept in, None if the graph keeps them as floats."""
    from onnx import numpy_helper

    for node in model.graph.node:
        if node.output[0] == FEATURES and node.op_type == "DequantizeLinear":
            for tensor in model.graph.initializer:
                if tensor.name == node.input[1]:
                    return float(numpy_helper.to_array(tensor))
    return None


def _routed(moe: MixtureOfExperts, features_scale: float | None) -> "tuple[list[NodeProto], dict[str, Any]]":
    """Return the nodes of gate, local expert and mixing, and their constants."""
    from onnx import helper

    make = helper.make_node
    count = len(moe.classes_)
    nodes, weights = _gemm(_signed(moe), features_scale)
    weights["sizes"] = np.array([count, 1], np.int64)
    weights["columns"] = np.array([1], np.int64)
    bare, widening = "", []
    if moe.profile.symbols:  # below the log-sum-exp, as `spare_logits` has them, which is 0 after LogSoftmax
        bare = "bare_"
        widening = [
            make("Pad", ["bare_global_logs", "pads", "rare"], ["global_logs"]),
            make("Pad", ["bare_global_probabilities", "pads"], ["global_probabilities"]),
        ]
        weights |= {"pads": _pads(moe), "rare": np.float32(-RARE)}
    nodes += [
        make("Split", ["linear", "sizes"], ["correction", "log_odds"], axis=1),
        make("Sigmoid", ["log_odds"], ["odds_weight"]),
        # `weigh` keeps a weight of exactly CLOSED, ThresholdedRelu only what is above its alpha.
        make(
            "ThresholdedRelu", ["odds_weight"], ["weight"], alpha=float(np.nextafter(np.float32(CLOSED), np.float32(0)))
        ),
        # One reader of the logits: for a second one onnxruntime would convert their integers again.
        make("LogSoftmax", [LOGITS], [f"{bare}global_logs"], axis=1),
        make("Exp", [f"{bare}global_logs"], [f"{bare}global_probabilities"]),
        *widening,
        make("Add", ["global_logs", "correction"], ["local_logits"]),
        make("Softmax", ["local_logits"], ["local_probabilities"], axis=1),
        # Where the weight is 0 this is the global expert's answer to the last bit.
        make("Sub", ["local_probabilities", "global_probabilities"], ["difference"]),
        make("Mul", ["difference", "weight"], ["change"]),
        make("Add", ["global_probabilities", "change"], ["probabilities"]),
        make("Squeeze", ["weight", "columns"], ["gate"]),
    ]
    return nodes, weights


def _gemm(linear: Folded, features_scale: float | None) -> "tuple[list[NodeProto], dict[str, Any]]":
    """Return the one matrix product."""
    from onnx import helper

    whole = None if features_scale is None else _whole(linear, features_scale)
    if whole is not None:
        codes, scales, steps, bias = whole
        weights: dict[str, Any] = {
            "codes": codes, "scales": scales, "zeros": np.zeros(len(scales), np.int8),
            "bias_codes": bias, "steps": steps, "bias_zeros": np.zeros(len(scales), np.int32),
        }  # fmt: skip
        return [
            helper.make_node("DequantizeLinear", ["codes", "scales", "zeros"], ["weights"], axis=1),
            helper.make_node("DequantizeLinear", ["bias_codes", "steps", "bias_zeros"], ["bias"], axis=0),
            helper.make_node("Gemm", [FEATURES, "weights", "bias"], ["linear"]),
        ], weights
    weights = {"weights": (linear.codes * linear.scales).astype(np.float32), "bias": linear.bias.astype(np.float32)}
    return [helper.make_node("Gemm", [FEATURES, "weights", "bias"], ["linear"])], weights


def _whole(linear: Folded, features_scale: float) -> tuple[npt.NDArray[Any], ...] | None:
    """Return int8 codes, their scales, the steps of the sums and the int32 bias; None if these would lose anything.

    The bias has to be a multiple of the features' step times the weights' scale. Two freedoms bring it close to one: a
    whole factor may be moved from a column's scale into its codes, and a constant may be added to all corrections,
    which no softmax sees. Of `SHIFTS` constants, the one that leaves the least rounding is taken.
    """
    room = LARGEST // np.maximum(np.abs(linear.codes).max(axis=0), 1)
    if room.min() < 1:
        return None
    factors = np.arange(1, room.max() + 1)[:, None]
    scales = (linear.scales / factors).astype(np.float32)
    steps = scales * np.float32(features_scale)
    columns = np.arange(len(room))
    allowed = np.where(columns < len(columns) - 1, ROUNDING, 2 * ROUNDING)  # a sigmoid's slope is a quarter at most
    least, found = np.inf, None
    for shift in np.linspace(0, 1, SHIFTS):
        wanted = linear.bias + shift * (columns < len(columns) - 1)
        bias = np.rint(wanted / steps)
        rounding = np.where((factors <= room) & (np.abs(bias) < 2**30), np.abs(bias * steps - wanted), np.inf)
        at = rounding.argmin(axis=0), columns
        worst = (rounding[at] / allowed).max()
        if worst < least:
            least, found = worst, (at, bias[at])
    if found is None or least > 1:
        return None
    at, bias = found
    return (linear.codes * factors[at[0], 0]).astype(np.int8), scales[at], steps[at], bias.astype(np.int32)


def _declined(moe: MixtureOfExperts) -> "tuple[list[NodeProto], dict[str, Any]]":
    """Return the global expert's answer and a gate of 0."""
    from onnx import helper

    nodes = [
        helper.make_node("Softmax", [LOGITS], ["global_probabilities"], axis=1),
        helper.make_node("Pad", ["global_probabilities", "pads"], ["probabilities"]),
        helper.make_node("ReduceSum", ["probabilities", "columns"], ["ones"], keepdims=0),
        helper.make_node("Mul", ["ones", "zero"], ["gate"]),
    ]
    return nodes, {"pads": _pads(moe), "columns": np.array([1], np.int64), "zero": np.float32(0)}


def _pads(moe: MixtureOfExperts) -> npt.NDArray[np.int64]:
    """Return what `Pad` needs to append a column for each spare symbol."""
    return np.array([0, 0, 0, len(moe.profile.symbols)], np.int64)
