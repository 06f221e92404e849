"""The report: fractions of the global expert, expected cost, and nothing unknown kept quiet."""

import io
import json

import pytest
from rich.console import Console

from edgemoe.accounting.cost import GraphCost, LayerCost, PartCost, Unknown
from edgemoe.accounting.energy import MemoryLevels, load_energy_model
from edgemoe.accounting.report import overhead
from edgemoe.accounting.tables import print_report

LAYERS = (
    LayerCost("conv[1]", "Conv+Relu", 156, 257, 83, 117_600, 8, 257, 784, 4704, 784, 4704),
    LayerCost("fc", "Gemm", 5000, 5400, 20, 5000, 8, 5400, 100, 50, 100, 50),
    LayerCost("head", "Gemm", 100, 400, 0, 100, 32, 400, 50, 2, 200, 8),
)
GLOBAL = GraphCost("net.onnx", LAYERS, (), 9000, 5488)
LOCAL = PartCost(100, 120, {8: 100}, 120, 10, 4)
GATE = PartCost(20, 30, {8: 20}, 30, 20, 1)


def test_parts_add_up_field_by_field() -> None:
    total = GLOBAL.total()
    assert total == PartCost(5256, 6057, {8: 122_600, 32: 100}, 6057, 1084, 4762)
    assert total.macs == 122_700
    both = LOCAL + GATE
    assert both == PartCost(120, 150, {8: 120}, 150, 30, 5)


def test_overheads_are_fractions_of_the_global_expert() -> None:
    report = overhead(GLOBAL, LOCAL, GATE)
    energy, near = load_energy_model(), MemoryLevels("1 MB", "32 KB")
    assert report["overhead"]["bytes"] == 150 / 6057
    assert report["overhead"]["macs"] == 120 / 122_700
    added = energy.energy_nj(LOCAL, near) + energy.energy_nj(GATE, near)
    assert report["overhead"]["energy_stored"] == pytest.approx(added / energy.energy_nj(GLOBAL.total(), near))


def test_a_profile_in_working_memory_is_read_at_that_memorys_cost() -> None:
    report, energy = overhead(GLOBAL, LOCAL, GATE), load_energy_model()
    saved = (120 + 30) * (energy.byte_pj["1 MB"] - energy.byte_pj["32 KB"]) / 1000  # nJ
    shares, whole = report["overhead"], report["global"]["energy_nj"]
    assert shares["energy_stored"] - shares["energy"] == pytest.approx(saved / whole)
    assert report["local"]["energy_nj"] + report["gate"]["energy_nj"] == pytest.approx(shares["energy"] * whole)


def test_a_profile_that_leaves_no_room_moves_the_working_memory() -> None:
    tight = GraphCost("net.onnx", LAYERS, (), 9000, 32 * 1024 - 100)
    assert overhead(tight)["levels"]["activations"] == "32 KB"
    assert overhead(tight, LOCAL, GATE)["levels"]["activations"] == "1 MB"


def test_the_record_has_the_promised_fields_and_is_json() -> None:
    report = json.loads(json.dumps(overhead(GLOBAL, LOCAL, GATE), allow_nan=False))
    for part in ("global", "local", "gate"):
        assert {"parameters", "bytes", "macs", "energy_nj"} <= set(report[part])
    assert set(report["overhead"]) == {"bytes", "macs", "energy", "energy_stored"}
    assert (report["global"]["bytes"], report["global"]["file_bytes"]) == (6057, 9000)
    assert report["model"] == "horowitz45"
    assert [layer["name"] for layer in report["layers"]] == ["conv[1]", "fc", "head"]
    energies = sum(layer["energy_nj"] for layer in report["layers"])
    assert energies == pytest.approx(report["global"]["energy_nj"])


def test_expected_cost_runs_from_no_local_expert_to_one_on_every_input() -> None:
    report = overhead(GLOBAL, LOCAL, GATE)
    macs = {row["rate"]: row["macs"] for row in report["routing"]}
    assert (macs[0.0], macs[0.5], macs[1.0]) == (122_720, 122_770, 122_820)
    energies = [row["energy_nj"] for row in report["routing"]]
    assert energies[-1] - energies[0] == pytest.approx(report["local"]["energy_nj"])


def test_without_a_profile_there_is_no_overhead_to_tell() -> None:
    report = overhead(GLOBAL)
    assert (report["local"], report["gate"], report["overhead"], report["routing"]) == (None, None, None, [])


def test_the_memory_levels_follow_from_all_weights_of_the_device() -> None:
    large = PartCost(2**20, 2**20, {8: 1}, 2**20, 1, 1)
    assert overhead(GLOBAL, LOCAL, GATE)["levels"] == {"weights": "1 MB", "activations": "32 KB"}
    assert overhead(GLOBAL, large, GATE)["levels"]["weights"] == "DRAM"


def printed(report) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    return console.file.getvalue()


def test_the_tables_show_each_part_and_the_overhead() -> None:
    text = printed(overhead(GLOBAL, LOCAL, GATE))
    for piece in ("conv[1] (Conv+Relu)", "122,700", "local expert", "gate", "6,057", "9,000", "for ratios only"):
        assert piece in text
    assert f"bytes {150 / 6057:.2%}" in text


def test_no_table_gives_energies_of_the_ratio_model_in_joules() -> None:
    report = overhead(GLOBAL, LOCAL, GATE)
    assert report["energy_kind"] == "ratio"
    text = printed(report)
    assert f"{report['local']['energy_nj'] / report['global']['energy_nj']:.2%}" in text
    assert "nJ" not in text
    assert "mJ" not in text
    assert f"{report['global']['energy_nj']:,.1f}" not in text


def test_what_is_unknown_is_printed_with_its_reason() -> None:
    entry = Unknown("odd[0]", "Wavelet", "no rule counts this operator", 36)
    report = overhead(GraphCost("net.onnx", LAYERS, (entry,), 9000, 5488))
    expected = {"name": "odd[0]", "op": "Wavelet", "reason": "no rule counts this operator", "bytes": 36}
    assert report["unknown"] == [expected]
    assert "Not counted: odd[0] (Wavelet): no rule counts this operator" in printed(report)


def test_a_graph_of_nothing_countable_has_no_fractions() -> None:
    report = overhead(GraphCost("net.onnx", (), (), 10, 0), LOCAL, GATE)
    assert report["overhead"] == dict.fromkeys(("bytes", "macs", "energy", "energy_stored"))
    assert "for ratios only" in printed(report)
