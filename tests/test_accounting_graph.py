"""Counting: closed formulas, PyTorch's own layers as they run, and onnxruntime as an oracle of shapes."""

import math
import subprocess
import sys
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgemoe.accounting.graph import count_file, count_graph
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.errors import EdgemoeError

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnxruntime import quantization  # noqa: E402

LENETS = [(widths, pad) for widths in ((20, 50, 500, 47), (6, 16, 120, 84, 47)) for pad in (0, 2)]


def count(model, check=True):
    if check:
        onnx.checker.check_model(model)
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


@pytest.mark.parametrize(("widths", "pad"), LENETS)
def test_lenet_costs_what_the_closed_formulas_say(widths, pad) -> None:
    model = lenet(widths, pad)
    cost = count(model)
    parameters, macs, written = lenet_formula(widths, pad)
    weighted = [layer for layer in cost.layers if layer.parameters]
    assert [layer.parameters for layer in weighted] == parameters
    assert [layer.bytes for layer in weighted] == [4 * p for p in parameters]
    assert [layer.weight_bytes_read for layer in weighted] == [4 * p for p in parameters]
    assert [layer.macs for layer in weighted] == macs
    assert [layer.mac_bits for layer in weighted] == [32] * len(macs)
    assert [layer.elements_written for layer in cost.layers] == written
    assert [layer.elements_read for layer in cost.layers] == [784, *written[:-1]]
    assert [layer.bytes_written for layer in cost.layers] == [4 * w for w in written]
    assert cost.total().macs == sum(macs)
    assert cost.total().bytes_read == 4 * (784 + sum(written[:-1]))
    assert cost.peak_activation_bytes == 4 * max(a + b for a, b in zip([784, *written], written, strict=False))
    assert cost.file_bytes == model.ByteSize()
    assert cost.unknown == ()


def test_the_reference_network_counts_as_it_is_published(shared_data) -> None:
    total = count_file(shared_data.parent / "models" / "lenet5_classic.onnx").total()
    assert (total.parameters, total.macs, total.bytes) == (64_851, 419_628, 4 * 64_851)


def torch_networks():
    torch = pytest.importorskip("torch")
    from torch import nn

    class Depthwise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 8, 3, stride=2, padding=1)
            self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
            self.pointwise = nn.Conv2d(8, 12, 1)
            self.grouped = nn.Conv2d(12, 24, 3, stride=2, padding=2, dilation=2, groups=4)
            self.head = nn.Linear(24, 47)

        def forward(self, x):
            x = nn.functional.relu6(self.first(x))
            x = nn.functional.relu(self.pointwise(nn.functional.hardswish(self.depthwise(x))))
            x = nn.functional.adaptive_avg_pool2d(torch.relu(self.grouped(x)), 1)
            return self.head(x.view(x.size(0), -1))

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 6, 5, padding=2)
            self.a = nn.Conv2d(6, 6, 3, padding=1)
            self.b = nn.Conv2d(6, 6, 3, padding=1)
            self.narrow = nn.Conv2d(12, 5, 1)
            self.head = nn.Linear(5 * 49, 10)

        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.stem(x)), 2)
            y = torch.relu(self.b(torch.relu(self.a(x))) + x)
            z = nn.functional.avg_pool2d(self.narrow(torch.cat([x, y], 1)), 3, 2, padding=1)
            return torch.softmax(self.head(z.flatten(1)), 1)

    torch.manual_seed(0)
    return {"depthwise": Depthwise().eval(), "residual": Residual().eval()}


def torch_count(network):
    """Parameters and MACs of a PyTorch network, from the outputs that its layers give as it runs."""
    import torch
    from torch import nn

    macs = []

    def hook(layer, inputs, output):
        macs.append(output.numel() * layer.weight[0].numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(hook)
    network(torch.zeros(1, 1, 28, 28))
    return sum(p.numel() for p in network.parameters()), sum(macs)


def export(network, path, **options):
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(2, 1, 28, 28),), str(path), input_names=["image"], **options)
    return path


BY_TRACING = {"dynamo": False, "dynamic_axes": {"image": {0: "n"}}}


@pytest.mark.parametrize("name", ["depthwise", "residual"])
def test_networks_exported_by_torch_count_as_they_run_in_torch(name, tmp_path) -> None:
    network = torch_networks()[name]
    parameters, macs = torch_count(network)
    cost = count_file(export(network, tmp_path / "net.onnx", **BY_TRACING))
    assert cost.unknown == ()
    assert (cost.total().parameters, cost.total().macs) == (parameters, macs)
    assert cost.total().bytes == 4 * parameters


@pytest.mark.parametrize(("widths", "pad"), LENETS)
def test_a_lenet_exported_by_torch_counts_as_the_one_made_by_hand(widths, pad, tmp_path) -> None:
    nn = pytest.importorskip("torch").nn
    c1, c2, *hidden = widths
    sizes = [c2 * (((28 + 2 * pad - 4) // 2 - 4) // 2) ** 2, *hidden]
    layers = [nn.Conv2d(1, c1, 5, padding=pad), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(c1, c2, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    for inner, outer in pairwise(sizes):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    exported = count_file(export(nn.Sequential(*layers[:-1]).eval(), tmp_path / "net.onnx", **BY_TRACING))
    by_hand = count(lenet(widths, pad))
    assert exported.total() == by_hand.total()
    assert exported.peak_activation_bytes == by_hand.peak_activation_bytes


def test_weights_that_torchs_new_exporter_puts_beside_the_file_are_unknown_not_zero(tmp_path) -> None:
    pytest.importorskip("onnxscript")
    network = torch_networks()["residual"]
    parameters, macs = torch_count(network)
    image = {"dynamo": True, "dynamic_shapes": ({0: "n"},)}
    inside = count_file(export(network, tmp_path / "inside.onnx", **image, external_data=False))
    assert (inside.unknown, inside.total().parameters, inside.total().macs) == ((), parameters, macs)
    onnx.save(
        onnx.load(tmp_path / "inside.onnx"),
        tmp_path / "o.onnx",
        save_as_external_data=True,
        size_threshold=999,
    )
    outside = count_file(tmp_path / "o.onnx")
    large = [layer for layer in inside.layers if layer.bytes > 999]
    assert len(outside.unknown) == len(large) > 1
    assert all("kept outside the file" in entry.reason for entry in outside.unknown)
    assert outside.total().macs == macs - sum(layer.macs for layer in large)
    assert outside.total().bytes + sum(entry.bytes for entry in outside.unknown) == inside.total().bytes


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


def test_batch_norm_bias_and_activation_fuse_into_the_layer_before() -> None:
    layers = count(batch_norm_net()).layers
    assert [layer.op for layer in layers] == [
        *["Conv+BatchNormalization+Clip", "Transpose", "MatMul+Add", "GlobalAveragePool"]
    ]
    assert [layer.parameters for layer in layers] == [36 + 16, 0, 24 + 6, 0]  # clipping bounds are none
    assert [layer.macs for layer in layers] == [25 * 4 * 9 + 100, 0, 25 * 4 * 6, 0]
    assert [(layer.elements_read, layer.elements_written) for layer in layers] == [
        *[(81, 100), (100, 100), (100, 150), (150, 5)]
    ]


def test_a_tensor_that_is_an_output_too_is_written_before_its_activation_reads_it() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["tap"], "conv", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["tap"], ["y"], "relu"),
    ]
    model = model_of(nodes, {"x": [1, 1, 5, 5]}, {"y": [1, 2, 3, 3], "tap": [1, 2, 3, 3]}, weights_of(w=(2, 1, 3, 3)))
    conv, relu = count(model).layers
    assert (conv.elements_written, relu.elements_read, relu.elements_written) == (18, 18, 18)
    assert count(model).peak_activation_bytes == 4 * (25 + 18)


def test_the_peak_counts_what_a_skip_connection_keeps_alive() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "one", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "v"], ["b"], "two"),
        helper.make_node("Conv", ["b", "t"], ["c"], "three"),
        helper.make_node("Add", ["a", "c"], ["y"], "add"),
    ]
    weights = weights_of(w=(3, 1, 3, 3), v=(7, 3, 1, 1), t=(3, 7, 1, 1))
    cost = count(model_of(nodes, {"x": [1, 1, 4, 4]}, {"y": [1, 3, 4, 4]}, weights))
    assert cost.peak_activation_bytes == 4 * 16 * (3 + 7 + 3)  # a, b and c, while the third convolution runs
    assert cost.layers[-1].elements_read == 96


def test_weights_that_two_layers_share_are_stored_once_and_read_twice() -> None:
    nodes = [helper.make_node("MatMul", [a, "w"], [b], b) for a, b in (("x", "h"), ("h", "y"))]
    cost = count(model_of(nodes, {"x": ["n", 8]}, {"y": ["n", 8]}, weights_of(w=(8, 8))))
    total = cost.total()
    assert (total.parameters, total.bytes, total.weight_bytes_read, total.macs) == (64, 256, 512, 128)


def test_float16_weights_count_two_bytes_and_16_bit_macs() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "m")
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT16, [1, s]) for n, s in (("x", 4), ("y", 3))]
    weight = numpy_helper.from_array(np.ones((4, 3), np.float16), "w")
    [layer] = count(helper.make_model(helper.make_graph([node], "g", infos[:1], infos[1:], [weight]))).layers
    assert (layer.bytes, layer.bytes_read, layer.mac_bits) == (24, 8, 16)


class Calibration(quantization.CalibrationDataReader):
    def __init__(self, name):
        rng = np.random.default_rng(1)
        self.batches = iter([{name: rng.random((1, 1, 28, 28), np.float32)} for _ in range(2)])

    def get_next(self):
        return next(self.batches, None)


def quantize(source, folder, form, per_channel):
    target = folder / f"int8_{form}_{per_channel}.onnx"
    quantization.quantize_static(
        *[source, target, Calibration("image")],
        quant_format=quantization.QuantFormat[form],
        per_channel=per_channel,
        activation_type=quantization.QuantType.QInt8 if per_channel else quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return target


def stored_bytes(path):
    """All initializers but the shapes of Reshape nodes and clipping bounds, by the onnx package."""
    graph = onnx.load(path).graph
    shapes = {name for node in graph.node if node.op_type in ("Reshape", "Clip") for name in node.input[1:]}
    return sum(numpy_helper.to_array(t).nbytes for t in graph.initializer if t.name not in shapes)


@pytest.fixture(scope="module")
def float_networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("float")
    paths = {}
    for name in ("depthwise", "residual"):
        paths[name] = export(torch_networks()[name], folder / f"{name}.onnx", **BY_TRACING)
    for widths, pad in LENETS:
        paths[f"lenet-{widths[0]}-{pad}"] = folder / f"lenet{widths[0]}{pad}.onnx"
        onnx.save(lenet(widths, pad), paths[f"lenet-{widths[0]}-{pad}"])
    return paths


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", ["depthwise", "residual", *(f"lenet-{w[0]}-{p}" for w, p in LENETS)])
def test_int8_graphs_of_both_forms_count_as_the_float_graph_they_come_from(
    name, per_channel, float_networks, tmp_path
) -> None:
    floating = count_file(float_networks[name]).total()
    forms = {}
    for form in ("QDQ", "QOperator"):
        path = quantize(float_networks[name], tmp_path, form, per_channel)
        forms[form] = cost = count_file(path)
        total = cost.total()
        assert cost.unknown == ()
        assert (total.parameters, total.macs) == (floating.parameters, floating.macs)
        assert dict(total.macs_by_bits) == {8: floating.macs}
        assert total.bytes == total.weight_bytes_read == stored_bytes(path)
        # The image comes as float32 and the answer leaves as such; all between is int8.
        edges = sum(layer.bytes_read for layer in cost.layers if layer.op == "QuantizeLinear")
        assert edges == 4 * 784
        inner = [layer for layer in cost.layers if not layer.op.endswith("quantizeLinear") and layer.macs]
        assert all(layer.bytes_written == layer.elements_written for layer in inner)
        assert all(layer.bytes_read == layer.elements_read for layer in inner)
    a, b = forms["QDQ"].total(), forms["QOperator"].total()
    if name != "depthwise":  # its HardSwish stays in float in one form only
        assert (a.bytes_read, a.bytes_written) == (b.bytes_read, b.bytes_written)
        assert forms["QDQ"].peak_activation_bytes == forms["QOperator"].peak_activation_bytes


@pytest.mark.parametrize(("widths", "pad"), LENETS)
def test_an_int8_lenet_stores_a_byte_a_weight_and_four_a_bias(widths, pad, float_networks, tmp_path) -> None:
    cost = count_file(quantize(float_networks[f"lenet-{widths[0]}-{pad}"], tmp_path, "QOperator", False))
    parameters, macs, written = lenet_formula(widths, pad)
    biases = sum(widths)
    scales = 5 * (len(macs) + 1 + len(macs))  # float32 and int8 for each weight, the image, each weighted layer
    assert sum(layer.quantization_bytes for layer in cost.layers) == scales
    assert cost.total().bytes == sum(parameters) - biases + 4 * biases + scales
    assert cost.total().bytes_written == 784 + sum(written) + 4 * widths[-1]


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_feature_tap_adds_what_writing_it_as_float_costs_and_nothing_else(form, tmp_path) -> None:
    model = lenet((6, 16, 120, 84, 47), 2)
    onnx.save(model, tmp_path / "plain.onnx")
    model.graph.output.append(helper.make_tensor_value_info("p2", TensorProto.FLOAT, ["n", 16, 5, 5]))
    onnx.save(model, tmp_path / "tapped.onnx")
    (tmp_path / "plain").mkdir()
    plain = count_file(quantize(tmp_path / "plain.onnx", tmp_path / "plain", form, False))
    tapped = count_file(quantize(tmp_path / "tapped.onnx", tmp_path, form, False))
    added = {layer.name: layer for layer in tapped.layers}.keys() - {layer.name for layer in plain.layers}
    assert added == {"p2_DequantizeLinear"}
    assert tapped.total().macs_by_bits == plain.total().macs_by_bits
    assert tapped.total().bytes == plain.total().bytes
    assert tapped.total().bytes_read == plain.total().bytes_read + 400
    assert tapped.total().bytes_written == plain.total().bytes_written + 1600


window = st.fixed_dictionaries(
    {
        "size": st.integers(1, 12),
        "kernel": st.integers(1, 4),
        "stride": st.integers(1, 4),
        "dilation": st.integers(1, 3),
        "begin": st.integers(0, 3),
        "end": st.integers(0, 3),
    }
)


def runs(model, feed):
    """The outputs that onnxruntime computes, or None if it refuses the model."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, feed)
    except Exception:
        return None


@given(st.sampled_from(["Conv", "MaxPool", "AveragePool"]), window, window, st.booleans())
@settings(deadline=None, max_examples=150)
@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
def test_sliding_windows_give_the_shape_that_onnxruntime_computes(auto_pad, op, height, width, ceil) -> None:
    h, w = height, width
    attributes = {"kernel_shape": [h["kernel"], w["kernel"]], "strides": [h["stride"], w["stride"]]}
    if op == "Conv" or (op == "MaxPool" and auto_pad == "NOTSET"):  # its SAME forgets the dilation
        attributes["dilations"] = [h["dilation"], w["dilation"]]
    if auto_pad == "NOTSET":
        attributes["pads"] = [h["begin"], w["begin"], h["end"], w["end"]]
        if op != "Conv":
            assume(max(h["begin"], h["end"]) < h["kernel"] and max(w["begin"], w["end"]) < w["kernel"])
            attributes["ceil_mode"] = int(ceil)
    else:
        attributes |= {"auto_pad": auto_pad}
    if not auto_pad.startswith("SAME"):
        for axis in (h, w):  # its division rounds a window that does not fit towards one output
            reach = (axis["kernel"] - 1) * axis["dilation"] + 1
            assume(axis["size"] + (axis["begin"] + axis["end"]) * (auto_pad == "NOTSET") >= reach)
    weights = weights_of(k=(4, 1, h["kernel"], w["kernel"])) if op == "Conv" else {}
    attributes |= {"group": 2} if op == "Conv" else {}
    node = helper.make_node(op, ["x", *weights], ["y"], "window", **attributes)
    model = model_of([node], {"x": [1, 2, h["size"], w["size"]]}, {"y": None}, weights)
    results = runs(model, {"x": np.zeros((1, 2, h["size"], w["size"]), np.float32)})
    assume(results is not None and results[0].size)
    [layer] = count(model, check=False).layers
    assert layer.elements_written == results[0].size
    assert layer.macs == (results[0].size * h["kernel"] * w["kernel"] if op == "Conv" else 0)


def constants(**values):
    return {name: np.array(value, np.int64) for name, value in values.items()}


@pytest.mark.parametrize(
    ("op", "attributes", "extra"),
    [
        ("Reshape", {}, constants(s=[0, -1])),
        ("Reshape", {}, constants(s=[3, 2, -1])),
        ("Flatten", {"axis": 2}, {}),
        ("Flatten", {"axis": -1}, {}),
        ("Squeeze", {}, {}),
        ("Squeeze", {}, constants(a=[0])),
        ("Unsqueeze", {}, constants(a=[0, -1])),
        ("Transpose", {}, {}),
        ("Transpose", {"perm": [0, 2, 3, 1]}, {}),
        ("Pad", {}, constants(p=[0, 0, 1, 2, 0, 0, 3, -1])),
        ("Slice", {}, constants(b=[1, -1], e=[9, -9], a=[1, 3], t=[1, -2])),
        ("Slice", {}, constants(b=[-9, 1], e=[1, 2])),
        ("Gather", {"axis": 1}, constants(i=[[0, 2]])),
        ("ReduceMean", {"axes": [2, 3]}, {}),
        ("ReduceMean", {"axes": [-1], "keepdims": 0}, {}),
        ("ReduceSum", {}, constants(a=[1])),
        ("ReduceMax", {}, {}),
        ("GlobalMaxPool", {}, {}),
        ("Softmax", {}, {}),
        ("MatMul", {}, weights_of(w=(5, 7))),
        ("MatMul", {}, weights_of(w=(1, 3, 5, 2))),
        ("MatMul", {}, weights_of(w=(5,))),
        ("Add", {}, weights_of(w=(2, 1, 1, 5))),
        ("PRelu", {}, weights_of(w=(3, 1, 1))),
    ],
)
def test_the_shape_of_every_other_operator_is_what_onnxruntime_computes(op, attributes, extra) -> None:
    shape = (1, 3, 4, 5)
    nodes = [
        helper.make_node(op, ["x", *extra], ["y"], "op", **attributes),
        helper.make_node("Concat", ["y", "y"], ["z"], "twice", axis=0),  # writes what a view does not
    ]
    weights = {name: np.asarray(value) for name, value in extra.items()}
    model = model_of(nodes, {"x": shape}, {"y": None, "z": None}, weights)
    y, z = runs(model, {"x": np.zeros(shape, np.float32)})
    cost = count(model, check=False)
    assert cost.layers[-1].elements_read == y.size
    assert cost.layers[-1].elements_written == z.size
    inner = 5 if op == "MatMul" else 0
    assert cost.total().macs == y.size * inner
    assert cost.total().parameters == sum(v.size for v in weights.values() if v.dtype == np.float32)


def test_a_symbolic_batch_counts_as_one_and_another_dynamic_axis_is_named() -> None:
    model = lenet((6, 16, 120, 84, 47), 2)
    expected = count(model).total()
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value = 1
    assert count(model).total() == expected
    dims[2].dim_param = "height"
    with pytest.raises(EdgemoeError, match=r"net.onnx: tensor 'image': axis 2 is dynamic \(height\)"):
        count(model)


def custom_net(declared):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("Wavelet", ["h", "u"], ["g"], "odd", domain="custom"),
        helper.make_node("MatMul", ["g", "v"], ["y"], "last"),
    ]
    model = model_of(nodes, {"x": ["n", 4]}, {"y": ["n", 2]}, weights_of(w=(4, 3), u=(9,), v=(3, 2)))
    if declared:
        model.graph.value_info.append(helper.make_tensor_value_info("g", TensorProto.FLOAT, ["n", 3]))
    return model


def test_an_unknown_operator_is_listed_with_its_bytes_and_the_rest_is_counted() -> None:
    cost = count(custom_net(declared=True))
    [unknown] = cost.unknown
    assert (unknown.name, unknown.op, unknown.bytes) == ("odd", "Wavelet", 36)
    assert "no rule" in unknown.reason
    assert (cost.total().macs, cost.total().parameters) == (18, 18)


def test_what_an_unknown_operator_hides_is_listed_too() -> None:
    cost = count(custom_net(declared=False))
    assert [(entry.name, entry.bytes) for entry in cost.unknown] == [("odd", 36), ("last", 24)]
    assert "'g' is not known" in cost.unknown[1].reason
    assert cost.total().parameters == 12


def test_an_initializer_that_nothing_reads_is_listed() -> None:
    model = custom_net(declared=True)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(10, np.float32), "forgotten"))
    assert ("forgotten", 40) in [(entry.name, entry.bytes) for entry in count(model).unknown]


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([("MatMul", ["x", "w"], ["y"])], r"node y: is not valid: .*do not multiply"),
        ([("Relu", ["z"], ["y"])], "it reads 'z', which nothing makes"),
        ([("Relu", ["z"], ["y"]), ("Relu", ["x"], ["z"])], "it reads 'z', which a later node makes"),
        ([("Relu", ["x"], ["y"]), ("Relu", ["x"], ["y"])], "'y' is made twice"),
        ([("Relu", ["x"], ["z"])], "output 'y': nothing makes it"),
        ([("Conv", ["x", "w"], ["y"])], "does not fit"),
        ([("Reshape", ["x", "w"], ["y"])], "node y: is not valid"),
    ],
)
def test_an_invalid_graph_gives_an_error_that_names_the_place(nodes, reason) -> None:
    made = [helper.make_node(*node) for node in nodes]
    model = model_of(made, {"x": [1, 4]}, {"y": [1, 2]}, weights_of(w=(3, 2)))
    with pytest.raises(EdgemoeError, match=f"net.onnx: .*{reason}"):
        count(model, check=False)


@pytest.fixture(scope="module")
def tiny_int8(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    onnx.save(lenet((1, 1, 2, 3), 0), folder / "net.onnx")
    return [quantize(folder / "net.onnx", folder, form, True).read_bytes() for form in ("QDQ", "QOperator")]


@given(
    st.integers(0, 1),
    st.lists(st.tuples(st.integers(0, 6000), st.binary(max_size=2)), min_size=1, max_size=5),
)
@settings(deadline=None, max_examples=400)
def test_a_corrupt_int8_graph_counts_or_gives_the_one_error(tiny_int8, form, changes) -> None:
    content = tiny_int8[form]
    for position, inserted in changes:
        position %= len(content)
        content = content[:position] + inserted + content[position + 1 :]
    try:
        model = parse_onnx(content)
        cost = count_graph(model)
    except EdgemoeError:
        return
    assert len(cost.layers) <= len(model.nodes)


def test_counting_needs_neither_onnx_nor_torch(tmp_path) -> None:
    onnx.save(lenet((6, 16, 120, 84, 47), 2), tmp_path / "net.onnx")
    script = (
        "import sys\n"
        "for name in ('onnx', 'torch', 'scipy', 'sklearn'): sys.modules[name] = None\n"
        "from edgemoe.accounting.graph import count_file\n"
        "from edgemoe.accounting.report import overhead\n"
        "print(overhead(count_file(sys.argv[1]))['global']['macs'])\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "net.onnx")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) == math.fsum(lenet_formula((6, 16, 120, 84, 47), 2)[1])


def unpacking(codes, palette, weight):
    """Nodes that make a weight of two codes a byte and the values that these name."""
    make = helper.make_node
    return [
        make("BitShift", [codes, "four"], [f"{weight}.high"], direction="RIGHT"),
        make("BitShift", [codes, "four"], [f"{weight}.raised"], direction="LEFT"),
        make("BitShift", [f"{weight}.raised", "four"], [f"{weight}.low"], direction="RIGHT"),
        make("Concat", [f"{weight}.low", f"{weight}.high"], [f"{weight}.both"], axis=1),
        make("Cast", [f"{weight}.both"], [f"{weight}.index"], to=TensorProto.INT32),
        make("Gather", [palette, f"{weight}.index"], [weight]),
    ]


def palette_net(second):
    """Two dense layers of 6 x 10 and 10 x 6 weights, the second of the first's palette or of one of its own."""
    rng = np.random.default_rng(0)
    weights = {
        "a.codes": rng.integers(0, 256, (6, 5), np.uint8),
        "b.codes": rng.integers(0, 256, (10, 3), np.uint8),
        "palette": rng.integers(-63, 64, 16).astype(np.int8),
        second: rng.integers(-63, 64, 16).astype(np.int8),
        "four": np.uint8(4),
        "a.scale": np.float32(0.01),
        "b.scale": np.float32(0.02),
    }
    make = helper.make_node
    nodes = [
        *unpacking("a.codes", "palette", "a"),
        *unpacking("b.codes", second, "b"),
        make("DequantizeLinear", ["a", "a.scale"], ["a.float"]),
        make("DequantizeLinear", ["b", "b.scale"], ["b.float"]),
        make("Gemm", ["x", "a.float"], ["h"], "first", transB=1),
        make("Gemm", ["h", "b.float"], ["y"], "second", transB=1),
    ]
    return model_of(nodes, {"x": (1, 10)}, {"y": (1, 10)}, weights)


@pytest.mark.parametrize("second", ["palette", "other"])
def test_a_weight_of_codes_into_a_palette_counts_its_elements_and_what_is_stored_for_it(second) -> None:
    model = palette_net(second)
    stored = {tensor.name: numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer}
    cost = count(model)
    first, last = cost.layers  # nothing is run to unpack
    assert (first.name, first.op, last.name) == ("first", "Gemm", "second")
    assert (first.parameters, last.parameters) == (60, 60)
    assert (first.macs, last.macs) == (60, 60)
    assert first.bytes == first.weight_bytes_read == 30 + 16 + 4
    assert last.weight_bytes_read == 30 + 16 + 4
    assert last.bytes == (30 + 16 + 4 if second == "other" else 30 + 4)  # a shared palette is stored once
    assert cost.total().bytes == sum(stored.values()) - stored["four"]
    assert cost.unknown == ()
    (answer,) = runs(model, {"x": np.ones((1, 10), np.float32)})
    assert answer.shape == (1, last.elements_written)


def test_what_is_gathered_at_run_time_is_no_weight() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["index"], "cast", to=TensorProto.INT32),
        helper.make_node("Gather", ["palette", "index"], ["y"], "look up"),
    ]
    cost = count(model_of(nodes, {"x": (1, 6)}, {"y": (1, 6)}, {"palette": np.ones(16, np.float32)}))
    assert [layer.name for layer in cost.layers] == ["cast"]
    (missed,) = cost.unknown
    assert (missed.name, missed.bytes) == ("look up", 64)
    assert "computed at run time" in missed.reason
