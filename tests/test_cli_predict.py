"""`edgemoe predict` gives the labels that the API gives, and names who answered."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import edgemoe, failure
from PIL import Image

from edgemoe import GlobalExpert, MixtureOfExperts
from edgemoe.data import load_samples, load_unlabelled
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


def test_predict_reads_what_nobody_labelled(
    ge: GlobalExpert, profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, _ = simulated_samples(1, 1, "07Ab")
    for index, image in enumerate(images):
        paper = Image.fromarray(230 - (image // 255 * 170).astype(np.uint8)).resize((140, 140))
        paper.save(tmp_path / f"{index}.png")
    np.savez(tmp_path.parent / "plain.npz", image=images)
    moe = MixtureOfExperts.load(profile, ge)
    photos, names = load_unlabelled(tmp_path) or pytest.fail("not read")
    for path, read, files in (
        (tmp_path, photos, names),
        (tmp_path / "2.png", photos[2:3], ["2.png"]),
        (tmp_path.parent / "plain.npz", images, [None] * 4),
    ):
        assert edgemoe("predict", "--profile", profile, "--samples", path, "--json") == 0
        predictions = json.loads(capsys.readouterr().out)["predictions"]
        assert [p["label"] for p in predictions] == moe.predict(read).tolist()
        assert [p["file"] for p in predictions] == files
        assert {p["truth"] for p in predictions} == {None}
    assert edgemoe("predict", "--profile", profile, "--samples", tmp_path) == 0
    out = capsys.readouterr().out
    assert "3.png" in out
    assert "truth" not in out


@pytest.mark.parametrize("option", [("--writer", "ann"), ("--picture", "drawn.png")])
def test_what_needs_labels_is_refused_without_them(
    option: tuple[str, str], profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "plain.npz", image=simulated_samples(1, 1, "07")[0])
    assert edgemoe("predict", "--profile", profile, "--samples", tmp_path / "plain.npz", *option) == 1
    assert f"plain.npz: has no labels, which {option[0]} needs" in failure(capsys)
