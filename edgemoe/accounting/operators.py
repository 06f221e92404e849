"""What kind of operator each is: which ones only look at memory differently, which fuse, which multiply.

Sources: the ONNX operator specification; for the QOperator form, onnxruntime's contributed operators
(domain com.microsoft).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.accounting.onnx_reader import DTYPE_BITS, Attribute, Node, dtype_name
from edgemoe.accounting.shapes import SHAPE_RULES
from edgemoe.accounting.tensor import Shape, Tensor

__all__ = ["ELEMENTWISE", "VIEWS", "Plain", "is_known", "macs", "plain", "unpacked", "zeros_of"]

VIEWS = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout"}
"""Operators that move no data (a Dropout does nothing in inference)."""

_UNPACKED_LIMIT = 2**24  # elements of a weight that is computed here to count its zeros

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
    for place, i in enumerate(positions):  # a weight's scale and zero point follow it
        weight, zero_point = data[place], inputs[i + 2] if i + 2 < len(inputs) else None
        data[place] = weight and replace(weight, zeros=zeros_of(weight, zero_point))
    zero_point = inputs[scale + 1] if scale + 1 < len(inputs) else None
    dtype = zero_point.dtype if zero_point else "float32" if op == "Gemm" else _first(data).dtype
    output_scales = tuple(name for name in node.inputs[scale : scale + 2] if name)
    return Plain(op, data, scales, output_scales, dtype)


def unpacked(
    seen: Plain,
    node: Node,
    inputs: Sequence[Tensor | None],
    arrays: Mapping[str, npt.NDArray[Any] | None],
    shape: Shape,
) -> tuple[Tensor, npt.NDArray[Any] | None] | None:
    """Make a weight that is unpacked when the graph is loaded, and its array; None for anything else.

    A step of a shift and a list of positions say what to do, and are no part of it. The array is None where an input's
    is, or where it would be too large: `arrays` has those of all constants by name.
    """
    if seen.op not in ("BitShift", "Concat", "Cast", "Gather") or any(t and t.storage for t in inputs):
        return None
    parts = [t for t in (inputs[:1] if seen.op == "BitShift" else inputs) if t and t.value is None]
    weights = tuple(dict.fromkeys(name for t in parts for name in t.weights))
    known = [array for name in node.inputs if (array := arrays.get(name)) is not None]
    if len(known) < len(node.inputs) or math.prod(shape) > _UNPACKED_LIMIT:
        return Tensor(shape, seen.dtype, seen.dtype, weights), None
    axis = node.attributes.get("axis", 0)
    made: npt.NDArray[Any] = known[0]  # a Cast's, of codes to a wider type
    match seen.op:
        case "BitShift":
            left = node.attributes.get("direction") == "LEFT"
            if np.broadcast_shapes(*(array.shape for array in known)) != shape:
                raise ValueError(f"a shift of the shape {list(known[1].shape)} does not fit {list(shape)}")
            made = np.left_shift(*known) if left else np.right_shift(*known)
        case "Concat":
            made = np.concatenate(known, axis)  # type: ignore[arg-type]
        case "Gather":
            made = np.take(known[0], known[1].astype(np.int64), axis)  # type: ignore[arg-type]
    zeros = made.size - int(np.count_nonzero(made))
    return Tensor(shape, seen.dtype, seen.dtype, weights, zeros=zeros), made


def zeros_of(weight: Tensor, zero_point: Tensor | None) -> int | None:
    """Return how many elements of quantized weights stand for 0; None if that is not known."""
    return weight.zeros if zero_point is None or zero_point.zeros == zero_point.elements else None


def _first(inputs: Sequence[Tensor | None]) -> Tensor:
    if inputs[0] is None:
        raise ValueError("its first input is left out")
    return inputs[0]


def macs(
    op: str, attributes: Mapping[str, Attribute], data: Sequence[Tensor | None], shape: Shape
) -> tuple[int, int, int | None]:
    """Count the multiply-accumulates behind an output of the given shape.

    Returns
    -------
    (int, int, int or None)
        MACs; bits of the wider operand; MACs whose weight is 0 (each weight has as many MACs as every other), or None
        where that is not known. All are 0 for an operator without MACs.
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
            return 0, 0, 0
    bits = max(DTYPE_BITS[t.stored] for t in operands)
    weight = next((t for t in operands if t.weights), None)
    if weight is None or op == "BatchNormalization":
        return count, bits, 0
    return count, bits, None if weight.zeros is None else count // weight.elements * weight.zeros
