"""Dense weights as 4-bit codes: the file holds half a byte a weight, and the answers are those of the int8 weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
import onnxruntime  # noqa: E402
from networks import settled  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from edgemoe.accounting.graph import count_graph  # noqa: E402
from edgemoe.accounting.onnx_reader import parse_onnx  # noqa: E402
from edgemoe.global_expert.export import quantize, to_onnx  # noqa: E402
from edgemoe.global_expert.layers import weighted_layers  # noqa: E402
from edgemoe.global_expert.lenet5 import fold_normalization  # noqa: E402
from edgemoe.pruning.unification import even_dense_layers, unify  # noqa: E402
from edgemoe.simulator import generic_samples  # noqa: E402

SHAPE, CLASSES = (4, 6, 17, 12, 30), 47  # 17 inputs are odd


@pytest.fixture(scope="module")
def images():
    return generic_samples(seed=4, per_class=4)[0]


@pytest.fixture(scope="module")
def network():
    model = fold_normalization(settled(SHAPE, CLASSES))
    return unify(model, 4, layers=even_dense_layers(model))[0]


@pytest.fixture(scope="module")
def graph(network, images):
    return quantize(to_onnx(network), images)


def run(graph, images, optimized=""):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # no warning of what the optimized file is for
    options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return session.run(["logits", "features"], {"image": images[:, None].astype(np.float32) / np.float32(255)})


def dense(model):
    """For each dense layer: the DequantizeLinear of its weight, of its bias, and of its input."""
    makers = {output: node for node in model.graph.node for output in node.output}
    return {
        node.name: [makers[node.input[k]] for k in (1, 2, 0)] for node in model.graph.node if node.op_type == "Gemm"
    }


def arrays(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def expand(graph):
    """The same graph with int8 weights in the file, unpacked here; and these weights by layer."""
    model = onnx.load_from_string(graph)
    constants, weights = arrays(model), {}
    gathers = {node.output[0]: node for node in model.graph.node if node.op_type == "Gather"}
    shifts = [node for node in model.graph.node if node.op_type == "BitShift" and node.input[0] in constants]
    for (layer, (read, _, _)), codes in zip(
        [(name, nodes) for name, nodes in dense(model).items() if nodes[0].input[0] in gathers],
        dict.fromkeys(node.input[0] for node in shifts),
        strict=True,
    ):
        gather = gathers[read.input[0]]
        packed = constants[codes]
        whole = np.concatenate([packed & 15, packed >> 4], axis=1)
        weights[layer] = constants[gather.input[0]][whole]
        model.graph.initializer.append(numpy_helper.from_array(weights[layer], read.input[0]))
    unpacking = [n for n in model.graph.node if n.op_type in ("BitShift", "Concat", "Cast", "Gather")]
    for node in unpacking:
        model.graph.node.remove(node)
    return model.SerializeToString(), weights


def test_the_answers_are_those_of_the_expanded_weights_to_the_last_bit(graph, images):
    plain, _ = expand(graph)
    for packed, expanded in zip(run(graph, images), run(plain, images), strict=True):
        np.testing.assert_array_equal(packed, expanded)
    assert len(graph) < len(plain)


def test_unpacking_costs_nothing_at_run_time(graph, images, tmp_path):
    plain, _ = expand(graph)
    kinds = []
    for name, content in (("packed.onnx", graph), ("plain.onnx", plain)):
        run(content, images[:1], tmp_path / name)
        kinds.append([node.op_type for node in onnx.load(tmp_path / name).graph.node])
    assert kinds[0] == kinds[1]


def test_the_weights_are_the_networks_on_a_grid_of_seven_bits(graph, network):
    model = onnx.load_from_string(graph)
    constants, layers = arrays(model), weighted_layers(network)
    _, weights = expand(graph)
    assert list(weights) == even_dense_layers(network) == ["dense3", "dense5", "output"]
    for name, integers in weights.items():
        read, added, inputs = dense(model)[name]
        scale, zero = (constants[part] for part in read.input[1:])
        assert (scale.shape, zero.shape, int(zero)) == ((), (), 0)
        assert integers.dtype == np.int8
        assert 40 < np.abs(integers).max() <= 63
        np.testing.assert_allclose(integers * scale, layers[name].weight.detach().numpy(), atol=0.51 * scale)
        step = constants[added.input[1]]
        assert step == pytest.approx(float(scale * constants[inputs.input[1]]), rel=1e-6)


def test_biases_keep_each_units_mean_on_the_calibration_images(graph, network, images):
    """By torch: of what a layer reads in the float network, the int8 weights and bias make the same mean."""
    model = onnx.load_from_string(graph)
    constants, read_by = arrays(model), {}
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output, name=name: read_by.update({name: (*inputs, output)}))
        for name, layer in weighted_layers(network).items()
    ]
    with torch.inference_mode():
        network(torch.from_numpy(images[:, None].astype(np.float32) / 255))
    for hook in hooks:
        hook.remove()
    for name, integers in expand(graph)[1].items():
        read, added, _ = dense(model)[name]
        inputs, output = (values.numpy() for values in read_by[name])
        step = float(constants[added.input[1]])
        made = inputs @ (integers * constants[read.input[1]]).T + constants[added.input[0]] * step
        np.testing.assert_allclose(made.mean(0), output.mean(0), atol=0.51 * step + 1e-5)


def test_a_layer_of_odd_rows_or_of_more_values_keeps_plain_int8_weights(network, graph, images):
    assert "dense4" not in expand(graph)[1]  # 17 inputs
    crowded = fold_normalization(settled(SHAPE, CLASSES))
    crowded.load_state_dict(network.state_dict())
    with torch.no_grad():
        crowded.dense3.weight[0, 0] = 9.0  # a 17th value
    assert list(expand(quantize(to_onnx(crowded), images))[1]) == ["dense5", "output"]


def test_the_float_answers_are_close(network, graph, images):
    floats, integers = run(to_onnx(network), images)[0], run(graph, images)[0]
    assert np.sqrt(((floats - integers) ** 2).mean()) < 0.1 * floats.std()


def test_every_dense_weight_has_a_zero_point_of_its_scales_shape(graph):
    """Older runtimes refuse to run the layer without (tests/oldest_runtime.py), newer ones compute it in floats."""
    constants = arrays(onnx.load_from_string(graph))
    for read, _, _ in dense(onnx.load_from_string(graph)).values():
        scale, zero = (constants[name] for name in read.input[1:])
        assert scale.shape == zero.shape
        assert zero.dtype == np.int8
        assert not zero.any()


def test_dense_layers_run_in_integers(graph, images, tmp_path):
    run(graph, images[:1], tmp_path / "fused.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node]
    assert kinds.count("QGemm") == 4
    assert "Gemm" not in kinds


def test_the_bytes_are_half_a_byte_a_weight_16_values_and_single_scales(graph):
    layers = {layer.name: layer for layer in count_graph(parse_onnx(graph, "int8.onnx")).layers}
    for name, rows, columns in (("dense3", 17, 150), ("dense5", 30, 12), ("output", 47, 30)):
        scales = 4 + 1 + 4 + 5  # of the weights, of the bias, and of what the layer writes
        assert layers[name].bytes == rows * columns // 2 + 16 + 4 * rows + scales
        assert layers[name].parameters == rows * columns + rows
        assert layers[name].macs == rows * columns
        assert layers[name].mac_bits == 8
    assert layers["dense4"].bytes == 12 * 17 + 12 * (4 + 4 + 4 + 1) + 5


def test_a_network_of_zeros_is_written(images):
    model = fold_normalization(settled((2, 4, 6), 10))
    with torch.no_grad():
        model.dense3.weight.zero_()
    logits, _ = run(quantize(to_onnx(model), images), images[:3])
    assert np.isfinite(logits).all()
