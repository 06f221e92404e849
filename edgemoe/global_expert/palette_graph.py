"""Dense weights of an int8 graph as 4-bit codes into a palette of 16 int8 values.

A layer keeps two codes a byte, its palette, and one scale for all of its weights. Nodes that read constants alone
unpack them, which a runtime does once, when it loads the graph: what it then computes is what it would compute with the
int8 weights themselves.
"""

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["COLOURS", "nearest_grid", "write_palettes"]

COLOURS = 16  # values of a palette: as many as 4 bits tell apart
LARGEST = 63  # of an int8 weight, in 7 bits as `quantize` has them
SCALES = 4000  # tried for a palette; of 16 values, ten times as many bring the error down by less than a hundredth

Floats = npt.NDArray[np.floating]


def write_palettes(model: ModelProto, source: ModelProto) -> None:
    """Store the dense weights of a quantized graph as codes, in place, wherever a palette holds them.

    That is wherever the float weights have at most 16 distinct values in even rows: `unify` and `unify_while_training`
    see to it. All other layers stay as they are, so a layer of an odd number of inputs keeps plain int8 weights.

    Parameters
    ----------
    model : ModelProto
        The quantizer's int8 graph in QDQ form: each dense layer (``Gemm``) reads input, weight and bias from a
        DequantizeLinear each.
    source : ModelProto
        The float graph that it was made from, whose nodes have the same names.
    """
    floats = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.graph.initializer}
    layers = {node.name: (floats[node.input[1]], floats[node.input[2]]) for node in _dense(source)}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    nodes: list[NodeProto] = []
    for node in _dense(model):
        weight, bias = layers[node.name]
        values, codes, counts = np.unique(weight, return_inverse=True, return_counts=True)
        if weight.shape[1] % 2 or len(values) > COLOURS:
            continue
        activation, read, added = (makers[name] for name in node.input)
        scale, palette = nearest_grid(values, counts)
        step = scale * numpy_helper.to_array(constants[activation.input[1]])
        for dequantize, its_scale, zero in ((read, scale, np.int8(0)), (added, step, np.int32(0))):
            del dequantize.attribute[:]  # the axis: there is one scale now
            _put(constants, dequantize.input[1], np.float32(its_scale))
            _put(constants, dequantize.input[2], zero)
        _put(constants, added.input[0], np.rint(bias / step).astype(np.int32))
        left, right = np.split(codes.reshape(weight.shape).astype(np.uint8), 2, axis=1)
        quantized = read.input[0]
        _put(constants, f"{quantized}.codes", left | right << 4)
        _put(constants, f"{quantized}.palette", np.pad(palette, (0, COLOURS - len(palette)), mode="edge"))
        del constants[quantized]
        nodes += _unpack(quantized)
    if nodes:
        _put(constants, "four", np.uint8(4))
    rest = list(model.graph.node)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend([*nodes, *rest])
    model.graph.initializer.extend(constants.values())


def nearest_grid(values: Floats, counts: npt.NDArray[np.int64]) -> tuple[np.float32, npt.NDArray[np.int8]]:
    """Return the scale with which integers up to 63 stand best for a palette's values, and these integers.

    The largest value need not be 63: the squared error, each value counted as often as it occurs, is least elsewhere.

    Parameters
    ----------
    values : ndarray of float, shape (k,)
    counts : ndarray of int, shape (k,)

    Returns
    -------
    (float32, ndarray of int8)
        Values are about scale x integer.
    """
    largest = np.abs(values).max()
    if not largest:
        return np.float32(1), np.zeros(len(values), np.int8)
    scales = (largest / np.linspace(LARGEST / 2, LARGEST + 0.49, SCALES)).astype(np.float32)[:, None]
    errors = (values - scales * np.rint(values / scales)) ** 2 @ counts
    scale = scales[errors.argmin(), 0]
    return scale, np.rint(values / scale).astype(np.int8)


def _dense(model: ModelProto) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Gemm"]


def _put(constants: dict[str, TensorProto], name: str, array: npt.ArrayLike) -> None:
    constants[name] = numpy_helper.from_array(np.asarray(array), name)


def _unpack(weight: str) -> list[NodeProto]:
    """Return the nodes that make an int8 weight: the lower four bits are its left half, the upper ones its right."""
    codes, high, raised, low, both, index = (f"{weight}.{part}" for part in ("codes", *"hrlbi"))
    return [
        helper.make_node("BitShift", [codes, "four"], [high], direction="RIGHT"),
        helper.make_node("BitShift", [codes, "four"], [raised], direction="LEFT"),
        helper.make_node("BitShift", [raised, "four"], [low], direction="RIGHT"),
        helper.make_node("Concat", [low, high], [both], axis=1),
        helper.make_node("Cast", [both], [index], to=TensorProto.INT32),
        helper.make_node("Gather", [f"{weight}.palette", index], [weight]),
    ]
