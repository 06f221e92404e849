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


def _chain(name, blocks, image, tail):
    """A network of convolution blocks (output channels, kernel, stride, depthwise?, activation) behind one another."""
    nodes, weights, last, channels = [], {}, "image", image[1]
    for i, (made, kernel, stride, depthwise, activation) in enumerate(blocks, 1):
        inner = 1 if depthwise else channels
        weights |= weights_of(**{f"w{i}": (made, inner, kernel, kernel), f"b{i}": (made,)})
        attributes = {"strides": [stride] * 2, "pads": [kernel // 2] * 4, "group": channels if depthwise else 1}
        nodes.append(helper.make_node("Conv", [last, f"w{i}", f"b{i}"], [f"c{i}"], f"conv{i}", **attributes))
        bounds = ["low", "high"] if activation == "Clip" else []
        nodes.append(helper.make_node(activation, [f"c{i}", *bounds], [f"a{i}"], f"act{i}"))
        last, channels = f"a{i}", made
    if any(block[-1] == "Clip" for block in blocks):
        weights |= {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    weights |= weights_of(head=(tail, channels), offset=(tail,))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "head", "offset"], [name], "head", transB=1),
    ]
    return model_of(nodes, {"image": image}, {name: [1, tail]}, weights)


def separable():
    """A keyword spotter's chain of depthwise and pointwise convolutions on an image longer than wide."""
    blocks = [(12, 3, 2, False, "Relu")] + [(12, 3, 1, True, "Relu"), (12, 1, 1, False, "Relu")] * 3
    return _chain("logits", blocks, [1, 1, 49, 10], 12)


def mobilenet_like():
    """Inverted residuals: a 1x1 convolution widens, a depthwise one filters, a linear one narrows; Relu6; shortcuts."""
    nodes, weights = [], {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}

    def conv(source, target, made, channels, kernel, stride, group):
        name = f"conv_{target}"
        weights.update(
            weights_of(
                **{
                    f"{name}_w": (made, channels // group, kernel, kernel),
                    **{f"{name}_{part}": (made,) for part in ("scale", "shift", "mean")},
                }
            )
        )
        weights[f"{name}_variance"] = np.ones(made, np.float32)
        attributes = {"strides": [stride] * 2, "pads": [kernel // 2] * 4, "group": group}
        nodes.append(helper.make_node("Conv", [source, f"{name}_w"], [f"{target}_c"], name, **attributes))
        statistics = [f"{name}_{part}" for part in ("scale", "shift", "mean", "variance")]
        nodes.append(helper.make_node("BatchNormalization", [f"{target}_c", *statistics], [target], f"bn_{target}"))

    def relu6(source, target):
        nodes.append(helper.make_node("Clip", [source, "low", "high"], [target], f"relu6_{target}"))

    conv("image", "stem", 8, 3, 3, 2, 1)
    relu6("stem", "x0")
    last, channels = "x0", 8
    for i, (made, stride) in enumerate([(8, 1), (12, 2), (12, 1)], 1):
        wide = 4 * channels
        conv(last, f"e{i}", wide, channels, 1, 1, 1)
        relu6(f"e{i}", f"er{i}")
        conv(f"er{i}", f"d{i}", wide, wide, 3, stride, wide)
        relu6(f"d{i}", f"dr{i}")
        conv(f"dr{i}", f"p{i}", made, wide, 1, 1, 1)
        if stride == 1 and made == channels:
            nodes.append(helper.make_node("Add", [f"p{i}", last], [f"x{i}"], f"shortcut{i}"))
        last, channels = (f"x{i}" if stride == 1 else f"p{i}"), made
    weights |= weights_of(head=(10, channels), offset=(10,))
    nodes += [
        helper.make_node("ReduceMean", [last], ["pooled"], "pool", axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["pooled", "head", "offset"], ["logits"], "head", transB=1),
    ]
    return model_of(nodes, {"image": [1, 3, 32, 32]}, {"logits": [1, 10]}, weights)


def residual():
    """Two residual blocks behind a stem, the second narrowed by stride 2 with a 1x1 convolution on its shortcut."""
    weights = weights_of(
        stem=(6, 1, 3, 3), stem_b=(6,), a=(6, 6, 3, 3), a_b=(6,), b=(6, 6, 3, 3), b_b=(6,),
        c=(10, 6, 3, 3), c_b=(10,), d=(10, 10, 3, 3), d_b=(10,), short=(10, 6, 1, 1), head=(360, 7), offset=(7,),
    )  # fmt: skip
    make = helper.make_node
    nodes = [
        make("Conv", ["image", "stem", "stem_b"], ["s"], "stem", pads=[1] * 4),
        make("Relu", ["s"], ["x"], "relu_stem"),
        make("Conv", ["x", "a", "a_b"], ["h1"], "a", pads=[1] * 4),
        make("Relu", ["h1"], ["h2"], "relu_a"),
        make("Conv", ["h2", "b", "b_b"], ["h3"], "b", pads=[1] * 4),
        make("Add", ["h3", "x"], ["h4"], "add1"),
        make("Relu", ["h4"], ["y"], "relu1"),
        make("MaxPool", ["y"], ["m"], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        make("Conv", ["m", "c", "c_b"], ["k1"], "c", pads=[1] * 4, strides=[2, 2]),
        make("Relu", ["k1"], ["k2"], "relu_c"),
        make("Conv", ["k2", "d", "d_b"], ["k3"], "d", pads=[1] * 4),
        make("Conv", ["m", "short"], ["k4"], "short", strides=[2, 2]),
        make("Add", ["k3", "k4"], ["k5"], "add2"),
        make("Relu", ["k5"], ["z"], "relu2"),
        make("Flatten", ["z"], ["f"], "flatten"),
        make("MatMul", ["f", "head"], ["g"], "head"),
        make("Add", ["g", "offset"], ["logits"], "offset"),
    ]
    return model_of(nodes, {"image": [1, 1, 24, 24]}, {"logits": [1, 7]}, weights)


def runs(model, feed):
    """The outputs that onnxruntime computes, or None if it refuses the model."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, feed)
    except Exception:
        return None
