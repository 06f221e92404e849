"""When training has paid: against adding up every inference, and the radios and batteries that go into it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemoe.accounting import radio
from edgemoe.accounting.battery import Cell, load_cells
from edgemoe.accounting.payoff import pays_off
from edgemoe.accounting.radio import Radio, load_radio, shipped_radios
from edgemoe.errors import EdgemoeError

MOST = 400
HERE = Path(radio.__file__).parent
costs = st.integers(0, 50)


@given(costs, st.integers(1, 9), costs, st.integers(1, 9))
def test_the_inferences_told_are_those_at_which_the_sums_cross(
    once: int, each: int, other: int, other_each: int
) -> None:
    found = pays_off(once, each, other, other_each)
    cheaper = [n for n in range(MOST) if once + n * each <= other + n * other_each]
    if once >= other and each >= other_each and (once, each) != (other, other_each):
        assert found.inferences is None
    elif found.until is None:
        assert cheaper == list(range(found.inferences, MOST))
    else:
        assert cheaper == list(range(found.inferences, found.until + 1))


@pytest.mark.parametrize("place", range(4))
def test_an_unknown_energy_makes_the_answer_unknown(place: int) -> None:
    energies = [1.0, 2.0, 3.0, 4.0]
    energies[place] = None
    found = pays_off(*energies)
    assert (found.inferences, found.until, found.says) == (None, None, "unknown")


def test_a_radio_spends_its_currents_for_the_packets_that_the_data_take() -> None:
    mine = Radio("mine", "", 0.02, 0.01, 1e6, packet_bytes=100, overhead_bytes=10, receive_seconds=1e-3)
    assert mine.joules(250) == pytest.approx(0.02 * 8 * (250 + 30) / 1e6 + 0.01 * 3e-3)


def test_an_image_takes_four_packets_of_bluetooth() -> None:
    ble = next(found for found in shipped_radios() if found.name == "ble")
    sent, received = 8 * (784 + 4 * 17) / 1e6, 4 * 380e-6  # s
    assert ble.joules(784) == pytest.approx(3.0 * (6.40e-3 * sent + 6.26e-3 * received))
    lora = next(found for found in shipped_radios() if found.name == "lora")
    assert lora.joules(784) > 100 * ble.joules(784)


@pytest.mark.parametrize(
    "name", ["volts", "transmit_current", "receive_current", "bit_rate", "packet_bytes", "overhead_bytes"]
)
@pytest.mark.parametrize("value", [None, -1, 0, "3", True])
def test_a_missing_or_impossible_constant_of_a_radio_is_named(name: str, value: object, tmp_path: Path) -> None:
    content = json.loads((HERE / "radio_ble.json").read_text())
    content["constants"][name]["value"] = value
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    with pytest.raises(EdgemoeError, match=rf"mine\.json: {name}"):
        load_radio(path)


def test_a_coin_cell_holds_its_charge_times_its_voltage() -> None:
    coin, larger = load_cells()
    assert (coin.name, coin.joules) == ("CR2032", pytest.approx(0.225 * 3600 * 3.0))
    assert larger.joules == pytest.approx(1.0 * 3600 * 3.7)
    assert Cell("mine", 1000, 1.0).share(36) == pytest.approx(0.01)
