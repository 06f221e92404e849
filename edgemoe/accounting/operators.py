"""What kind of operator each is: which ones only look at memory differently, which fuse, which multiply.

Sources: the ONNX operator specification; for the QOperator form, onnxruntime's contributed operators
(domain com.microsoft).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgemoe.accounting.onnx_reader import DTYPE_BITS, Attribute, Node, dtype_name
from edgemoe.accounting.shapes import SHAPE_RULES
from edgemoe.accounting.tensor import Shape, Tensor

__all__ = ["ELEMENTWISE", "VIEWS", "Plain", "is_known", "macs", "plain", "unpacked"]

VIEWS = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout"}
"""Operators that move no data (a Dropout does nothing in inference)."""

ELEMENTWISE = {
    *["Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Elu", "Tanh", "Cast"],
    *["BatchNormalization", "Add", "Sub", "Mul", "Div", "Max", "Min"],
}
"""Operators that fuse into the layer before, if all their other inputs are constants."""

_QLINEAR: dict[str, tuple[str, tuple[int, ...], int]] = {
    "QLinearConv": ("Conv", (0, 3, 8), 6),
    "QLinearMatMul": ("MatMul", (0, 3), 6),
    "QGemm": ("Gemm", (0, 3, 6), 7),
    "QLinearAdd": ("Add", (0, 3), 6),
    "QLinearMul": ("Mul", (0, 3), 6),
    "QLinearAveragePool": ("AveragePool", (0,), 3),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,), 3),
    "QLinearSigmoid": ("Sigmoid", (0,), 3),
    "QLinearLeakyRelu": ("LeakyRelu", (0,), 3),
    "QLinearSoftmax": ("Softmax", (0,), 3),
    "QLinearConcat": ("Concat", (), 0),  # its data are every third input from the third on
}
"""The float operator, the positions of its data, that of the output's scale (the zero point follows)."""


@dataclass(frozen=True)
class Plain:
    """A node, seen as a float operator.

    `data` are its inputs to compute with, `scales` the names of the others; `dtype` is its output's.
    `output_scales` names the scale and the zero point of the output, if it is quantized.
    """

    op: str
    data: list[Tensor | None]
    scales: list[str]
    output_scales: tuple[str, ...]
    dtype: str


def is_known(node: Node) -> bool:
    """Whether a rule counts the node's operator."""
    op = node.op_type
    if node.domain in ("", "ai.onnx"):
        return op in SHAPE_RULES or op in ("Shape", "QuantizeLinear", "DequantizeLinear", *_QLINEAR)
    return node.domain == "com.microsoft" and op in ("QuantizeLinear", "DequantizeLinear", *_QLINEAR)


def plain(node: Node, inputs: Sequence[Tensor | None]) -> Plain:
    """See an operator of the QOperator form as the float operator that it stands for, others as they are."""
    if node.op_type not in _QLINEAR:
        to = node.attributes.get("to")
        dtype = dtype_name(to) if node.op_type == "Cast" and isinstance(to, int) else _first(inputs).dtype
        return Plain(node.op_type, list(inputs), [], (), dtype)
    op, positions, scale = _QLINEAR[node.op_type]
    positions = positions or tuple(range(2, len(inputs), 3))
    scales = [name for i, name in enumerate(node.inputs) if name and i not in positions]
    data = [inputs[i] if i < len(inputs) else None for i in positions]
    zero_point = inputs[scale + 1] if scale + 1 < len(inputs) else None
    dtype = zero_point.dtype if zero_point else "float32" if op == "Gemm" else _first(data).dtype
    output_scales = tuple(name for name in node.inputs[scale : scale + 2] if name)
    return Plain(op, data, scales, output_scales, dtype)


def unpacked(op: str, inputs: Sequence[Tensor | None]) -> tuple[str, ...] | None:
    """Return which initializers a weight is made of when the graph is loaded; None for anything else.

    A step of a shift and a list of positions say what to do, and are no part of it.
    """
    if op not in ("BitShift", "Concat", "Cast", "Gather") or any(t and t.storage for t in inputs):
        return None
    parts = [t for t in (inputs[:1] if op == "BitShift" else inputs) if t and t.value is None]
    return tuple(dict.fromkeys(name for t in parts for name in t.weights))


def _first(inputs: Sequence[Tensor | None]) -> Tensor:
    if inputs[0] is None:
        raise ValueError("its first input is left out")
    return inputs[0]


def macs(op: str, attributes: Mapping[str, Attribute], data: Sequence[Tensor | None], shape: Shape) -> tuple[int, int]:
    """Count the multiply-accumulates behind an output of the given shape, and the width of the wider operand.

    Returns
    -------
    (int, int)
        MACs, and bits; (0, 0) for an operator without MACs.
    """
    elements = math.prod(shape)
    present = [t for t in data if t]
    match op:
        case "Conv":  # each output element is a sum over its group's channels and the kernel
            count, operands = elements * math.prod(present[1].shape[1:]), present[:2]
        case "Gemm":
            count, operands = elements * present[0].shape[0 if attributes.get("transA") else 1], present[:2]
        case "MatMul":
            count, operands = elements * present[0].shape[-1], present[:2]
        case "BatchNormalization":
            count, operands = elements, present
        case _:
            return 0, 0
    return count, max(DTYPE_BITS[t.stored] for t in operands)
