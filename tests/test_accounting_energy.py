"""The energy model: the published constants, and the arithmetic on them."""

import json
from pathlib import Path

import pytest

from edgemoe.accounting import energy
from edgemoe.accounting.cost import PartCost
from edgemoe.accounting.energy import MemoryLevels, load_energy_model
from edgemoe.errors import EdgemoeError

SHIPPED = Path(energy.__file__).with_name("horowitz45.json")
NEAR = MemoryLevels("1 MB", "32 KB")


def test_a_mac_costs_the_published_multiplication_and_addition() -> None:
    model = load_energy_model()
    assert model.mac_pj(8) == model.mac_pj(4) == pytest.approx(0.2 + 0.1)
    assert model.mac_pj(16) == pytest.approx(1.1 + 0.4)
    assert model.mac_pj(32) == pytest.approx(3.7 + 0.9)
    with pytest.raises(EdgemoeError, match="64 bits"):
        model.mac_pj(64)


def test_traffic_costs_a_published_access_for_every_eight_bytes() -> None:
    model = load_energy_model()
    assert model.energy_nj(PartCost(weight_bytes_read=8000), NEAR) == pytest.approx(1000 * 100 / 1000)
    assert model.energy_nj(PartCost(bytes_read=8000), NEAR) == pytest.approx(1000 * 20 / 1000)
    assert model.energy_nj(PartCost(bytes_written=8000), NEAR) == pytest.approx(1000 * 20 / 1000)
    far = MemoryLevels("DRAM", "1 MB")
    assert model.energy_nj(PartCost(weight_bytes_read=8000), far) == pytest.approx(1000 * 1950 / 1000)


def test_the_energy_of_a_network_is_the_sum_worked_out_by_hand() -> None:
    cost = PartCost(0, 0, {8: 1000, 32: 10}, weight_bytes_read=800, bytes_read=80, bytes_written=40)
    by_hand_pj = 1000 * 0.3 + 10 * 4.6 + 100 * 100 + 10 * 20 + 5 * 20
    assert load_energy_model().energy_nj(cost, NEAR) == pytest.approx(by_hand_pj / 1000)
    assert load_energy_model().mac_nj(cost) == pytest.approx((1000 * 0.3 + 10 * 4.6) / 1000)


@pytest.mark.parametrize(
    ("weights", "peak", "levels"),
    [
        (10, 10, ("1 MB", "32 KB")),
        (2**20, 2**15, ("1 MB", "32 KB")),
        (2**20 + 1, 2**15 + 1, ("DRAM", "1 MB")),
        (0, 2**20 + 1, ("1 MB", "DRAM")),
    ],
)
def test_the_memory_level_is_the_smallest_allowed_one_that_holds_the_data(weights, peak, levels) -> None:
    assert load_energy_model().levels(weights, peak) == MemoryLevels(*levels)


def test_every_shipped_constant_has_a_unit_and_a_source() -> None:
    constants = json.loads(SHIPPED.read_text())["constants"]
    assert len(constants) == 13
    assert all(c["unit"] == "pJ" and len(c["source"]) > 20 for c in constants.values())


def test_a_model_for_ratios_refuses_to_tell_joules() -> None:
    with pytest.raises(EdgemoeError, match="horowitz45: is for ratios only"):
        load_energy_model().joules(PartCost(0, 0, {8: 1000}))


@pytest.mark.parametrize("name", list(json.loads(SHIPPED.read_text())["constants"]))
@pytest.mark.parametrize(
    "change",
    [
        lambda constants, name: constants.pop(name),
        lambda constants, name: constants[name].update(value=-1),
        lambda constants, name: constants[name].update(value="0.1"),
        lambda constants, name: constants[name].update(value=float("nan")),
        lambda constants, name: constants[name].update(value=True),
        lambda constants, name: constants[name].update(unit="fJ"),
        lambda constants, name: constants[name].pop("source"),
        lambda constants, name: constants.update({name: 3}),
    ],
)
def test_a_missing_or_impossible_constant_is_named(name, change, tmp_path) -> None:
    content = json.loads(SHIPPED.read_text())
    change(content["constants"], name)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    with pytest.raises(EdgemoeError, match=rf"mine\.json: {name}"):
        load_energy_model(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"constants": 1}', "\xff", "[" * 50_000])
def test_a_file_that_is_no_energy_model_is_refused_by_name(content, tmp_path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(EdgemoeError, match=r"mine\.json"):
        load_energy_model(path)
