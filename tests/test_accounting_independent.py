"""Counting against onnx-tool, which reads ONNX files by itself: 0 difference, layer by layer.

onnx-tool counts the addition of a bias, a comparison and a division as MACs too, which is a convention and not ours.
What it says of a Conv or Gemm is therefore compared after one MAC for each output of a layer with a bias is taken off.
"""

import math

import numpy as np
import onnx
import onnx_tool
import pytest
from onnx import numpy_helper
from onnx_networks import batch_norm_net, count, lenet, mobilenet_like, residual, separable

SHAPES = {
    "unpruned": ((20, 50, 500, 128, 47), 2),
    "pruned": ((20, 20, 80, 100, 47), 2),
    "without padding": ((20, 50, 500, 128, 47), 0),
}


def masked(model, share=0.7):
    """The same network with the smallest weights of every layer set to 0, as unstructured pruning leaves it."""
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        if array.ndim > 1:
            array[np.abs(array) < np.quantile(np.abs(array), share)] = 0
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


NETWORKS = {
    **{f"LeNet-5, {name}": (lambda shape=shape: lenet(*shape)) for name, shape in SHAPES.items()},
    **{f"LeNet-5, {name}, masked": (lambda shape=shape: masked(lenet(*shape))) for name, shape in SHAPES.items()},
    "MobileNet-like": mobilenet_like,
    "depthwise-separable": separable,
    "residual": residual,
    "batch normalization": batch_norm_net,
}


def independent(model):
    """What onnx-tool makes of a model: its nodes by name, and its parameters."""
    graph = onnx_tool.Model(onnx.ModelProto.FromString(model.SerializeToString()), {"verbose": False}).graph
    feeds = {}
    for value in model.graph.input:
        feeds[value.name] = np.zeros([d.dim_value or 1 for d in value.type.tensor_type.shape.dim], np.float32)
    graph.shape_infer(feeds)
    graph.profile()
    return graph


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_counts_as_onnx_tool_counts_it(name) -> None:
    model = NETWORKS[name]()
    onnx.checker.check_model(model)
    theirs, cost = independent(model), count(model)
    ours = {layer.name: layer for layer in cost.layers}
    biased = {node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm") and len(node.input) > 2}
    weighted = [node for node in theirs.nodemap.values() if node.op_type in ("Conv", "Gemm", "MatMul")]
    assert weighted
    for node in weighted:
        layer, written = ours[node.name], math.prod(node.outshape)
        normalized = written if "BatchNormalization" in layer.op else 0  # one MAC for each element that it writes
        assert layer.macs - normalized == node.macs[0] - written * (node.name in biased)
        assert layer.elements_written == written
    assert cost.unknown == ()
    assert cost.total().parameters == theirs.params
    assert cost.total().bytes == 4 * theirs.params


@pytest.mark.parametrize("name", NETWORKS)
def test_activation_traffic_and_peak_are_those_of_the_shapes_that_onnx_tool_infers(name) -> None:
    """By brute force: all tensors that some later layer or the answer still needs, at every layer in turn."""
    model = NETWORKS[name]()
    theirs, cost = independent(model), count(model)
    bytes_of = {key: 4 * math.prod(tensor.get_shape()) for key, tensor in theirs.tensormap.items()}
    alias = {}
    for node in model.graph.node:  # reshaping moves nothing
        if node.op_type in ("Flatten", "Reshape", "Squeeze"):
            alias[node.output[0]] = alias.get(node.input[0], node.input[0])
    made_by = {layer.name: layer for layer in cost.layers}
    weights = {tensor.name for tensor in model.graph.initializer}
    steps = []  # (reads, writes) of each layer, fused as the record's layers say
    for node in model.graph.node:
        if node.output[0] in alias:
            continue
        reads = {alias.get(key, key) for key in node.input if key and key not in weights}
        if node.name in made_by:
            steps.append([reads, node.output[0]])
        else:
            assert reads == {steps[-1][1]}  # what is fused reads the layer before alone
            steps[-1][1] = node.output[0]
    final = {alias.get(value.name, value.name) for value in model.graph.output}
    peak = 0
    for i, (reads, written) in enumerate(steps):
        later = set().union(*(r for r, _ in steps[i + 1 :]), final)
        before = {value.name for value in model.graph.input} | {w for _, w in steps[:i]}
        alive = {key for key in before if key in later | reads} | {written}
        peak = max(peak, sum(bytes_of[key] for key in alive))
    assert cost.peak_activation_bytes == peak
    assert cost.total().bytes_read == sum(bytes_of[key] for reads, _ in steps for key in reads)
    assert cost.total().bytes_written == sum(bytes_of[written] for _, written in steps)
