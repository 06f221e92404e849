"""Counts beside executed instructions: a fit finds what was put in, and a count that is wrong stands out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgemoe import GlobalExpert
from edgemoe.accounting.cost import GraphCost, LayerCost, PartCost
from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.accounting.truth import Executed, compare, load_executed
from edgemoe.errors import EdgemoeError

MACS = {"conv1": 40_000, "conv2": 100_000, "fc1": 5000, "fc2": 900, "out": 300}
BYTES = {"conv1": 200, "conv2": 900, "fc1": 5000, "fc2": 1800, "out": 150}


def layer(name: str, macs: int = 0, weights: int = 0) -> LayerCost:
    return LayerCost(name, "Conv", 1, weights, 0, macs, 8, weights, 1, 1, 10, 10)


GRAPH = GraphCost(
    "net.onnx",
    (
        layer("quantize"),
        *(part for name in MACS for part in (layer(name, MACS[name], BYTES[name]), layer(f"after {name}"))),
    ),
    (),
    1,
    1,
)
TRUE = {name: 2 * MACS[name] + 3 * BYTES[name] + 500 for name in MACS}
EXECUTED = Executed(
    "board",
    "net",
    "00",
    TRUE,
    {"global": 300_000, "mixture": 303_000, "training": 50_000_000},
    146_200,
    9_500_000,
    100,
    800,
)


def test_instructions_that_follow_the_counts_leave_no_residual() -> None:
    found = compare(GRAPH, EXECUTED, PartCost(macs_by_bits={8: 1462}), PartCost(macs_by_bits={32: 7}))
    assert (found["per_mac"], found["per_byte"], found["per_layer"]) == pytest.approx((2, 3, 500))
    assert all(abs(row["residual"]) < 1e-9 for row in found["layers"])
    assert found["overhead"] == {"macs": pytest.approx(0.01), "instructions": pytest.approx(0.01)}
    assert found["training"] == {"macs": 7, "instructions": 50_000_000}
    xs, ys = list(MACS.values()), list(TRUE.values())
    assert found["correlation"] == pytest.approx(np.corrcoef(xs, ys)[0, 1])


def test_every_byte_moved_is_shown_at_the_layer_in_whose_step_it_is() -> None:
    moved = {row["name"]: row["bytes"] for row in compare(GRAPH, EXECUTED, None, None)["layers"]}
    assert moved["conv1"] == 200 + 3 * 20  # with the quantization before it and what follows it
    assert moved["out"] == 150 + 2 * 20


def test_a_layer_whose_count_is_wrong_has_the_largest_residual() -> None:
    spoilt = replace(EXECUTED, layers=TRUE | {"fc1": 3 * TRUE["fc1"]})
    by_macs = compare(GRAPH, spoilt, None, None)["worst_by_macs"]
    rows = {
        row["name"]: row["instructions"] / row["by_macs"] - 1 for row in compare(GRAPH, spoilt, None, None)["layers"]
    }
    assert by_macs == pytest.approx(max(rows.values(), key=abs))
    assert abs(compare(GRAPH, spoilt, None, None)["worst"]) > 0.1


def test_layers_of_another_graph_are_refused() -> None:
    with pytest.raises(EdgemoeError, match="conv9"):
        compare(GRAPH, replace(EXECUTED, layers={"conv9": 3}), None, None)


def test_an_updates_instructions_leave_the_global_experts_passes_out() -> None:
    assert EXECUTED.per_update_mac == pytest.approx((50_000_000 - 100 * 300_000) / 9_500_000)


def test_the_shipped_record_is_of_the_shipped_expert_and_the_counts_explain_it(ge: GlobalExpert) -> None:
    executed, graph = load_executed(), count_graph(parse_onnx(ge.bundle.int8))
    assert executed.fingerprint == ge.fingerprint.hex(), "python3 -m firmware_export.executed makes it anew"
    assert executed.macs == graph.total().macs
    found = compare(graph, executed, None, None)
    assert found["correlation"] > 0.99
    assert abs(found["worst"]) < 0.15  # pooling has instructions and no MACs
    assert sum(executed.layers.values()) <= executed.instructions["global"] < 1.1 * sum(executed.layers.values())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda c: c.pop("layers"), "layers"),
        (lambda c: c["layers"].update(conv1=-3), "conv1"),
        (lambda c: c["layers"].update(conv1=1.5), "conv1"),
        (lambda c: c["instructions"].pop("mixture"), "mixture"),
        (lambda c: c.update(macs=0), "macs"),
        (lambda c: c.update(samples=True), "samples"),
        (lambda c: c.pop("fingerprint"), "fingerprint"),
    ],
)
def test_a_record_that_is_not_whole_is_refused_by_field(change, field, tmp_path: Path) -> None:
    from edgemoe.accounting import truth

    content = json.loads(Path(truth.__file__).with_name("executed_cortex-m4.json").read_text())
    change(content)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    with pytest.raises(EdgemoeError, match=rf"mine\.json: {field}"):
        load_executed(path)
