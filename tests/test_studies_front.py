"""The study of the Pareto front on a small world, and what its section says of made-up records."""

import copy
import json

import pytest

torch = pytest.importorskip("torch")
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from studied import SmallInputs  # noqa: E402

from edgemoe.global_expert.checkpoint import load_checkpoint  # noqa: E402
from edgemoe.global_expert.train import Recipe  # noqa: E402
from edgemoe.studies import front  # noqa: E402
from edgemoe.studies.bootstrap import paired_interval  # noqa: E402
from edgemoe.studies.front import draw, run, section  # noqa: E402


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The record of a study on a small world, the recipes that `train` was given, and the folder of its networks."""
    recipes, real = [], front.train

    def spy(model, classes, images, labels, recipe, **more):
        recipes.append(recipe)
        return real(model, classes, images, labels, recipe, **more)

    inputs = SmallInputs()
    inputs.runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front, "SHAPES", {8: (5, 6, 8, 7), 11: (7, 9, 10, 9)})
        patch.setattr(front, "IMAGES", 200)
        patch.setattr(front, "VARIANTS", 1)
        patch.setattr(front, "RECIPE", Recipe(epochs=1, plain=1, batch=50, rate=4e-3))
        patch.setattr(front, "train", spy)
        record = run(inputs, lambda done, total: None)
        trained = len(recipes)
        again = run(inputs, lambda done, total: None)
    assert len(recipes) == trained  # what is kept in the folder is not trained again
    return json.loads(json.dumps(record)), json.loads(json.dumps(again)), recipes, inputs


@pytest.fixture
def record(studied):
    return copy.deepcopy(studied[0])


def test_every_way_is_tried_at_every_size_with_the_same_retraining(studied):
    record, _, recipes, _ = studied
    assert [(row["size"], row["way"]) for row in record["rows"]] == [(s, w) for s in (8, 11) for w in front.WAYS]
    assert len(recipes) == 6
    assert len(set(map(repr, recipes))) == 1


def test_the_bytes_are_those_of_files_and_within_the_limit(studied):
    record, _, _, inputs = studied
    for row in record["rows"]:
        assert 0.5 * row["size"] * 1000 < row["bytes"] <= 1.02 * row["size"] * 1000
        kept = load_checkpoint(inputs.runs / f"front-{row['way']}-{row['size']}.npz")
        assert kept.shape == row["shape"]
    ours, _, same = record["rows"][:3]
    assert ours["shape"] == same["shape"] == [5, 6, 8, 7]


def test_a_second_run_finds_the_same(studied):
    record, again, _, _ = studied
    for before, after in zip(record["rows"], again["rows"], strict=True):
        assert before["shape"] == after["shape"]
        assert before["int8"] == pytest.approx(after["int8"], abs=0.03)


def test_how_far_a_way_is_behind_is_a_paired_difference(record):
    for size in (8, 11):
        ours, *others = (row for row in record["rows"] if row["size"] == size)
        for row in others:
            mean, low, high = row["behind"]
            assert mean == pytest.approx(ours["int8"] - row["int8"], abs=2e-5)
            assert low <= mean <= high


def test_the_interval_is_that_of_the_mean():
    rng = np.random.default_rng(1)
    gains = rng.choice([-1.0, 0.0, 1.0], 5000, p=[0.02, 0.93, 0.05])
    mean, low, high = paired_interval(gains)
    error = gains.std() / np.sqrt(len(gains))
    assert (mean, low, high) == pytest.approx(
        (gains.mean(), gains.mean() - 1.96 * error, gains.mean() + 1.96 * error), abs=4e-4
    )


def test_the_section_counts_the_sizes_at_which_ours_is_ahead(record):
    for row in record["rows"]:
        if row["way"] == "magnitude":
            row["behind"] = [0.01, 0.005, 0.015] if row["size"] == 8 else [-0.01, -0.02, 0.001]
        elif row["way"] != "ours":
            row["behind"] = [0.002, -0.001, 0.005]
    text = section(record)
    assert "ahead of magnitude pruning at 1 of 2 sizes, with an interval that excludes 0 at 1" in text
    assert "of magnitude with our shape at 2" in text
    assert "(1.00; 0.50 to 1.50)" in text
    for row in record["rows"]:
        assert f"{row['bytes']:,} bytes" in text


def test_the_picture_is_drawn(record, tmp_path):
    draw(record, tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as image:
        assert min(image.size) > 400
