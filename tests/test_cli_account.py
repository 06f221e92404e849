"""`edgemoe account` counts every byte of the profile."""

import json
from pathlib import Path

import pytest
from cli_runner import edgemoe

from edgemoe import GlobalExpert


def test_account_sets_every_byte_of_the_profile_against_the_global_expert(
    ge: GlobalExpert, profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe("account", "--profile", profile, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    for part in ("global", "local", "gate"):
        assert {"parameters", "bytes", "macs", "energy_nj"} <= set(report[part])
    whole = report["global"]
    assert whole["parameters"] == ge.metadata["parameters"]
    assert report["overhead"]["bytes"] == pytest.approx(profile.stat().st_size / whole["bytes"])
    added = report["local"]["macs"] + report["gate"]["macs"]
    channels, rows, columns = ge.metadata["feature_map"]
    pooled = 4 * channels
    assert added == (47 + 9) * pooled + channels * rows * columns
    assert report["overhead"]["macs"] == pytest.approx(added / whole["macs"])
    assert report["unknown"] == []


def test_account_without_a_profile_fits_one_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("account", "--json", "--seed", 4) == 0
    assert json.loads(capsys.readouterr().out)["profile"]["source"] == "simulated writer 4"


def test_account_takes_ones_own_board(profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.json"
    values = {"volts": (3.3, "V"), "current": (0.02, "A"), "instructions_per_second": (66e6, "1/s")}
    constants = {name: {"value": v, "unit": u, "source": "measured here"} for name, (v, u) in values.items()}
    path.write_text(json.dumps({"name": "mine", "kind": "measured", "constants": constants}))
    assert edgemoe("account", "--profile", profile, "--board", path, "--board", "nucleo-u575zi-q", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    mine, shipped = report["boards"]
    assert (mine["name"], shipped["name"]) == ("mine", "nucleo-u575zi-q")
    assert mine["global"]["uj"] == pytest.approx(1e-3 * report["truth"]["global"]["instructions"])  # 1 nJ each


def test_account_refuses_a_ratio_model_as_a_board_and_names_a_wrong_constant(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgemoe.accounting import energy

    ratios = Path(energy.__file__).with_name("horowitz45.json")
    assert edgemoe("account", "--profile", profile, "--board", ratios) == 1
    assert "for ratios only" in capsys.readouterr().err
    path = tmp_path / "mine.json"
    path.write_text(
        '{"name": "mine", "kind": "measured", "constants": {"volts": {"value": -3, "unit": "V", "source": "x"}}}'
    )
    assert edgemoe("account", "--profile", profile, "--board", path) == 1
    assert "volts.value" in capsys.readouterr().err


def test_a_fitted_profile_comes_with_its_routing_rates(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert edgemoe("account", "--json", "--seed", 2) == 0
    session = json.loads(capsys.readouterr().out)["session"]
    assert session["user"] > session["generic"]
    assert session["session_generic"] < 0.5 < session["session_user"] + 1e-9
    assert [row["user_share"] for row in session["expected"]] == [0, 0.25, 0.5, 0.75, 1]
