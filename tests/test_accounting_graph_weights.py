"""Weights that are not stored as one plain array: of codes into a palette, sparse, or mostly zeros."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_networks import count, model_of, runs

from edgemoe.errors import EdgemoeError


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


def sparse_net(weight):
    """A dense layer whose weight is kept as its values and their places."""
    places = np.flatnonzero(weight)
    values = numpy_helper.from_array(weight.ravel()[places], "w")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(places, "places"), list(weight.shape))
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"], "m")], {"x": (2, 6)}, {"y": (2, 5)}, {})
    model.graph.sparse_initializer.append(sparse)
    return model


def thinned(shape, share=0.6):
    rng = np.random.default_rng(3)
    return (rng.standard_normal(shape) * (rng.random(shape) > share)).astype(np.float32)


def multiplied(model, weights):
    """The MACs whose weight is not 0, as onnxruntime computes them: of ones and of weights that are 1 where not 0."""
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            ones = (numpy_helper.to_array(tensor) != 0).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(ones, tensor.name))
    value = model.graph.input[0]
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return int(sum(output.sum() for output in runs(model, {value.name: np.ones(shape, np.float32)})))


def test_a_sparse_weight_has_the_bytes_of_its_values_and_places_and_the_macs_of_all() -> None:
    weight = thinned((6, 5))
    kept = np.count_nonzero(weight)
    model = sparse_net(weight)
    [layer] = count(model).layers
    assert (layer.parameters, layer.macs) == (30, 2 * 30)
    assert layer.bytes == layer.weight_bytes_read == kept * (4 + 8)
    assert layer.zero_macs == 2 * (30 - kept)
    (answer,) = runs(model, {"x": np.ones((2, 6), np.float32)})
    np.testing.assert_allclose(answer[0], weight.sum(0), rtol=1e-5)


def test_a_sparse_weight_whose_parts_do_not_fit_is_named() -> None:
    model = sparse_net(thinned((6, 5)))
    model.graph.sparse_initializer[0].dims[:] = [2, 2]
    with pytest.raises(EdgemoeError, match=r"net.onnx: graph.sparse_initializer\[0\]: has \d+ values, and the dim"):
        count(model, check=False)
    model = sparse_net(thinned((6, 5)))
    model.graph.sparse_initializer[0].indices.CopyFrom(numpy_helper.from_array(np.arange(3), "places"))
    with pytest.raises(EdgemoeError, match=r"and indices of the shape \[3\]"):
        count(model, check=False)


@pytest.mark.parametrize("group", [1, 2, 4])
def test_macs_of_zero_weights_are_those_that_a_convolution_of_ones_shows(group) -> None:
    weight = thinned((8, 4 // group, 3, 3))
    node = helper.make_node("Conv", ["x", "w"], ["y"], "c", group=group, strides=[2, 1])
    model = model_of([node], {"x": (2, 4, 9, 8)}, {"y": None}, {"w": weight})
    [layer] = count(model, check=False).layers
    assert 0 < layer.zero_macs < layer.macs
    assert layer.macs - layer.zero_macs == multiplied(model, {"w"})


def test_zeros_of_a_palette_are_those_that_its_codes_name() -> None:
    model = palette_net("other")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        if tensor.name == "palette":
            tensor.CopyFrom(numpy_helper.from_array(stored["palette"] * (np.arange(16) % 3 > 0), "palette"))
    first, _ = count(model).layers
    codes = stored["a.codes"]
    named = np.concatenate([codes & 15, codes >> 4], axis=1)
    assert first.zero_macs == np.isin(named, np.arange(0, 16, 3)).sum() > 0


def test_a_shift_that_does_not_fit_its_codes_is_named_and_not_carried_out() -> None:
    model = palette_net("other")
    for tensor in model.graph.initializer:
        if tensor.name == "four":
            tensor.CopyFrom(numpy_helper.from_array(np.full((4000, 1, 1), 4, np.uint8), "four"))
    with pytest.raises(EdgemoeError, match=r"node a.high: is not valid: a shift of the shape \[4000, 1, 1\]"):
        count(model, check=False)


def test_zeros_behind_a_zero_point_that_is_not_0_are_unknown_and_none_before_it() -> None:
    for zero_point, expected in ((0, 5), (7, None)):
        weights = {"w": np.eye(5, dtype=np.int8) - 1, "s": np.float32(0.1), "z": np.int8(zero_point)}
        weights["w"][0] = 0
        nodes = [
            helper.make_node("DequantizeLinear", ["w", "s", "z"], ["f"]),
            helper.make_node("MatMul", ["x", "f"], ["y"], "m"),
        ]
        [layer] = count(
            model_of(nodes, {"x": (1, 5)}, {"y": (1, 5)}, {k: np.asarray(v) for k, v in weights.items()})
        ).layers
        assert layer.zero_macs == (expected + 4 if expected else None)
