"""Output shapes of the operators that are counted, one small function each.

Source: the ONNX operator specification. A function gets the node's attributes and its inputs, and returns the
shape of its first output; ValueError, IndexError and the like mean that the inputs do not fit the operator.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgemoe.accounting.onnx_reader import Attribute
from edgemoe.accounting.tensor import VALUE_LIMIT, Shape, Tensor

__all__ = ["SHAPE_RULES", "STRUCTURED", "fold"]

_Attributes = Mapping[str, Attribute]
_Inputs = Sequence[Tensor | None]
_Rule = Callable[[_Attributes, _Inputs], Shape]


def _shape(inputs: _Inputs, index: int = 0) -> Shape:
    tensor = inputs[index]
    if tensor is None:
        raise ValueError(f"input {index} is left out")
    return tensor.shape


def _integers(attributes: _Attributes, name: str, default: Sequence[int]) -> Shape:
    value = attributes.get(name)
    if value is None:
        return tuple(default)
    if not isinstance(value, tuple):
        raise ValueError(f"attribute {name} is not a list of integers")
    return tuple(int(v) for v in value)


def _integer(attributes: _Attributes, name: str, default: int) -> int:
    value = attributes.get(name, default)
    if not isinstance(value, int):
        raise ValueError(f"attribute {name} is not an integer")
    return value


def _operand(attributes: _Attributes, name: str, inputs: _Inputs, index: int) -> Shape | None:
    """Integers that older opsets give as an attribute, and newer ones as a constant input; None if absent."""
    tensor = inputs[index] if len(inputs) > index else None
    if tensor is None:
        return _integers(attributes, name, ()) if name in attributes else None
    if tensor.value is None:
        raise ValueError(f"its {name} are computed at run time")
    return tuple(int(v) for v in tensor.value.ravel())


def _axes(axes: Sequence[int], rank: int) -> list[int]:
    if any(not -rank <= a < rank for a in axes):
        raise ValueError(f"no axis {list(axes)} in {rank} dimensions")
    return [a % rank for a in axes]


def _same(attributes: _Attributes, inputs: _Inputs) -> Shape:
    return _shape(inputs)


def _broadcast(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shapes = [t.shape for t in inputs if t is not None]
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    sizes = [{d for d in axis if d != 1} for axis in zip(*padded, strict=True)]
    if any(len(s) > 1 for s in sizes):
        raise ValueError(f"shapes {' and '.join(str(list(s)) for s in shapes)} do not broadcast")
    return tuple(s.pop() if s else 1 for s in sizes)


def _window(attributes: _Attributes, inputs: _Inputs, kernel: Shape) -> Shape:
    """The spatial output of a sliding window."""
    spatial = _shape(inputs)[2:]
    rank = len(spatial)
    strides = _integers(attributes, "strides", [1] * rank)
    dilations = _integers(attributes, "dilations", [1] * rank)
    pads = _integers(attributes, "pads", [0] * 2 * rank)
    if {len(kernel), len(strides), len(dilations)} != {rank} or len(pads) != 2 * rank or min(strides) < 1:
        raise ValueError(f"kernel, strides, dilations or pads do not fit {rank} spatial axes")
    auto_pad = attributes.get("auto_pad") or "NOTSET"
    ceil = _integer(attributes, "ceil_mode", 0)
    sizes = []
    for i, size in enumerate(spatial):
        reach = (kernel[i] - 1) * dilations[i] + 1
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            sizes.append(-(-size // strides[i]))
            continue
        begin, end = (0, 0) if auto_pad == "VALID" else (pads[i], pads[rank + i])
        room = size + begin + end - reach
        steps = room // strides[i]
        # In ceil mode a last window may hang over the edge, but must not begin in the padding behind it.
        if ceil and room % strides[i] and (steps + 1) * strides[i] < size + begin:
            steps += 1
        sizes.append(steps + 1)
    return tuple(sizes)


def _conv(attributes: _Attributes, inputs: _Inputs) -> Shape:
    image, weight = _shape(inputs), _shape(inputs, 1)
    group = _integer(attributes, "group", 1)
    if len(weight) != len(image) or weight[1] * group != image[1] or weight[0] % group:
        raise ValueError(f"weight {list(weight)} in {group} groups does not fit input {list(image)}")
    return (image[0], weight[0], *_window(attributes, inputs, weight[2:]))


def _pool(attributes: _Attributes, inputs: _Inputs) -> Shape:
    return (*_shape(inputs)[:2], *_window(attributes, inputs, _integers(attributes, "kernel_shape", ())))


def _global_pool(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shape = _shape(inputs)
    return shape[:2] + (1,) * (len(shape) - 2)


def _gemm(attributes: _Attributes, inputs: _Inputs) -> Shape:
    a, b = _shape(inputs), _shape(inputs, 1)
    rows, inner = reversed(a) if _integer(attributes, "transA", 0) else a
    other, columns = reversed(b) if _integer(attributes, "transB", 0) else b
    if inner != other:
        raise ValueError(f"matrices {list(a)} and {list(b)} do not multiply")
    return (rows, columns)


def _matmul(attributes: _Attributes, inputs: _Inputs) -> Shape:
    a, b = _shape(inputs), _shape(inputs, 1)
    left = a if len(a) > 1 else (1, *a)
    right = b if len(b) > 1 else (*b, 1)
    if left[-1] != right[-2]:
        raise ValueError(f"matrices {list(a)} and {list(b)} do not multiply")
    stack = [Tensor(left[:-2], "", ""), Tensor(right[:-2], "", "")]
    return _broadcast({}, stack) + left[-2:-1] * (len(a) > 1) + right[-1:] * (len(b) > 1)


def _flatten(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shape = _shape(inputs)
    axis = _integer(attributes, "axis", 1)
    axis += len(shape) if axis < 0 else 0
    return (math.prod(shape[:axis]), math.prod(shape[axis:]))


def _reshape(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shape = _shape(inputs)
    target = list(_operand(attributes, "shape", inputs, 1) or ())
    if not _integer(attributes, "allowzero", 0):
        target = [shape[i] if d == 0 else d for i, d in enumerate(target)]
    if target.count(-1) == 1:
        target[target.index(-1)] = math.prod(shape) // -math.prod(target)
    if any(d < 0 for d in target) or math.prod(target) != math.prod(shape):
        raise ValueError(f"{list(shape)} does not reshape to {target}")
    return tuple(target)


def _squeeze(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shape = _shape(inputs)
    axes = _operand(attributes, "axes", inputs, 1)
    drop = [i for i, d in enumerate(shape) if d == 1] if axes is None else _axes(axes, len(shape))
    return tuple(d for i, d in enumerate(shape) if i not in drop)


def _unsqueeze(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shape = list(_shape(inputs))
    axes = _operand(attributes, "axes", inputs, 1) or ()
    for axis in sorted(_axes(axes, len(shape) + len(axes))):
        shape.insert(axis, 1)
    return tuple(shape)


def _transpose(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shape = _shape(inputs)
    order = _integers(attributes, "perm", range(len(shape))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"perm {list(order)} does not fit {list(shape)}")
    return tuple(shape[i] for i in order)


def _concat(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shapes = [_shape(inputs, i) for i in range(len(inputs))]
    [axis] = _axes([_integer(attributes, "axis", 1)], len(shapes[0]))
    if len({s[:axis] + s[axis + 1 :] for s in shapes}) > 1:
        raise ValueError(f"shapes {' and '.join(str(list(s)) for s in shapes)} do not join on axis {axis}")
    return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])


def _reduce(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shape = _shape(inputs)
    given = _operand(attributes, "axes", inputs, 1)
    if not given and _integer(attributes, "noop_with_empty_axes", 0):
        return shape
    axes = _axes(given or range(len(shape)), len(shape))
    keep = _integer(attributes, "keepdims", 1)
    return tuple(1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes)


def _pad(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shape = _shape(inputs)
    pads = _operand(attributes, "pads", inputs, 1) or ()
    if len(pads) != 2 * len(shape) or (len(inputs) > 3 and inputs[3] is not None):
        raise ValueError(f"pads {list(pads)} do not fit {list(shape)}")
    return tuple(d + pads[i] + pads[len(shape) + i] for i, d in enumerate(shape))


def _slice(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shape = list(_shape(inputs))
    starts = _operand(attributes, "starts", inputs, 1) or ()
    ends = _operand(attributes, "ends", inputs, 2) or ()
    axes = _axes(_operand(attributes, "axes", inputs, 3) or range(len(starts)), len(shape))
    steps = _operand(attributes, "steps", inputs, 4) or (1,) * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        shape[axis] = len(range(*slice(start, end, step).indices(shape[axis])))
    return tuple(shape)


def _gather(attributes: _Attributes, inputs: _Inputs) -> Shape:
    shape, indices = _shape(inputs), _shape(inputs, 1)
    [axis] = _axes([_integer(attributes, "axis", 0)], len(shape))
    return shape[:axis] + indices + shape[axis + 1 :]


SHAPE_RULES: dict[str, _Rule] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "Pad": _pad,
    "Slice": _slice,
    "Gather": _gather,
    **dict.fromkeys(["ReduceMean", "ReduceSum", "ReduceMax"], _reduce),
    **dict.fromkeys(["Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu"], _broadcast),
    **dict.fromkeys(["Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Elu", "Tanh"], _same),
    **dict.fromkeys(["BatchNormalization", "Softmax", "LogSoftmax", "Identity", "Dropout", "Cast", "BitShift"], _same),
}

STRUCTURED = {"Reshape", "Squeeze", "Unsqueeze", "Clip", "Pad", "Slice", "Gather", "Dropout", "BitShift"} | {
    name for name in SHAPE_RULES if name.startswith("Reduce")
}
"""Operators whose inputs after the first say what to do, and are not data to compute with."""


def fold(op: str, attributes: _Attributes, inputs: _Inputs) -> npt.NDArray[np.int64] | None:
    """Compute what exporters write to find a shape (Shape, Gather, Concat...); None for anything else."""
    if op == "Shape":
        end = attributes.get("end")
        stop = end if isinstance(end, int) else None
        return np.array(_shape(inputs)[_integer(attributes, "start", 0) : stop], np.int64)
    values = [t.value for t in inputs if t is not None and t.value is not None]
    if not values or len(values) < len(inputs):
        return None
    result = None
    match op:
        case "Gather":
            result = np.asarray(np.take(values[0], values[1], _integer(attributes, "axis", 0)))
        case "Concat":
            result = np.concatenate(values, _integer(attributes, "axis", 0))
        case "Squeeze" | "Unsqueeze":
            result = values[0].reshape(SHAPE_RULES[op](attributes, inputs))
        case "Cast" | "Identity":
            result = values[0]
    return result if result is not None and result.size <= VALUE_LIMIT else None
