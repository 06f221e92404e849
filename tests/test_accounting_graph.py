"""Counting: closed formulas, the conventions one by one, and what cannot be counted."""

import math
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_networks import LENETS, batch_norm_net, count, lenet, lenet_formula, model_of, weights_of

from edgemoe.accounting.graph import count_file
from edgemoe.errors import EdgemoeError


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


def test_counting_needs_neither_onnx_nor_torch(tmp_path) -> None:
    onnx.save(lenet((6, 16, 120, 84, 47), 2), tmp_path / "net.onnx")
    script = (
        "import sys\n"
        "for name in ('onnx', 'torch', 'scipy', 'sklearn'): sys.modules[name] = None\n"
        "from edgemoe.accounting.graph import count_file\n"
        "print(count_file(sys.argv[1]).total().macs)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "net.onnx")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) == math.fsum(lenet_formula((6, 16, 120, 84, 47), 2)[1])
