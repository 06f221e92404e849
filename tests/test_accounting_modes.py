"""Expected cost: each mode against its own closed form, and the means of simulated streams."""

import numpy as np
import pytest

from edgemoe.accounting.cost import GraphCost, LayerCost, PartCost
from edgemoe.accounting.modes import RATES, expected_cost, head_of, session_cost


def layer(name: str, macs: int) -> LayerCost:
    return LayerCost(name, "Gemm", 1, 1, 0, macs, 8, 1, 1, 1, 1, 1)


GRAPH = GraphCost("net.onnx", (layer("conv", 900), layer("features", 0), layer("fc", 80), layer("out", 20)), (), 1, 1)
LOCAL, GATE = PartCost(macs_by_bits={8: 30}), PartCost(macs_by_bits={8: 5})


def macs(part: PartCost, _: bool) -> float:
    return float(part.macs)


def test_the_head_is_what_lies_behind_the_features() -> None:
    assert head_of(GRAPH).macs == 100
    assert head_of(GraphCost("net.onnx", (layer("conv", 9),), (), 1, 1)) is None


@pytest.mark.parametrize("rate", RATES)
def test_a_mode_costs_the_mean_of_what_its_inputs_run(rate: float) -> None:
    modes = expected_cost(GRAPH, LOCAL, GATE, macs)
    routed = round(1000 * rate)
    runs = {
        "shared": {True: 1000 + 5 + 30, False: 1000 + 5},
        "sequential": {True: 900 + 5 + 30, False: 1000 + 5},
        "both": {True: 1000 + 5 + 30, False: 1000 + 5 + 30},
    }
    for name, cost in runs.items():
        mean = np.mean([cost[True]] * routed + [cost[False]] * (1000 - routed))
        row = modes[name][RATES.index(rate)]
        assert row["rate"] == rate
        assert row["macs"] == row["energy_nj"] == pytest.approx(mean)


def test_energy_knows_which_parts_are_the_global_experts() -> None:
    seen = {"whole": 0, "added": 0}

    def energy(part: PartCost, of_global: bool) -> float:
        seen["whole" if of_global else "added"] += 1
        return 1000.0 if of_global else 1.0

    shared = expected_cost(GRAPH, LOCAL, GATE, energy)["shared"]
    assert shared[-1]["energy_nj"] == 1002
    assert min(seen.values()) > 0


def test_without_features_nothing_runs_one_expert_only() -> None:
    graph = GraphCost("net.onnx", (layer("conv", 9),), (), 1, 1)
    modes = expected_cost(graph, LOCAL, GATE, macs)
    assert modes["sequential"] is None
    assert modes["shared"] is not None


def test_a_sessions_expected_rate_is_the_mean_over_a_devices_inputs() -> None:
    session = {"user": 0.8, "generic": 0.1, "session_user": 0.95, "session_generic": 0.02}
    rows = session_cost(session, lambda rate: 1000 + 100 * rate)
    row = next(row for row in rows if row["user_share"] == 0.75)
    stream = [0.8] * 75 + [0.1] * 25
    within = [0.95] * 75 + [0.02] * 25
    assert (row["rate"], row["session_rate"]) == pytest.approx((np.mean(stream), np.mean(within)))
    assert row["macs"] == pytest.approx(np.mean([1000 + 100 * p for p in stream]))
    assert row["session_macs"] == pytest.approx(np.mean([1000 + 100 * p for p in within]))
