"""The reader of int8 graphs and the integer reference, against onnxruntime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from integer_networks import random_images, random_network, to_bytes, to_onnx
from onnx import NodeProto, helper

from edgemoe import GlobalExpert
from edgemoe.data import load_samples
from edgemoe.errors import EdgemoeError
from firmware_export.layers import fixed_point
from firmware_export.network import read_network
from firmware_export.reference import run_network

Parts = tuple[list[NodeProto], dict[str, npt.NDArray[Any]]]


def test_a_graph_without_relu_is_read_as_it_was_written() -> None:
    network = random_network(6, [(3, 5, 1, True)], [5, 4], zero=77, relu=False)
    read = read_network(to_bytes(*to_onnx(network), ["logits"]))
    assert not read.taps
    assert [layer.low for layer in read.layers] == [0, 0, 0]
    assert [layer.zero for layer in read.layers] == [77, 77, 117]


def small() -> Parts:
    return to_onnx(random_network(1, [(3, 5, 2, True), (4, 3, 0, True)], [10, 7]))


@pytest.mark.parametrize("palettes", [False, True])
@pytest.mark.parametrize("zero", [0, 30])
def test_a_graph_is_read_as_it_was_written(palettes: bool, zero: int) -> None:
    network = random_network(5, [(3, 5, 1, True), (5, 3, 2, False), (2, 3, 0, True)], [12, 8, 5], palettes, zero)
    read = read_network(to_bytes(*to_onnx(network), ["logits", "features"]))
    for layer, found in zip(network.layers, read.layers, strict=True):
        assert (found.weights == layer.weights).all()
        assert (found.bias == layer.bias).all()
        assert np.allclose(found.ratios, layer.ratios, rtol=1e-6)
        assert (found.zero, found.input_zero, found.low) == (layer.zero, layer.input_zero, layer.low)
    assert [(layer.padding, layer.pool) for layer in read.convolutions] == [(1, True), (2, False), (0, True)]
    for dense, same in zip(network.dense, read.dense, strict=True):
        assert (dense.codes is None) == (same.codes is None) == (not palettes)
        if same.codes is not None and same.palette is not None:
            assert (same.palette[same.codes] == same.weights).all()
    assert read.taps
    assert read.feature_map == network.feature_map


@pytest.mark.parametrize("seed", range(6))
def test_the_reference_is_within_one_code_of_onnxruntime(seed: int) -> None:
    shapes = [(4, 5, 2, True), (6, 3, seed % 3, seed % 2 == 0)]
    graph = to_bytes(
        *to_onnx(random_network(seed, shapes, [9, 6][: 1 + seed % 2], False, 20 * (seed % 3))), ["logits", "features"]
    )
    network = read_network(graph)
    images = random_images(seed, 12)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    logits, features = session.run(["logits", "features"], {"image": images[:, None] / np.float32(255)})
    ours = run_network(network, images)
    theirs = [
        np.rint(features / network.feature_step) + network.convolutions[-1].zero,
        np.rint(logits / network.logit_step) + network.dense[-1].zero,
    ]
    for codes, expected in zip(ours, theirs, strict=True):
        assert np.abs(codes - expected).max() <= 1
        assert (codes == expected).mean() > 0.99
        assert len(np.unique(codes)) > 20


def test_the_shipped_expert_and_onnxruntime_choose_the_same_class(ge: GlobalExpert, shared_data: Path) -> None:
    images = load_samples(f"{shared_data}/emnist/emnist.zip:bymerge-part:test")[0][:1000]
    network = read_network(ge.graph)
    features, logits = run_network(network, images)
    taps = ge.taps(images)
    assert (logits.argmax(axis=1) == taps.logits.argmax(axis=1)).mean() >= 0.999
    assert np.abs(features - taps.features / network.feature_step).max() < 1.01
    assert network.logit_step * (logits - float(network.dense[-1].zero)) == pytest.approx(
        taps.logits, abs=1.01 * network.logit_step
    )


def test_multipliers_are_exact_to_their_31_bits() -> None:
    ratios = np.array([0.2, 0.01, 3e-5])
    multipliers, shift = fixed_point(ratios)
    assert 2**30 <= multipliers.max() < 2**31
    assert np.abs(multipliers / 2.0**shift - ratios).max() <= 2.0 ** -(shift + 1)
    assert fixed_point(np.array([1e-12]))[1] == 54


def node(parts: Parts, name: str) -> NodeProto:
    return next(node for node in parts[0] if node.name == name)


def attribute(parts: Parts, name: str, key: str, value: Any) -> None:
    target = node(parts, name)
    kept = [entry for entry in target.attribute if entry.name != key]
    del target.attribute[:]
    target.attribute.extend([*kept, helper.make_attribute(key, value)])


REFUSED: dict[str, tuple[str, Callable[[Parts], object]]] = {
    "strides": ("Conv 'conv1'", lambda parts: attribute(parts, "conv1", "strides", [2, 2])),
    "uneven padding": ("Conv 'conv0'", lambda parts: attribute(parts, "conv0", "pads", [2, 2, 1, 2])),
    "groups": ("Conv 'conv0'", lambda parts: attribute(parts, "conv0", "group", 3)),
    "transposed weights": ("Gemm 'dense0'", lambda parts: attribute(parts, "dense0", "transB", 0)),
    "scaled layer": ("Gemm 'dense1'", lambda parts: attribute(parts, "dense1", "alpha", 0.5)),
    "large pool": ("MaxPool 'conv0.pool'", lambda parts: attribute(parts, "conv0.pool", "kernel_shape", [3, 3])),
    "overlapping pool": ("MaxPool 'conv0.pool'", lambda parts: attribute(parts, "conv0.pool", "strides", [1, 1])),
    "another operator": ("Tanh 'dense0.relu'", lambda parts: setattr(node(parts, "dense0.relu"), "op_type", "Tanh")),
    "image's scale": ("QuantizeLinear 'pixels.q'", lambda parts: parts[1].update({"pixels.scale": np.float32(0.01)})),
    "even kernel": ("Conv 'conv1'", lambda parts: parts[1].update({"conv1.int8": np.zeros((4, 3, 4, 4), np.int8)})),
    "channels": ("'conv1'", lambda parts: parts[1].update({"conv1.int8": np.zeros((4, 2, 3, 3), np.int8)})),
    "inputs": ("'dense0'", lambda parts: parts[1].update({"dense0.int8": np.zeros((10, 99), np.int8)})),
    "weights' type": ("Conv 'conv1'", lambda parts: parts[1].update({"conv1.int8": np.zeros((4, 3, 3, 3), np.uint8)})),
    "weights' scale": ("Conv 'conv1'", lambda parts: parts[1].update({"conv1.scales": np.zeros(4, np.float32)})),
    "least weight": ("'conv1'", lambda parts: parts[1].update({"conv1.int8": np.full((4, 3, 3, 3), -128, np.int8)})),
    "coarse accumulator": ("'dense1'", lambda parts: parts[1].update({"dense1.scales": np.full(7, 50, np.float32)})),
    "bias beyond 32 bits": ("'dense1'", lambda parts: parts[1].update({"dense1.steps": np.full(7, 1e9, np.float32)})),
    "activations' type": ("'conv0.result.q'", lambda parts: parts[1].update({"conv0.result.zero": np.int8(0)})),
    "steps of a pair": ("'conv0.pooled.q'", lambda parts: parts[1].update({"conv0.pooled.scale": np.float32(0.5)})),
    "a branch": ("Gemm 'dense1'", lambda parts: node(parts, "dense1").input.__setitem__(0, "features")),
    "no logits": ("does not end", lambda parts: parts[0].pop()),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_form_in_the_firmware_is_refused_by_name(what: str) -> None:
    expected, damage = REFUSED[what]
    parts = small()
    read_network(to_bytes(*parts, ["logits"]))
    damage(parts)
    with pytest.raises(EdgemoeError, match=expected.replace("(", "\\(")):
        read_network(to_bytes(*parts, ["logits"]))


def test_a_file_that_is_none_is_refused() -> None:
    with pytest.raises(EdgemoeError, match="no ONNX file"):
        read_network(b"\x00not a graph")


def test_an_accumulator_that_could_overflow_is_refused() -> None:
    parts = small()
    steps = parts[1]["dense1.steps"]
    parts[1]["dense1.bias"] = np.full(len(steps), 2**23, np.int32)
    with pytest.raises(EdgemoeError, match="layer 'dense1': the accumulator of output 0 can leave"):
        read_network(to_bytes(*parts, ["logits"]))
