"""The whole record of the shipped expert and a profile: complete, consistent, and nothing unknown told as a number."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from edgemoe import GlobalExpert, load_global_expert
from edgemoe.accounting.boards import Board
from edgemoe.accounting.record import account_record
from edgemoe.accounting.tables import print_report
from edgemoe.device.profile import Profile


@pytest.fixture(scope="module")
def kept(profile: Path) -> Profile:
    return Profile.from_bytes(profile.read_bytes(), str(profile))


@pytest.fixture(scope="module")
def record(ge: GlobalExpert, kept: Profile) -> dict:
    return json.loads(json.dumps(account_record(ge, kept), allow_nan=False))


def printed(report: dict) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    return console.file.getvalue()


def test_the_shared_mode_is_the_routing_of_before(record: dict) -> None:
    shared = {row["rate"]: row for row in record["modes"]["shared"]}
    for row in record["routing"]:
        assert shared[row["rate"]]["macs"] == pytest.approx(row["macs"])
        assert shared[row["rate"]]["energy_nj"] == pytest.approx(row["energy_nj"])
    both = {row["macs"] for row in record["modes"]["both"]}
    assert both == {shared[1.0]["macs"]}
    assert record["modes"]["sequential"][-1]["macs"] < record["global"]["macs"]


def test_training_passes_each_sample_through_the_global_expert_once(record: dict, kept: Profile) -> None:
    training = record["training"]
    assert training["samples"] == kept.samples
    assert training["steps"][0]["macs"] == kept.samples * record["global"]["macs"]
    assert sum(step["macs"] for step in training["steps"]) == training["macs"] == sum(training["macs_by_bits"].values())


def test_each_board_costs_what_its_constants_say(record: dict) -> None:
    assert len(record["boards"]) == 3
    for board in record["boards"]:
        for part in ("global", "local", "gate"):
            cost = record[part]
            by_hand = cost["macs"] * board["pj_per_mac"] + cost["weight_bytes_read"] * board["pj_per_byte"]
            assert board[part]["uj"] == pytest.approx(by_hand / 1e6)
            assert board[part]["low_uj"] <= board[part]["uj"] <= board[part]["high_uj"]
        total = sum(board[part]["uj"] for part in ("global", "local", "gate"))
        assert board["mixture"]["uj"] == pytest.approx(total)
        assert board["overhead"] == pytest.approx(total / board["global"]["uj"] - 1)


def test_training_costs_a_board_its_instructions_in_inferences(record: dict) -> None:
    executed = record["truth"]["training"]["instructions"] / record["truth"]["global"]["instructions"]
    for board in record["boards"]:
        share = board["global"]["uj"] / board["mixture"]["uj"]
        assert board["training"]["inferences"] == pytest.approx(executed * share, rel=0.02)


def test_a_battery_lasts_its_energy(record: dict) -> None:
    for board in record["boards"]:
        for cell in board["battery"]:
            joules = 3.6 * cell["capacity_mah"] * cell["volts"]
            assert cell["inferences"] == pytest.approx(joules / (1e-6 * board["mixture"]["uj"]))
            day = next(row for row in cell["per_day"] if row["inferences"] == 1000)
            assert day["share"] == pytest.approx(1000 / cell["inferences"])
            assert cell["idle_share"] is None


def test_a_payoff_is_reached_at_the_inferences_told(record: dict) -> None:
    rows = [row for board in record["boards"] for row in board["payoff"]]
    reached = [row for row in rows if row["inferences"]]
    assert reached
    for row in reached:
        ours, theirs = (
            [row[f"{name}once_uj"] + n * row[f"{name}each_uj"] for n in (row["inferences"] - 1, row["inferences"])]
            for name in ("", "other_")
        )
        assert ours[0] > theirs[0]
        assert ours[1] <= theirs[1]
    assert {row["radio"] for row in rows} == {None, "ble", "lora"}


def test_boards_and_the_ratio_model_lie_as_far_apart_as_is_told(record: dict) -> None:
    low, high = record["board_nj"]
    assert low == pytest.approx(1000 * min(board["global"]["low_uj"] for board in record["boards"]))
    assert high / low == pytest.approx(record["board_factor"][1] / record["board_factor"][0])
    assert 500 < record["board_factor"][0] < record["board_factor"][1] < 10_000


def test_what_a_board_does_not_tell_is_unknown_in_record_and_tables(ge: GlobalExpert, kept: Profile) -> None:
    mine = Board("mine", "mine", "unknown", "nothing", "measured")
    found = account_record(ge, kept, [mine])
    board = found["boards"][0]
    assert board["global"] == dict.fromkeys(("uj", "low_uj", "high_uj", "milliseconds"))
    assert board["overhead"] is None
    assert board["training"] == dict.fromkeys(("compute_uj", "flash_uj", "uj", "inferences"))
    assert all(cell["inferences"] is None for cell in board["battery"])
    assert all(row["inferences"] is None for row in board["payoff"] if row["against"] != "a server that trains")
    assert (found["board_nj"], found["board_factor"]) == (None, None)
    assert "unknown" in printed(found)
    assert "spend" not in printed(found)


def test_another_expert_has_no_executed_layers_and_costs_by_its_macs(kept: Profile) -> None:
    from edgemoe import Personalizer
    from edgemoe.simulator import simulated_samples

    small = load_global_expert("lenet5-digits")
    profile = Personalizer(small, copies=0).fit(*simulated_samples(1, 5, small.classes)).profile
    found = account_record(small, profile)
    assert found["truth"] is None
    assert all(board["training"]["inferences"] > 1 for board in found["boards"])
    assert "Counts and executed" not in printed(found)


def test_the_tables_show_modes_training_boards_and_truth(record: dict) -> None:
    text = printed(record)
    for piece in (
        "sequential: MACs",
        "Training on",
        "nucleo-u575zi-q",
        "least to most",
        "CR2032",
        "a server that trains",
    ):
        assert piece in text
    assert f"{record['truth']['layers'][0]['instructions']:,}" in text
    assert "What writing flash takes is unknown of nucleo-h7a3zi-q, nucleo-u575zi-q" in text


def test_a_global_expert_that_is_not_all_counted_has_no_energy_on_any_board(record: dict) -> None:
    from edgemoe.accounting.board_report import Costs, Instructions, Learning, board_record
    from edgemoe.accounting.boards import load_board
    from edgemoe.accounting.cost import PartCost

    part = PartCost(macs_by_bits={8: 1000}, weight_bytes_read=10)
    learning, counts = Learning(10, 1000), Instructions(1000.0, 1010.0, 2.0)
    costs = Costs(part, part, part, learning, learning, 10, 100, complete=False, instructions=counts)
    found = board_record(load_board("nucleo-l4r5zi"), costs, [], [])
    assert found["global"] == found["mixture"] == dict.fromkeys(record["boards"][0]["global"])
    assert found["training"]["compute_uj"] is None
    assert found["local"]["uj"] > 0
