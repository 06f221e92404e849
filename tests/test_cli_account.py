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
