"""ONNX networks made by hand for the tests of the accounting, what they cost by closed formulas, and how they run."""

from itertools import pairwise

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, checker, helper, numpy_helper

from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import parse_onnx

LENETS = [(widths, pad) for widths in ((20, 50, 500, 47), (6, 16, 120, 84, 47)) for pad in (0, 2)]


def count(model, check=True):
    if check:
        checker.check_model(model)
    return count_graph(parse_onnx(model.SerializeToString(), "net.onnx"))


def model_of(nodes, inputs, outputs, weights):
    """A model of nodes, float inputs and outputs {name: shape}, and weights {name: array}."""

    def infos(shapes):
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]

    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs), initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("custom", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def weights_of(**shapes):
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def lenet(widths, pad):
    """Two convolutions 5x5 with ReLU and max-pooling by 2, then fully connected layers, the last linear."""
    c1, c2, *hidden = widths
    side = ((28 + 2 * pad - 4) // 2 - 4) // 2
    sizes = [c2 * side * side, *hidden]
    weights = weights_of(w1=(c1, 1, 5, 5), b1=(c1,), w2=(c2, c1, 5, 5), b2=(c2,))
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "conv1", pads=[pad] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], "conv2", kernel_shape=[5, 5]),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("MaxPool", ["r2"], ["p2"], "pool2", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p2"], ["f0"], "flatten"),
    ]
    for i, (inner, outer) in enumerate(pairwise(sizes), 1):
        last = i == len(hidden)
        weights |= weights_of(**{f"v{i}": (outer, inner), f"d{i}": (outer,)})
        inputs, output = [f"f{i - 1}", f"v{i}", f"d{i}"], "logits" if last else f"g{i}"
        nodes.append(helper.make_node("Gemm", inputs, [output], f"fc{i}", transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [f"g{i}"], [f"f{i}"], f"act{i}"))
    return model_of(nodes, {"image": ["n", 1, 28, 28]}, {"logits": ["n", widths[-1]]}, weights)


def lenet_formula(widths, pad):
    """Parameters and MACs of each weighted layer, and the elements written by every layer."""
    c1, c2, *hidden = widths
    side1 = 28 + 2 * pad - 4
    side2 = side1 // 2 - 4
    sizes = [c2 * (side2 // 2) ** 2, *hidden]
    pairs = list(pairwise(sizes))
    parameters = [c1 * 25 + c1, c2 * c1 * 25 + c2, *[a * b + b for a, b in pairs]]
    macs = [side1**2 * c1 * 25, side2**2 * c2 * c1 * 25, *[a * b for a, b in pairs]]
    written = [c1 * side1**2, c1 * (side1 // 2) ** 2, c2 * side2**2, sizes[0], *hidden]
    return parameters, macs, written


def batch_norm_net():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], "bn"),
        helper.make_node("Clip", ["n", "low", "high"], ["r"], "clip"),
        helper.make_node("Transpose", ["r"], ["t"], "transpose", perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["t", "u"], ["mm"], "matmul"),
        helper.make_node("Add", ["mm", "d"], ["a"], "bias"),
        helper.make_node("GlobalAveragePool", ["a"], ["y"], "pool"),
    ]
    weights = weights_of(w=(4, 1, 3, 3), s=(4,), b=(4,), m=(4,), u=(4, 6), d=(6,))
    weights |= {"v": np.ones(4, np.float32), "low": np.float32(0), "high": np.float32(6)}
    return model_of(nodes, {"x": ["n", 1, 9, 9]}, {"y": ["n", 5, 1, 1]}, {k: np.asarray(v) for k, v in weights.items()})


def runs(model, feed):
    """The outputs that onnxruntime computes, or None if it refuses the model."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, feed)
    except Exception:
        return None
