"""Counting int8 graphs as onnxruntime's quantizer writes them, in both forms."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_networks import LENETS, lenet, lenet_formula
from onnxruntime import quantization
from torch_exports import BY_TRACING, export, torch_networks

from edgemoe.accounting.graph import count_file, count_graph
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.errors import EdgemoeError


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
