"""The network before pruning: against what training recorded, and against networks of that shape."""

import numpy as np
import pytest
from onnx_networks import lenet, residual

from edgemoe import load_global_expert
from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.accounting.record import account_record
from edgemoe.accounting.unpruned import unpruned_record, widened
from edgemoe.device.global_expert import shipped_experts
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.errors import EdgemoeError


def parsed(model):
    return parse_onnx(model.SerializeToString(), "net.onnx")


@pytest.mark.parametrize("pad", [0, 2])
def test_a_widened_lenet_counts_as_one_that_was_made_so_wide(pad) -> None:
    pruned, wide = lenet((20, 20, 80, 100, 47), pad), lenet((20, 50, 500, 128, 47), pad)
    assert count_graph(widened(parsed(pruned), [20, 50, 500, 128, 47])).total() == count_graph(parsed(wide)).total()
    assert count_graph(widened(parsed(wide), [20, 20, 80, 100, 47])).total() == count_graph(parsed(pruned)).total()


@pytest.mark.parametrize("name", shipped_experts())
def test_each_shipped_experts_unpruned_network_has_the_parameters_that_training_recorded(name) -> None:
    expert = load_global_expert(name)
    record = unpruned_record(expert, {"local": None, "gate": None})
    assert record["parameters"] == expert.metadata["training"]["parameters"]
    assert record["overhead"] is None


def test_the_overhead_against_the_unpruned_network_is_smaller_by_as_much_as_that_is_larger(ge, profile) -> None:
    report = account_record(ge, MixtureOfExperts.load(profile, ge).profile)
    record = unpruned_record(ge, report)
    for key in ("bytes", "macs", "energy"):
        ours = "energy_nj" if key == "energy" else key
        ratio = record[ours] / report["global"][ours]
        assert ratio > 1
        assert record["overhead"][key] * ratio == pytest.approx(report["overhead"][key])
    biases = sum(record["shape"]) + len(ge.classes)
    assert record["bytes"] == record["parameters"] + 3 * biases


def test_a_card_that_does_not_tell_the_widths_has_no_unpruned_network(ge, monkeypatch) -> None:
    monkeypatch.setitem(ge.metadata, "training", {"shape": "wide"})
    assert unpruned_record(ge, {}) is None


def test_a_network_that_is_no_chain_of_plain_layers_is_named() -> None:
    with pytest.raises(EdgemoeError, match=r"net.onnx: 7 weighted layers, and 2 widths"):
        widened(parsed(residual()), [3, 4])
    with pytest.raises(EdgemoeError, match=r"node head: is no layer that could be widened"):
        widened(parsed(residual()), np.full(7, 4).tolist())
