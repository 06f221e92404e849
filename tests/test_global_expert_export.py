"""ONNX against torch, and the int8 form against the float one."""

import collections
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
import onnxruntime  # noqa: E402
from networks import settled  # noqa: E402
from torch import nn  # noqa: E402

from edgemoe import load_global_expert  # noqa: E402
from edgemoe.accounting.graph import count_graph  # noqa: E402
from edgemoe.accounting.onnx_reader import parse_onnx  # noqa: E402
from edgemoe.errors import EdgemoeError  # noqa: E402
from edgemoe.global_expert import quantize as quantizing  # noqa: E402
from edgemoe.global_expert.export import feature_map, to_onnx  # noqa: E402
from edgemoe.global_expert.layers import parameter_count  # noqa: E402
from edgemoe.global_expert.lenet5 import fold_normalization  # noqa: E402
from edgemoe.global_expert.quantize import quantize  # noqa: E402
from edgemoe.simulator import generic_samples, simulated_samples  # noqa: E402

SHAPES = [(20, 50, 500), (6, 16, 120, 84)]


@pytest.fixture(scope="module")
def images():
    return generic_samples(seed=4, per_class=4)[0]


@pytest.fixture(scope="module")
def int8():
    """The shipped expert's float graph, quantized anew with simulated images."""
    calibration = np.concatenate([generic_samples(seed=2, per_class=6)[0], simulated_samples(seed=1, per_class=2)[0]])
    return quantize(load_global_expert().bundle.float32, calibration)


def run(graph, images):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": images}), strict=True))


def as_input(images):
    return images[:, None].astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_graph_gives_torchs_logits_and_features(shape, images):
    model = settled(shape)
    outputs = run(to_onnx(fold_normalization(model)), as_input(images[:60]))
    with torch.inference_mode():
        inputs = torch.from_numpy(as_input(images[:60]))
        logits = model(inputs).numpy()  # the network as trained: folding and export together leave it as it was
        features = model[: [name for name, _ in model.named_children()].index("flatten") + 1](inputs).numpy()
    assert set(outputs) == {"logits", "features"}
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(outputs["features"], features, atol=1e-5)
    assert features.shape == (60, 25 * shape[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_graph_is_one_that_old_runtimes_and_any_batch_size_can_use(shape, images):
    graph = to_onnx(fold_normalization(settled(shape)))
    model = onnx.load_from_string(graph)
    assert model.ir_version <= 9
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu", "MaxPool", "Flatten", "Gemm"}
    single = run(graph, as_input(images[:1]))["logits"]
    np.testing.assert_allclose(single, run(graph, as_input(images[:9]))["logits"][:1], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_graph_holds_the_parameters_and_nothing_else(shape):
    model = settled(shape)
    graph = to_onnx(fold_normalization(model))
    weights = onnx.load_from_string(graph).graph.initializer
    assert sum(int(np.prod(tensor.dims)) for tensor in weights) == parameter_count(model)
    assert len(graph) < 4 * parameter_count(model) + 4000
    assert count_graph(parse_onnx(graph, "float32.onnx")).total().parameters == parameter_count(model)


def test_the_feature_map_is_where_the_network_flattens():
    for shape in SHAPES:
        assert tuple(feature_map(settled(shape))) == (shape[1], 5, 5)


@pytest.mark.parametrize(
    ("layer", "kind"), [(nn.BatchNorm2d(3), "BatchNorm2d"), (nn.Sigmoid(), "Sigmoid"), (nn.AvgPool2d(2), "AvgPool2d")]
)
def test_a_layer_without_an_onnx_form_is_refused_by_name(layer, kind):
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(1, 3, 5))
    model.add_module("odd", layer)
    model.add_module("flatten", nn.Flatten())
    model.add_module("output", nn.Linear(3, 2))
    with pytest.raises(EdgemoeError, match=f"layer 'odd': {kind} has no ONNX form"):
        to_onnx(model)


def test_the_same_network_gives_the_same_bytes():
    assert to_onnx(fold_normalization(settled(SHAPES[1]))) == to_onnx(fold_normalization(settled(SHAPES[1])))


def test_int8_answers_as_float_does(int8, images):
    plain = load_global_expert().bundle.float32
    answers = [run(graph, as_input(images))["logits"].argmax(1) for graph in (plain, int8)]
    assert (answers[0] == answers[1]).mean() >= 0.96


def test_int8_logits_lie_close_to_the_floats(int8, images):
    plain, rounded = (run(graph, as_input(images))["logits"] for graph in (load_global_expert().bundle.float32, int8))
    assert np.sqrt(((plain - rounded) ** 2).mean()) < 0.1 * plain.std()


def test_int8_weights_are_of_seven_bits_and_per_channel(images):
    shape = (6, 8, 30, 25)
    model = onnx.load_from_string(quantize(to_onnx(fold_normalization(settled(shape))), images))
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = {name: array for name, array in constants.items() if array.dtype == np.int8 and array.ndim >= 2}
    assert len(weights) == len(shape) + 1
    for array in weights.values():
        assert -64 <= array.min() < -30
        assert 30 < array.max() <= 64  # onnxruntime's reduced range
    per_channel = [
        constants[node.input[1]].size
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in weights
    ]
    assert sorted(per_channel) == sorted([*shape, 47])


def test_int8_shrinks_the_file_to_less_than_two_fifths(int8):
    assert len(int8) < 0.4 * len(load_global_expert().bundle.float32)


def test_quantizing_does_not_change_the_interface(int8, images):
    outputs = run(int8, as_input(images[:2]))
    assert set(outputs) == {"logits", "features"}
    assert all(value.dtype == np.float32 for value in outputs.values())


def test_the_calibration_images_decide_the_ranges():
    float32 = to_onnx(fold_normalization(settled((4, 6, 10))))
    rng = np.random.default_rng(0)
    faint, bold = (rng.integers(0, top, (20, 28, 28), np.uint8) for top in (3, 256))
    ranges = []
    for images in (faint, bold):
        model = onnx.load_from_string(quantize(float32, images))
        scales = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        node = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "image")
        ranges.append(float(scales[node.input[1]]) * 255)
    assert ranges == pytest.approx([2 / 255, 1.0], rel=1e-3)


def test_the_shipped_figures_are_in_the_bundle_for_both_forms():
    figures = load_global_expert().metadata["figures"]
    json.dumps(figures)
    for test in figures.values():
        assert 0.5 < test["int8"] <= 1
        assert abs(test["int8"] - test["float32"]) < 0.003  # issue: int8 within 0.3 point of float


def test_a_slim_graph_gives_the_quantizers_values_but_for_single_roundings(images):
    kept = []
    original = quantizing._slim
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantizing, "_slim", lambda model: kept.append(model.SerializeToString()) or original(model))
        slim = quantize(to_onnx(fold_normalization(settled((4, 6, 10, 8)))), images)
    (full,) = kept
    assert len(slim) < len(full) - 3000
    before, after = (run(graph, as_input(images)) for graph in (full, slim))
    for name, values in before.items():
        steps = np.diff(np.unique(values)).min()  # the runtime may add in another order
        assert (values != after[name]).mean() < 1e-3
        np.testing.assert_allclose(values, after[name], atol=1.01 * steps)
    layers = [layer.name for layer in count_graph(parse_onnx(slim, "int8.onnx")).layers if layer.macs]
    assert layers == ["conv1", "conv2", "dense3", "dense4", "output"]


def cnn(**changed):
    layers = {
        "conv": nn.Conv2d(1, 3, 5, bias=False), "relu": nn.ReLU(), "pool": nn.MaxPool2d((2, 3)),
        "again": nn.ReLU(), "flatten": nn.Flatten(), "dense": nn.Linear(3 * 12 * 8, 9, bias=False),
        "out": nn.Linear(9, 4),
    }  # fmt: skip
    layers |= changed
    return nn.Sequential(collections.OrderedDict(layers)).eval()


def test_any_plain_sequential_cnn_is_written_with_shared_modules_and_without_biases(images):
    model = cnn()
    model.again = model.relu  # one module, called twice
    graph = to_onnx(model)
    with torch.inference_mode():
        expected = model(torch.from_numpy(as_input(images))).numpy()
    np.testing.assert_allclose(run(graph, as_input(images))["logits"], expected, atol=1e-5)
    relus = [node for node in onnx.load_from_string(graph).graph.node if node.op_type == "Relu"]
    assert len(relus) == 2


@pytest.mark.parametrize(
    ("layer", "module", "why"),
    [
        ("conv", nn.Conv2d(1, 3, 5, padding="same"), "padding"),
        ("conv", nn.Conv2d(1, 3, 5, padding=2, padding_mode="reflect"), "padding"),
        ("pool", nn.MaxPool2d(3, padding=1), "pool"),
        ("pool", nn.MaxPool2d(3, ceil_mode=True), "pool"),
        ("pool", nn.MaxPool2d(3, dilation=2), "pool"),
        ("out", nn.ReLU(), "dense"),
    ],
)
def test_what_would_be_written_wrongly_is_refused_by_name(layer, module, why):
    with pytest.raises(EdgemoeError, match=f"layer '{layer}'.*{why}"):
        to_onnx(cnn(**{layer: module}))
