"""`edgemoe evaluate` measures what the API predicts, on samples that were not learnt from."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import edgemoe

from edgemoe import GlobalExpert, MixtureOfExperts
from edgemoe.classes import merge_labels
from edgemoe.data import load_samples
from edgemoe.simulator import generic_samples, simulated_samples


def test_evaluate_measures_what_the_api_predicts(
    ge: GlobalExpert, two_writers: Path, profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = generic_samples(3, 2)
    np.savez(tmp_path / "others.npz", image=images, label=labels)
    options = ("--samples", two_writers, "--writer", "bob", "--generic", tmp_path / "others.npz")
    assert edgemoe("evaluate", "--profile", profile, *options, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    moe = MixtureOfExperts.load(profile, ge)
    for side, (x, y) in {"user": simulated_samples(2, 4), "generic": (images, labels)}.items():
        assert set(result[side]) == {"n", "global", "local", "mixture", "routed"}
        assert result[side]["n"] == len(y)
        assert result[side]["global"] == pytest.approx((ge.predict(x) == y).mean())
        assert result[side]["mixture"] == pytest.approx(moe.score(x, y))
        assert result[side]["routed"] == pytest.approx((moe.route(x) >= 0.5).mean())
    assert result["source"]["generic"].endswith("others.npz")


def test_evaluate_tests_a_simulated_writer_on_fresh_samples_and_says_what_it_used(
    ge: GlobalExpert, profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe("evaluate", "--profile", profile, "--seed", 1, "--json") == 0
    out, err = capsys.readouterr()
    fresh = simulated_samples(1, 20, sample_seed=1)
    learnt = {image.tobytes() for image in simulated_samples(1, 5)[0]}
    assert not learnt & {image.tobytes() for image in fresh[0]}
    result = json.loads(out)
    assert result["user"]["global"] == pytest.approx((ge.predict(fresh[0]) == fresh[1]).mean())
    assert result["source"] == {"user": "simulated writer 1", "generic": "20 simulated writers of moderate style"}
    assert "No --samples" in err
    assert "No --generic" in err


def test_a_real_writer_gains_and_real_others_hardly_lose(
    ge: GlobalExpert, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writers = shared_data / "unipen" / "writers.npz"
    rest, out = tmp_path / "rest.npz", tmp_path / "me.moe"
    options = ("--samples", writers, "--writer", "w003", "--shots", 5, "--rest", rest)
    assert edgemoe("personalize", *options, "--out", out, "--json") == 0
    learnt = json.loads(capsys.readouterr().out)["samples"]
    generic = f"{shared_data / 'emnist' / 'emnist.zip'}:byclass-part:test"
    assert edgemoe("evaluate", "--profile", out, "--samples", rest, "--generic", generic, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    _, labels, ids = load_samples(writers)
    assert ids is not None
    own = merge_labels(labels[ids == "w003"], ge.classes)
    assert result["user"]["n"] + learnt == len(own)
    assert learnt == sum(min(5, int((own == label).sum()) // 2) for label in np.unique(own))
    assert result["generic"]["n"] == 16_000
    assert result["user"]["mixture"] > result["user"]["global"]
    assert result["generic"]["mixture"] > result["generic"]["global"] - 0.01
