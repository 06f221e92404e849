"""`edgemoe benchmark` from end to end."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import edgemoe
from PIL import Image

pytest.importorskip("torch", reason="the benchmark needs torch: pip install 'edgemoe[benchmark]'")

from edgemoe.simulator import generic_samples, simulated_samples


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("data")
    people = [simulated_samples(seed, 4) for seed in (1, 2)]
    np.savez(
        folder / "users.npz",
        image=np.concatenate([images for images, _ in people]),
        label=np.concatenate([labels for _, labels in people]),
        writer=np.repeat(["ann", "bob"], [len(labels) for _, labels in people]),
    )
    images, labels = generic_samples(1, 4)
    np.savez(folder / "generic.npz", image=images, label=labels)
    return ["--writers", folder / "users.npz", "--generic", folder / "generic.npz"]


def test_it_writes_what_it_prints(
    options: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "study"
    call = ["benchmark", *options, "--shots", 2, "--draws", 1, "--methods", "mixture,nearest-mean", "--out", out]
    assert edgemoe(*call, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "results.json").read_text())
    assert (printed["shots"], printed["writers"], printed["draws"]) == (2, 2, 1)
    assert list(printed["methods"]) == ["nearest-mean", "mixture"]
    for method in printed["methods"].values():
        assert {"user_accuracy", "generic_accuracy", "bystander_accuracy", "bytes", "macs", "train_seconds",
                "train_peak_bytes", "per_writer"} <= method.keys()  # fmt: skip
        assert [person["writer"] for person in method["per_writer"]] == ["ann", "bob"]
    assert printed["command"].startswith("edgemoe benchmark --writers")
    assert "| **mixture** |" in (out / "results.md").read_text()
    assert Image.open(out / "scatter.png").size == (1200, 800)

    monkeypatch.setattr("edgemoe.cli.benchmark.CURVE", (1, 2))
    monkeypatch.setattr("edgemoe.benchmark.study.measure_cost", lambda *_: {"train_seconds": 0, "train_peak_bytes": 0})
    assert edgemoe(*call, "--curve") == 0
    assert "mixture" in capsys.readouterr().out
    assert json.loads((out / "shots-1" / "results.json").read_text())["shots"] == 1
    assert not (out / "shots-2").exists()  # they are in the folder itself
    assert Image.open(out / "curve.png").size == (1200, 800)


@pytest.mark.parametrize(
    ("change", "code", "why"),
    [
        (["--methods", "mixture,magic"], 2, "magic"),
        (["--shots", 0], 2, "--shots"),
        (["--writers", "nowhere.npz"], 1, "nowhere.npz"),
        (["--out", "/proc/nowhere"], 1, "/proc/nowhere"),
    ],
)
def test_a_call_that_cannot_be_answered_says_why(
    options: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[object], code: int, why: str
) -> None:
    assert edgemoe("benchmark", *options, "--out", tmp_path / "out", *change) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert why in err


def test_samples_without_writers_are_refused(
    options: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe("benchmark", *options, "--writers", options[3], "--out", tmp_path / "out") == 1
    assert "names no writers" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
