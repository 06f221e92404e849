"""What a profile's parts cost, against formulas of their own and the counter of ONNX graphs."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.accounting.parts import header_bytes, profile_parts
from edgemoe.device.acceptance import Verdict
from edgemoe.device.gate import Gate
from edgemoe.device.local_expert import LocalExpert
from edgemoe.device.profile import Profile
from edgemoe.device.quantized import quantize
from edgemoe.device.runs import pack_runs


def made(classes: int, pooled: int, features: int, local_bits: int = 2, gate_bits: int = 3) -> Profile:
    rng = np.random.default_rng(0)
    local = rng.normal(size=(classes, pooled + 1)).astype(np.float32)
    gate = rng.normal(size=(1, features)).astype(np.float32)
    return Profile(
        bytes(16),
        LocalExpert(quantize(local, local_bits)),
        Gate(quantize(gate, gate_bits), 0.5),
        Verdict(True, 0.25, 0.001, 0.1),
        235,
        0.002,
    )


def dense(inputs: int, outputs: int) -> onnx.ModelProto:
    tensors = {"w": np.zeros((outputs, inputs), np.float32), "b": np.zeros(outputs, np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, outputs])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph)


def test_the_shipped_shape_costs_what_was_worked_out_by_hand() -> None:
    profile = made(47, 128, 800, local_bits=2, gate_bits=3)
    local, gate = profile_parts(profile)
    pooling = 128 * 9  # 32 channels, four windows of 3 x 3
    assert (local.parameters, local.macs) == (47 * 129, 47 * 128 + pooling)
    codes = profile.local.weights.codes
    assert np.count_nonzero(codes) == round(0.2 * 47 * 129)
    assert local.bytes == 2 + len(pack_runs(codes.ravel()))
    assert local.bytes < 740  # 6063 weights: their entropy, 0.92 bits a weight, is 699 bytes
    assert (gate.parameters, gate.macs, gate.bytes) == (801, 800, 2 + 300 + 8)
    assert (local.bytes_read, local.bytes_written) == (800 + 47, 47 * 4)
    assert (gate.bytes_read, gate.bytes_written) == (800, 4)


@pytest.mark.parametrize(("inputs", "outputs"), [(44, 47), (84, 10)])
def test_a_part_computes_what_the_same_layer_in_an_onnx_graph_does(inputs: int, outputs: int) -> None:
    layer = count_graph(parse_onnx(dense(inputs, outputs).SerializeToString())).total()
    local, _ = profile_parts(made(outputs, inputs, 5))
    assert (local.parameters, local.macs - 9 * inputs) == (layer.parameters, layer.macs)
    single = count_graph(parse_onnx(dense(inputs, 1).SerializeToString())).total()
    _, gate = profile_parts(made(3, 4, inputs))
    assert (gate.parameters, gate.macs) == (single.parameters, single.macs)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 62), st.integers(1, 90), st.integers(1, 400), st.integers(2, 8), st.integers(3, 8))
def test_every_byte_of_a_profile_is_counted_once(
    classes: int, pooled: int, features: int, local_bits: int, gate_bits: int
) -> None:
    profile = made(classes, pooled, features, local_bits, gate_bits)
    local, gate = profile_parts(profile)
    assert local.bytes + gate.bytes + header_bytes(profile) == len(profile.to_bytes())
    assert header_bytes(profile) == 60 + 4 - 8  # header and checksum, less the gate's bias and threshold
    assert all(set(part.macs_by_bits) == {8} for part in (local, gate))
    assert (local.weight_bytes_read, gate.weight_bytes_read) == (local.bytes, gate.bytes)
