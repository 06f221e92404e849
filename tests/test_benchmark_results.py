"""Results are what a person counting by hand would write down."""

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the benchmark needs torch: pip install 'edgemoe[benchmark]'")

from edgemoe.benchmark.report import in_order, markdown, terminal_table
from edgemoe.benchmark.results import summarize


def row(writer: str, draw: int, user: float, base: float, accepted: bool | None = None) -> dict[str, Any]:
    figures = {"accuracy": user, "first1": None, "first3": 0.25, "first5": 0.5}
    stream = dict.fromkeys(("user", "bystander", "generic"), figures)
    method = {
        "user": user, "bystander": 0.6, "generic": 0.89, "user_global": base, "bystander_global": 0.61,
        "generic_global": 0.9, "bytes": 100 + draw, "macs": 10, "seconds": 0.5, "accepted": accepted, "stream": stream,
    }  # fmt: skip
    return {"writer": writer, "draw": draw, "stream": stream, "methods": {"mine": method}}


def random_rows(writers: int, draws: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [
        row(f"w{writer:02}", draw, *rng.uniform(0.5, 0.9, 2).tolist(), bool(rng.integers(2)))
        for writer in range(writers)
        for draw in range(draws)
    ]


def test_figures_of_two_writers_by_hand() -> None:
    rows = [row("a", 0, 0.9, 0.7, True), row("a", 1, 0.7, 0.7, False), row("b", 0, 0.58, 0.6, True)]
    methods, stream = summarize(rows, {"mine": {"train_seconds": 0.25, "train_peak_bytes": 7}})
    mine = methods["mine"]
    assert mine["user_accuracy"] == pytest.approx((0.8 + 0.58) / 2)  # writers count alike, whatever their draws
    assert mine["user_accuracy_global"] == pytest.approx(0.65)
    assert mine["errors_removed"] == pytest.approx((0.69 - 0.65) / 0.35, abs=1e-5)
    assert mine["generic_lost"] == pytest.approx(0.01)
    assert mine["bystander_lost"] == pytest.approx(0.01)
    assert (mine["helped"], mine["harmed"]) == (0.5, 0.5)
    assert mine["worst_change"] == pytest.approx(-0.02)
    assert mine["worst_tenth"] == pytest.approx({"user_accuracy": 0.58, "user_change": -0.02})
    assert mine["declined"] == pytest.approx(0.25)
    assert (mine["train_seconds"], mine["train_peak_bytes"], mine["macs"]) == (0.25, 7, 10)
    assert [person["writer"] for person in mine["per_writer"]] == ["a", "b"]
    assert mine["per_writer"][0]["user"] == pytest.approx(0.8)
    assert mine["stream"]["user"]["first1"] is None
    assert stream["generic"]["first5"] == 0.5


def test_without_an_acceptance_test_nothing_is_declined_or_accepted() -> None:
    mine = summarize([row("a", 0, 0.9, 0.7), row("b", 0, 0.9, 0.7)], {})[0]["mine"]
    assert mine["declined"] is None
    assert "accepted" not in mine["per_writer"][0]
    assert (mine["train_seconds"], mine["train_peak_bytes"]) == (0.5, None)


def test_a_writer_whose_stream_lacked_a_source_counts_for_the_others_alone() -> None:
    rows = [row(f"w{index:02}", 0, 0.9, 0.7) for index in range(20)]
    short = rows[1]["methods"]["mine"]
    short["generic"] = short["generic_global"] = None
    mine = summarize(rows, {})[0]["mine"]
    assert mine["user_accuracy"] == pytest.approx(0.9)
    assert mine["generic_lost"] == pytest.approx(0.01)
    assert mine["ci95"]["generic_lost"] == pytest.approx([0.01, 0.01])
    assert [person["generic"] for person in mine["per_writer"]] == [0.89, None, *[0.89] * 18]
    assert json.dumps(mine, allow_nan=False)


def test_intervals_are_those_of_a_bootstrap_done_one_resample_at_a_time() -> None:
    rows = random_rows(15, 3)
    mine = summarize(rows, {})[0]["mine"]
    people = sorted({entry["writer"] for entry in rows})
    user, base = (
        np.array([np.mean([e["methods"]["mine"][key] for e in rows if e["writer"] == one]) for one in people])
        for key in ("user", "user_global")
    )
    rng = np.random.default_rng(99)  # another one: the intervals are the data's, not the generator's
    removed, accuracy = [], []
    for _ in range(4000):
        chosen = rng.integers(0, len(people), len(people))
        accuracy.append(user[chosen].mean())
        removed.append((user[chosen].mean() - base[chosen].mean()) / (1 - base[chosen].mean()))
    assert mine["ci95"]["user_accuracy"] == pytest.approx(np.percentile(accuracy, [2.5, 97.5]), abs=0.01)
    assert mine["ci95"]["errors_removed"] == pytest.approx(np.percentile(removed, [2.5, 97.5]), abs=0.03)


def test_worst_tenths_of_twenty_writers() -> None:
    rows = random_rows(20, 1)
    user, base = (np.array([entry["methods"]["mine"][key] for entry in rows]) for key in ("user", "user_global"))
    worst = summarize(rows, {})[0]["mine"]["worst_tenth"]
    lowest = sorted(range(20), key=lambda writer: base[writer])[:2]
    assert worst["user_accuracy"] == pytest.approx(user[lowest].mean(), abs=1e-4)
    assert worst["user_change"] == pytest.approx(sum(sorted(user - base)[:2]) / 2, abs=1e-4)


def test_a_user_whom_the_global_expert_reads_without_error_divides_nothing_by_zero() -> None:
    mine = summarize([row("a", 0, 0.9, 1.0), row("b", 0, 1.0, 1.0)], {})[0]["mine"]
    assert mine["errors_removed"] == 0.0
    json.dumps(mine, allow_nan=False)


def test_forty_writers_and_sixteen_methods_take_less_than_300_kb() -> None:
    rows = random_rows(40, 2)
    for entry in rows:
        entry["methods"] = {f"method-{number}": entry["methods"]["mine"] for number in range(16)}
    methods, _ = summarize(rows, {})
    assert len(json.dumps(methods, indent=1)) < 300_000


def study() -> dict[str, Any]:
    rows = random_rows(10, 1)
    for entry in rows:
        mine = entry["methods"]["mine"]
        worse = {**mine, "user": 0.4}
        entry["methods"] = {"oracle-router": mine, "mixture": mine, "global": mine, "knn-per": worse}
    methods, stream = summarize(rows, {})
    return {
        "version": "0", "command": "edgemoe benchmark", "data": {"writers": "w.npz", "generic": "g.npz"}, "generic": 9,
        "shots": 5, "writers": 10, "draws": 1, "methods": methods,
        "global_expert": {"name": "ge", "bytes": 1, "macs": 1, "stream": stream},
    }  # fmt: skip


def test_tables_begin_with_the_global_expert_end_with_the_bound_and_set_ours_in_bold() -> None:
    results = study()
    assert in_order(results["methods"]) == ["global", "knn-per", "mixture", "oracle-router"]
    text = markdown(results)
    tables = [[line for line in part.splitlines() if line.startswith("|")] for part in text.split("##")]
    assert [len(table) for table in tables] == [6, 6]
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
        assert table[4].startswith("| **mixture** |")
    assert "`w.npz`" in text
    mixture = results["methods"]["mixture"]
    assert f"{100 * mixture['user_accuracy']:.1f} (" in tables[0][4]
    assert terminal_table(results).row_count == 4
