"""`edgemoe predict` gives the labels that the API gives, and names who answered."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import edgemoe
from PIL import Image

from edgemoe import GlobalExpert, MixtureOfExperts
from edgemoe.data import load_samples
from edgemoe.simulator import simulated_samples


def test_predict_names_the_expert_whose_answer_was_given(
    ge: GlobalExpert, profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe("predict", "--profile", profile, "--seed", 1, "--json") == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    images, labels = simulated_samples(1, 2, sample_seed=1)
    moe = MixtureOfExperts.load(profile, ge)
    answers = moe.explain(images)
    assert [p["label"] for p in predictions] == moe.predict(images).tolist()
    assert [p["truth"] for p in predictions] == labels.tolist()
    assert [p["confidence"] for p in predictions] == pytest.approx(moe.predict_proba(images).max(axis=1).tolist())
    for p, of_global, of_local in zip(predictions, answers.global_labels, answers.local_labels, strict=True):
        assert (p["expert"] in ("global", "both")) == (p["label"] == of_global)
        assert (p["expert"] in ("local", "both")) == (p["label"] == of_local)
    assert {p["expert"] for p in predictions} >= {"local", "both"}


def test_predict_reads_a_folder_of_photos(
    ge: GlobalExpert, profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = simulated_samples(1, 1, "07Ab")
    rows = ["file,label"]
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        paper = Image.fromarray(230 - (image // 255 * 170).astype(np.uint8)).resize((140, 140))
        paper.save(tmp_path / f"{index}.png")
        rows.append(f"{index}.png,{label}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    assert edgemoe("predict", "--profile", profile, "--samples", tmp_path, "--json") == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    read = load_samples(tmp_path)[0]
    assert [p["label"] for p in predictions] == MixtureOfExperts.load(profile, ge).predict(read).tolist()
    assert [p["truth"] for p in predictions] == ["0", "7", "A", "b"]
