"""The figures of docs/firmware.md: within the issue's limits if measured anew; the page says what is on record."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from firmware_tools import require_target

from edgemoe import EdgemoeError
from edgemoe.data import load_samples
from edgemoe.global_expert.adopt import adopt_onnx
from firmware_export.compare import measure_dense, measure_network
from firmware_export.network import read_network
from firmware_export.page import page
from firmware_export.targets import TARGETS

DOCS = ROOT / "docs"
RECORDS = ("firmware", "firmware-retention", "lenet5-balanced")


def test_the_reference_network_keeps_the_limits_of_issue_5(shared_data: Path) -> None:
    board = require_target("cortex-m4")
    images, labels, _ = load_samples(f"{shared_data}/emnist/emnist.zip:bymerge-part:test")
    model = shared_data.parent / "models" / "lenet5_classic.onnx"
    network = read_network(adopt_onnx(model, images[:500], labels[:500]).graph)
    assert network.macs == 419_628
    found = measure_network(network, board, images[500:510])
    assert 0.5 < found["instructions_per_mac"] < found["dense_instructions_per_mac"] < 1.7
    assert found["flash_bytes"] <= 70_000
    assert found["ram_bytes"] <= 7_500


def test_training_a_dense_layer_keeps_the_limit_of_issue_5() -> None:
    found = measure_dense(require_target("cortex-m4"))
    assert (found["inputs"], found["outputs"]) == (84, 47)
    assert 84 * 47 < found["instructions"] <= 35_000
    assert found["learnt"] > 0.95
    assert found["ram_bytes"] < 20_000


def test_the_page_is_what_its_records_give() -> None:
    assert (DOCS / "firmware.md").read_text() == page(DOCS), "python3 -m firmware_export.page"


def test_the_record_is_of_every_target_and_within_the_limits_of_issue_5() -> None:
    record = json.loads((DOCS / "figures" / "firmware.json").read_text())
    assert [one["target"] for one in record["targets"]] == list(TARGETS)
    assert all(one["passed"] and one["mismatches"] == 0 for one in record["targets"])
    assert all(one["instructions_per_mac"] <= 1.7 for one in record["network"])
    (m4,) = (one for one in record["targets"] if one["target"] == "cortex-m4")
    assert m4["instructions_train"] <= 600e6
    assert m4["ram_bytes"] <= 64 << 10
    assert m4["overhead"] <= 0.01


@pytest.mark.parametrize("name", RECORDS)
def test_a_damaged_record_is_named(name: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    figures.mkdir()
    for record in RECORDS:
        shutil.copy(DOCS / "figures" / f"{record}.json", figures)
    assert page(tmp_path) == page(DOCS)
    (figures / f"{name}.json").write_text('{"command": ')
    with pytest.raises(EdgemoeError, match=f"{name}.json: not a record of the firmware"):
        page(tmp_path)
    (figures / f"{name}.json").write_text("{}")
    with pytest.raises(EdgemoeError, match="a record of the firmware lacks"):
        page(tmp_path)
