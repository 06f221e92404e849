"""Weights that are not stored as one plain array: of codes into a palette, sparse, or mostly zeros."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_networks import count, model_of, runs


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
