"""Latency is measured side by side, and the mixture's stays beside the global expert's."""

import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgemoe import GlobalExpert, Personalizer
from edgemoe.benchmark import latency
from edgemoe.benchmark.latency import compare, interleave, main, measure_latency


def test_in_every_block_each_call_is_timed_once_after_one_untimed_call_and_the_order_changes() -> None:
    order: list[str] = []

    def call(name: str) -> None:
        order.append(name)
        time.sleep(0.001)  # longer than a block's span: one call a block

    seconds = interleave({name: partial(call, name) for name in "abc"}, 8)
    assert all((values > 0.0009).all() and len(values) == 8 for values in seconds.values())
    made = "".join(order[6:])  # after one call untimed and one to choose the repeats
    blocks = [made[start : start + 6] for start in range(0, len(made), 6)]
    assert len(blocks) == 8
    assert all(block[::2] == block[1::2] and sorted(block[::2]) == ["a", "b", "c"] for block in blocks)
    assert len(set(blocks)) > 1


def test_a_call_that_takes_twice_as_long_is_told_so() -> None:
    def spin(count: int) -> int:
        return sum(range(count))

    seconds = interleave({"one": lambda: spin(20000), "two": lambda: spin(40000)}, 40)
    assert compare(seconds["two"][None], seconds["one"][None])["ratio"] == pytest.approx(2, rel=0.15)


def test_the_interval_covers_the_ratio_that_noise_and_sessions_hide() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(100):
        machine = rng.lognormal(0, 0.5, (8, 40))  # slows both sides of a block alike
        session = rng.normal(1.05, 0.02, (8, 1))
        found = compare(machine * session * rng.lognormal(0, 0.03, (8, 40)), machine, seed)
        low, high = found["ci95"]  # type: ignore[misc]
        inside += low <= 1.05 <= high
    assert inside >= 80  # 95 % in the limit of many sets


def test_every_subject_is_timed_and_the_routed_graph_costs_little(
    ge: GlobalExpert, writer: tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_]]
) -> None:
    found = measure_latency(Personalizer(ge).fit(*writer), {1: 100, 50: 10}, sets=2)
    for batch in ("1", "50"):
        assert set(found[batch]["ns_per_image"]) == {
            "global logits", "global taps", "routed", "routed answer", "global predict", "mixture predict",
        }  # fmt: skip
        assert found[batch]["ratios"]["routed / global logits"]["ratio"] < 1.3  # a busy machine's slack on 1.12


def test_the_command_writes_one_file_that_tells_how_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "BATCHES", {1: 3})
    monkeypatch.setattr(latency, "SETS", 2)
    monkeypatch.setattr(sys, "argv", ["latency", "--out", str(tmp_path / "latency.json"), "--seed", "2"])
    main()
    found = json.loads((tmp_path / "latency.json").read_text())
    assert set(found["profiles"]) == {"compact", "full"}
    assert "--seed 2" in found["command"]
    assert found["profiles"]["full"]["1"]["ns_per_image"]["routed"] > 0
    assert (found["blocks"], found["sets"]) == ({"1": 3}, 2)
