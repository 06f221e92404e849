"""Boards: the measurements they are calibrated from come out again, and what is not known is never zero."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgemoe.accounting import boards
from edgemoe.accounting.boards import load_board, shipped_boards
from edgemoe.accounting.cost import PartCost
from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.errors import EdgemoeError

HERE = Path(boards.__file__).parent
NETWORKS = json.loads((HERE / "mlperf_tiny.json").read_text())["networks"]
FILES = sorted(HERE.glob("board_*.json"))
MEDIANS = {"nucleo-l4r5zi": (7019, 294), "nucleo-h7a3zi-q": (6311, 221), "nucleo-u575zi-q": (3384, 121)}
"""MLPerf Tiny v1.1, STMicroelectronics: microjoules of image classification and of anomaly detection."""


def part(network: str) -> PartCost:
    counts = NETWORKS[network]
    return PartCost(macs_by_bits={8: counts["macs"]}, weight_bytes_read=counts["weight_bytes"])


def counted(nodes: list, weights: dict[str, tuple[int, ...]], image: tuple[int, ...]) -> PartCost:
    """Count a float graph whose last value is named y."""
    tensors = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    return count_graph(parse_onnx(helper.make_model(graph).SerializeToString())).total()


def residual_network() -> PartCost:
    """MLPerf Tiny's image classification network, of three stacks with 16, 32 and 64 filters."""
    nodes, weights = [], {}

    def conv(source: str, name: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> str:
        weights[f"{name}w"], weights[f"{name}b"] = (outputs, inputs, kernel, kernel), (outputs,)
        pads = [0, 0, 1, 1] if kernel == 3 and stride == 2 else [kernel // 2] * 4
        operands = [source, f"{name}w", f"{name}b"]
        nodes.append(helper.make_node("Conv", operands, [name], name, pads=pads, strides=[stride] * 2))
        return name

    value, channels = conv("x", "first", 3, 16, 3), 16
    for stack, filters in enumerate((16, 32, 64)):
        stride = 1 if filters == channels else 2
        inner = conv(conv(value, f"a{stack}", channels, filters, 3, stride), f"b{stack}", filters, filters, 3)
        beside = conv(value, f"c{stack}", channels, filters, 1, 2) if stride == 2 else value
        nodes.append(helper.make_node("Add", [inner, beside], [f"s{stack}"], f"s{stack}"))
        value, channels = f"s{stack}", filters
    nodes += [
        helper.make_node("GlobalAveragePool", [value], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "dw", "db"], ["y"], "dense", transB=1),
    ]
    weights |= {"dw": (10, 64), "db": (10,)}
    return counted(nodes, weights, (1, 3, 32, 32))


def autoencoder() -> PartCost:
    sizes = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    nodes, weights = [], {}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        names = ["x" if i == 0 else f"v{i}", f"w{i}", f"b{i}"]
        result = "y" if i == len(sizes) - 2 else f"v{i + 1}"
        nodes.append(helper.make_node("Gemm", names, [result], f"d{i}", transB=1))
        weights |= {f"w{i}": (outputs, inputs), f"b{i}": (outputs,)}
    return counted(nodes, weights, (1, 640))


@pytest.mark.parametrize(
    ("name", "build"), [("image-classification", residual_network), ("anomaly-detection", autoencoder)]
)
def test_the_networks_of_the_calibration_are_counted_by_the_products_own_counter(name, build) -> None:
    found = build()
    biases = {"image-classification": 346, "anomaly-detection": 1672}[name]
    assert found.macs == NETWORKS[name]["macs"]
    assert found.parameters - biases + 4 * biases == NETWORKS[name]["weight_bytes"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_board_gives_back_the_two_energies_and_times_that_it_was_calibrated_from(path: Path) -> None:
    content, board = json.loads(path.read_text()), load_board(path)
    reference = [m for m in content["measurements"] if m["submitter"] == content["reference"]]
    assert len(reference) == 2
    for measured in reference:
        found = board.energy(part(measured["network"]))
        assert found.joules == pytest.approx(1e-6 * measured["energy"]["value"], rel=1e-9)
        assert found.seconds == pytest.approx(1 / measured["throughput"]["value"], rel=1e-9)


def test_the_shipped_boards_are_those_of_the_published_medians() -> None:
    found = {board.name: board for board in shipped_boards()}
    assert set(found) == set(MEDIANS)
    for name, (first, second) in MEDIANS.items():
        energies = [found[name].energy(part(network)).joules * 1e6 for network in NETWORKS]
        assert energies == pytest.approx([first, second], abs=0.5)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_the_range_holds_every_measured_energy_of_the_board(path: Path) -> None:
    board = load_board(path)
    for measured in json.loads(path.read_text())["measurements"]:
        found = board.energy(part(measured["network"]))
        assert found.low - 1e-12 <= 1e-6 * measured["energy"]["value"] <= found.high + 1e-12


def test_every_shipped_constant_has_a_unit_and_a_source_and_what_is_not_known_is_null() -> None:
    def constants(value):
        if isinstance(value, dict):
            if "value" in value:
                yield value
            for inner in value.values():
                yield from constants(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from constants(inner)

    for path in [*FILES, *HERE.glob("radio_*.json"), HERE / "cells.json"]:
        found = list(constants(json.loads(path.read_text())))
        assert found
        for entry in found:
            assert entry["unit"], path
            assert len(entry["source"]) > 15, path
            assert entry["value"] is None or entry["value"] > 0, path
    assert all(board.static_watts is None for board in shipped_boards())


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    return path


def measured(**constants: tuple[object, str]) -> dict:
    entries = {name: {"value": v, "unit": u, "source": "my multimeter"} for name, (v, u) in constants.items()}
    return {"name": "mine", "kind": "measured", "constants": entries}


COST = PartCost(macs_by_bits={8: 1_000_000}, weight_bytes_read=10_000)


def test_a_measured_current_gives_joules_by_the_instructions_executed(tmp_path: Path) -> None:
    content = measured(volts=(3.0, "V"), current=(0.010, "A"), instructions_per_second=(60e6, "1/s"))
    board = load_board(written(tmp_path, content))
    found = board.energy(COST, instructions=6_000_000)
    assert (found.joules, found.seconds) == pytest.approx((0.003, 0.1))  # 30 mW for a tenth of a second
    assert found.low is None
    assert found.high is None
    assert board.energy(COST) is None


def test_a_measured_inference_is_that_of_the_global_expert(tmp_path: Path) -> None:
    board = load_board(written(tmp_path, measured(energy_per_inference=(0.002, "J")))).measured_on(COST)
    assert board.energy(COST).joules == pytest.approx(0.002)
    assert board.energy(PartCost(macs_by_bits={8: 5000}, weight_bytes_read=10)).joules == pytest.approx(1e-5)


def test_macs_that_no_board_was_measured_with_have_no_energy() -> None:
    for board in shipped_boards():
        assert board.energy(PartCost(macs_by_bits={32: 1000})) is None


def test_flash_costs_the_time_of_each_word_and_page_at_its_power() -> None:
    flash = load_board("nucleo-l4r5zi").flash
    assert flash.joules(4097) == pytest.approx(1.8 * 3.4e-3 * (513 * 81.69e-6 + 2 * 22.02e-3))
    assert load_board("nucleo-u575zi-q").flash is None


def test_a_model_for_ratios_is_no_board() -> None:
    with pytest.raises(EdgemoeError, match=r"horowitz45\.json: kind: .*ratios only"):
        load_board(HERE / "horowitz45.json")


def test_an_unknown_name_lists_the_boards_that_ship() -> None:
    with pytest.raises(EdgemoeError, match="nucleo-u575zi-q"):
        load_board("nucleo")


@pytest.mark.parametrize("name", ["volts", "current", "instructions_per_second"])
@pytest.mark.parametrize(
    "change",
    [
        lambda c, n: c.pop(n),
        lambda c, n: c[n].update(value=-1),
        lambda c, n: c[n].update(value=0),
        lambda c, n: c[n].update(value=None),
        lambda c, n: c[n].update(value="3"),
        lambda c, n: c[n].update(value=float("inf")),
        lambda c, n: c[n].update(unit="mA"),
        lambda c, n: c[n].pop("source"),
    ],
)
def test_a_missing_or_impossible_constant_of_a_board_is_named(name, change, tmp_path) -> None:
    content = measured(volts=(3.0, "V"), current=(0.01, "A"), instructions_per_second=(6e7, "1/s"))
    change(content["constants"], name)
    with pytest.raises(EdgemoeError, match=rf"mine\.json: {name}"):
        load_board(written(tmp_path, content))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda c: c.update(kind="guessed"), "kind"),
        (lambda c: c.pop("measurements"), "measurements"),
        (lambda c: c["measurements"].pop(0), "measurements"),
        (lambda c: c["measurements"][1].update(network="lenet"), r"measurements\[1\]\.network"),
        (lambda c: c["measurements"][0]["energy"].update(value=-7), r"measurements\[0\]\.energy"),
        (lambda c: c["measurements"][0].pop("throughput"), r"measurements\[0\]\.throughput"),
        (lambda c: c["measurements"][1]["energy"].update(value=1.0), "measurements: no positive joules"),
        (lambda c: c["constants"]["clock"].update(value=-1), "clock"),
        (lambda c: c["constants"]["static_power"].update(value=-1), "static_power"),
    ],
)
def test_a_wrong_field_of_a_calibrated_board_is_named(change, field, tmp_path) -> None:
    content = json.loads((HERE / "board_nucleo-u575zi-q.json").read_text())
    change(content)
    with pytest.raises(EdgemoeError, match=rf"mine\.json: {field}"):
        load_board(written(tmp_path, content))


@pytest.mark.parametrize("content", ["", "[]", "{}", "\xff", "[" * 50_000])
def test_a_file_that_is_no_board_is_refused_by_name(content, tmp_path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(EdgemoeError, match=r"mine\.json"):
        load_board(path)
