"""The torch network is the shipped float32 graph, and characters carry what methods read."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from networks import settled

from edgemoe import GlobalExpert
from edgemoe.benchmark.network import characters, float_network, forward, network_of, one_thread
from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.export import to_onnx
from edgemoe.global_expert.lenet5 import fold_normalization


@pytest.fixture(scope="module")
def images(writer):
    return writer[0][:120]


def test_its_logits_are_onnxruntimes(ge, images):
    expected = GlobalExpert(ge.bundle, "float32").taps(images).logits
    assert np.abs(forward(float_network(ge), images) - expected).max() < 1e-4


@pytest.mark.parametrize("shape", [(6, 16, 120, 84), (20, 50, 500), (3, 4, 5, 6, 7)])
def test_a_network_of_any_width_comes_back_weight_by_weight(shape, images):
    model = fold_normalization(settled(shape))
    graph = to_onnx(model)
    back = network_of(graph)
    assert back.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)
    session = onnxruntime.InferenceSession(graph)
    expected = session.run(["logits"], {"image": images[:, None].astype(np.float32) / 255})[0]
    assert np.abs(forward(back, images) - expected).max() < 1e-4


def test_characters_are_what_both_forms_of_the_expert_say(ge, images):
    labels = np.arange(len(images)) % 47
    found = characters(ge, images, labels)
    assert np.array_equal(found.taps.logits, ge.taps(images).logits)
    assert np.array_equal(found.taps.features, ge.taps(images).features)
    assert np.array_equal(found.labels, labels)
    graph = onnx.load_from_string(ge.bundle.float32)
    hidden = graph.graph.node[-1].input[0]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(hidden, onnx.TensorProto.FLOAT, ["n", "h"]))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    expected = session.run([hidden], {"image": images[:, None].astype(np.float32) / 255})[0]
    assert found.hidden.dtype == np.float32
    assert np.abs(found.hidden - expected).max() < 1e-4


def test_a_graph_that_is_no_chain_of_known_layers_is_named(ge):
    graph = onnx.load_from_string(ge.bundle.float32)
    graph.graph.node[1].op_type = "Sigmoid"
    with pytest.raises(EdgemoeError, match=r"mine: node 'relu1' \(Sigmoid\)"):
        network_of(graph.SerializeToString(), "mine")
    graph = onnx.load_from_string(ge.bundle.float32)
    graph.graph.node[2].input[0] = "conv1"
    with pytest.raises(EdgemoeError, match=r"mine: node 'pool1'"):
        network_of(graph.SerializeToString(), "mine")
    with pytest.raises(EdgemoeError, match="mine: not an ONNX graph"):
        network_of(b"no graph at all", "mine")


@pytest.mark.parametrize("labels", [np.arange(119), np.full(120, 47), np.full(120, -1), np.zeros((120, 1), int)])
def test_labels_that_are_no_class_indices_are_refused(ge, images, labels):
    with pytest.raises(EdgemoeError, match="labels: expected 120 class indices"):
        characters(ge, images, labels)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
