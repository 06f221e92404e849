"""Counting what PyTorch exports, against PyTorch's own layers as they run."""

from itertools import pairwise

import onnx
import pytest
from onnx_networks import LENETS, count, lenet
from torch import nn
from torch_exports import BY_TRACING, export, torch_count, torch_networks

from edgemoe.accounting.graph import count_file


@pytest.mark.parametrize("name", ["depthwise", "residual"])
def test_networks_exported_by_torch_count_as_they_run_in_torch(name, tmp_path) -> None:
    network = torch_networks()[name]
    parameters, macs = torch_count(network)
    cost = count_file(export(network, tmp_path / "net.onnx", **BY_TRACING))
    assert cost.unknown == ()
    assert (cost.total().parameters, cost.total().macs) == (parameters, macs)
    assert cost.total().bytes == 4 * parameters


@pytest.mark.parametrize(("widths", "pad"), LENETS)
def test_a_lenet_exported_by_torch_counts_as_the_one_made_by_hand(widths, pad, tmp_path) -> None:
    c1, c2, *hidden = widths
    sizes = [c2 * (((28 + 2 * pad - 4) // 2 - 4) // 2) ** 2, *hidden]
    layers = [nn.Conv2d(1, c1, 5, padding=pad), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(c1, c2, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    for inner, outer in pairwise(sizes):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    exported = count_file(export(nn.Sequential(*layers[:-1]).eval(), tmp_path / "net.onnx", **BY_TRACING))
    by_hand = count(lenet(widths, pad))
    assert exported.total() == by_hand.total()
    assert exported.peak_activation_bytes == by_hand.peak_activation_bytes


def test_weights_that_torchs_new_exporter_puts_beside_the_file_are_unknown_not_zero(tmp_path) -> None:
    pytest.importorskip("onnxscript")
    network = torch_networks()["residual"]
    parameters, macs = torch_count(network)
    image = {"dynamo": True, "dynamic_shapes": ({0: "n"},)}
    inside = count_file(export(network, tmp_path / "inside.onnx", **image, external_data=False))
    assert (inside.unknown, inside.total().parameters, inside.total().macs) == ((), parameters, macs)
    onnx.save(
        onnx.load(tmp_path / "inside.onnx"),
        tmp_path / "o.onnx",
        save_as_external_data=True,
        size_threshold=999,
    )
    outside = count_file(tmp_path / "o.onnx")
    large = [layer for layer in inside.layers if layer.bytes > 999]
    assert len(outside.unknown) == len(large) > 1
    assert all("kept outside the file" in entry.reason for entry in outside.unknown)
    assert outside.total().macs == macs - sum(layer.macs for layer in large)
    assert outside.total().bytes + sum(entry.bytes for entry in outside.unknown) == inside.total().bytes
