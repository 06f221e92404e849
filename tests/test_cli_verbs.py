"""What all verbs share: exit codes, help, one line for bad input, and the base install."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cli_runner import edgemoe, failure
from conftest import ROOT

from edgemoe import GlobalExpert
from edgemoe.device.bundle import read_bundle, write_bundle
from edgemoe.device.retention import RetentionSet


def test_tables_are_for_people(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("predict", "--profile", profile) == 0
    assert "confidence" in capsys.readouterr().out
    assert edgemoe("evaluate", "--profile", profile) == 0
    assert "mixture" in capsys.readouterr().out
    assert edgemoe("account", "--profile", profile) == 0
    assert "header and checksum" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["personalize"],
        ["personalize", "--out", "x.moe", "--loud"],
        ["personalize", "--out", "x.moe", "--size", "huge"],
        ["personalize", "--out", "x.moe", "--shots", "0"],
        ["personalize", "--out", "x.moe", "--budget", "2"],
        ["personalize", "--out", "x.moe", "--rest", "rest.npz"],
        ["personalize", "--out", "x.moe", "--writer", "w003"],
        ["predict"],
        ["evaluate", "--profile"],
        ["demo", "--seed", "-1"],
    ],
)
def test_a_wrong_call_exits_with_2_and_does_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert edgemoe(*arguments) == 2
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_exit_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("--version") == 0
    assert capsys.readouterr().out.startswith("edgemoe 0.")
    for verb in ("demo", "personalize", "predict", "evaluate", "benchmark", "account", "train-global", "prune", "data"):
        assert edgemoe(verb, "--help") == 0
        assert f"Example: edgemoe {verb}" in " ".join(capsys.readouterr().out.split())


def test_damaged_and_foreign_profiles_and_bundles_fail_in_one_line(
    ge: GlobalExpert, profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = profile.read_bytes()
    damaged = tmp_path / "damaged.moe"
    flipped = bytearray(content)
    flipped[100] ^= 1
    for broken in (bytes(flipped), content[:-1], b""):
        damaged.write_bytes(broken)
        for verb in ("predict", "evaluate", "account"):
            assert edgemoe(verb, "--profile", damaged, "--json") == 1
            assert "damaged.moe" in failure(capsys)
    bundle, other = ge.bundle, tmp_path / "other.bundle"
    codes = {tap: c[:-1] for tap, c in bundle.retention.codes.items()}
    retention = RetentionSet(codes, bundle.retention.scales, bundle.retention.zeros, bundle.retention.labels[:-1])
    write_bundle(other, replace(bundle, retention=retention))
    assert read_bundle(other).metadata["fingerprint"] != ge.metadata["fingerprint"]
    for verb in ("predict", "evaluate", "account"):
        assert edgemoe(verb, "--profile", profile, "--ge", other) == 1
        assert "made for the global expert" in failure(capsys)
    other.write_bytes(other.read_bytes()[:-100])
    assert edgemoe("predict", "--profile", profile, "--ge", other) == 1
    assert "other.bundle" in failure(capsys)
    assert edgemoe("predict", "--profile", profile, "--ge", "lenet9") == 1
    assert "lenet5-balanced" in failure(capsys)


def test_the_device_verbs_need_nothing_but_the_base_install(profile: Path, tmp_path: Path) -> None:
    program = """
import sys
for name in ("torch", "onnx", "scipy", "sklearn", "emnist", "torch_pruning", "matplotlib"):
    sys.modules[name] = None
from edgemoe.cli import main
main()
"""

    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", program, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    for arguments in (
        ["demo", "--json"],
        ["personalize", "--out", "me.moe", "--json"],
        ["predict", "--profile", profile, "--json"],
        ["evaluate", "--profile", profile, "--json"],
        ["account", "--profile", profile, "--json"],
        ["data", "--json"],
    ):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)
    for arguments in (
        ["train-global", "--data", "x.npz", "--out", "run"],
        ["prune", "--expert", "x.npz", "--shape", "2-2-2", "--data", "x.npz", "--out", "run"],
    ):
        done = run(*arguments)
        assert done.returncode == 1
        assert "pip install 'edgemoe[train]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()
