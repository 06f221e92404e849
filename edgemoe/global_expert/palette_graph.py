"""Dense weights of an int8 graph as 4-bit codes into a palette of 16 int8 values.

A layer keeps two codes a byte, its palette, and one scale for all of its weights. Nodes that read constants alone
unpack them, which a runtime does once, when it loads the graph: what it then computes is what it would compute with the
int8 weights themselves.
"""

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgemoe.pruning.grid import nearest_grid

__all__ = ["COLOURS", "LARGEST", "write_palettes"]

COLOURS = 16  # values of a palette: as many as 4 bits tell apart
LARGEST = 63  # of an int8 weight, in 7 bits as `quantize` has them


def write_palettes(model: ModelProto, source: ModelProto, images: npt.NDArray[np.uint8]) -> None:
    """Store the dense weights of a quantized graph as codes, in place, wherever a palette holds them.

    That is wherever the float weights have at most 16 distinct values in even rows: `unify` and `unify_while_training`
    see to it. All other layers stay as they are, so a layer of an odd number of inputs keeps plain int8 weights.

    Rounding a shared value moves all its weights alike, and such errors do not average out in a unit's sum, so the bias
    takes off what they come to with the layer's mean inputs (Nagel et al., "Data-Free Quantization Through Weight
    Equalization and Bias Correction", arXiv 1906.04721, section 4.2). It halved the error of the logits.

    Parameters
    ----------
    model : ModelProto
        The quantizer's int8 graph in QDQ form: each dense layer (``Gemm``) reads input, weight and bias from a
        DequantizeLinear each.
    source : ModelProto
        The float graph that it was made from, whose nodes have the same names.
    images : ndarray of uint8, shape (n, 28, 28)
        Training images.
    """
    floats = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.graph.initializer}
    layers = {node.name: (floats[node.input[1]], floats[node.input[2]]) for node in _dense(source)}
    chosen = [n for n in _dense(model) if layers[n.name][0].shape[1] % 2 == 0 and _few_values(layers[n.name][0])]
    if not chosen:
        return
    means = _mean_inputs(source, images)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    nodes: list[NodeProto] = []
    for node in chosen:
        weight, bias = layers[node.name]
        activation, read, added = (makers[name] for name in node.input)
        values, codes, counts = np.unique(weight, return_inverse=True, return_counts=True)
        codes = codes.reshape(weight.shape)
        scale, palette = nearest_grid(values, counts, LARGEST)
        step = scale * numpy_helper.to_array(constants[activation.input[1]])
        for dequantize, its_scale, zero in ((read, scale, np.int8(0)), (added, step, np.int32(0))):
            del dequantize.attribute[:]  # the axis: there is one scale now
            _put(constants, dequantize.input[1], np.float32(its_scale))
            _put(constants, dequantize.input[2], zero)
        bias = bias + (weight - (scale * palette)[codes]) @ means[node.name]
        _put(constants, added.input[0], np.rint(bias / step).astype(np.int32))
        quantized = read.input[0]
        left, right = np.split(codes.astype(np.uint8), 2, axis=1)
        _put(constants, f"{quantized}.codes", left | right << 4)
        padded = np.pad(palette, (0, COLOURS - len(palette)), mode="edge")
        _put(constants, f"{quantized}.palette", padded.astype(np.int8))
        del constants[quantized]
        nodes += _unpack(quantized)
    _put(constants, "four", np.uint8(4))
    rest = list(model.graph.node)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend([*nodes, *rest])
    model.graph.initializer.extend(constants.values())


def _dense(model: ModelProto) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Gemm"]


def _few_values(weight: npt.NDArray[np.float32]) -> bool:
    return len(np.unique(weight)) <= COLOURS


def _mean_inputs(source: ModelProto, images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
    """Return each dense layer's inputs in the float graph, averaged over images."""
    model = ModelProto()
    model.CopyFrom(source)
    known = {output.name for output in model.graph.output}
    names = {node.name: node.input[0] for node in _dense(model)}
    for name in dict.fromkeys(names.values()):
        if name not in known:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted, sums = sorted(set(names.values())), []
    for start in range(0, len(images), 256):
        scaled = images[start : start + 256, None].astype(np.float32) / np.float32(255)
        sums.append([values.sum(0) for values in session.run(wanted, {"image": scaled})])
    means = {name: np.sum(parts, axis=0) / len(images) for name, *parts in zip(wanted, *sums, strict=True)}
    return {layer: means[name] for layer, name in names.items()}


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
