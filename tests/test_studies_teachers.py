"""The study of teachers, on a small world, and what its section says of made-up records."""

import json

import pytest

torch = pytest.importorskip("torch")
from PIL import Image  # noqa: E402
from studied import SmallInputs  # noqa: E402

from edgemoe.errors import EdgemoeError  # noqa: E402
from edgemoe.global_expert.train import Recipe  # noqa: E402
from edgemoe.studies import teachers  # noqa: E402
from edgemoe.studies.inputs import Inputs  # noqa: E402
from edgemoe.studies.teachers import WAYS, draw, run, section  # noqa: E402


@pytest.fixture(scope="module")
def watched():
    """The record of a study on a small world, and what `train` was given."""
    calls, real = [], teachers.train

    def spy(model, classes, images, labels, recipe, teacher):
        calls.append((model.conv1.weight.detach().clone(), recipe, teacher))
        return real(model, classes, images, labels, recipe, teacher=teacher)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"SHAPES": ((5, 6, 8, 7), (3, 4, 6, 5)), "IMAGES": 200, "VARIANTS": 1, "train": spy,
                            "RECIPE": Recipe(epochs=1, plain=1, batch=50, rate=4e-3, distill=0.9)}.items():  # fmt: skip
            patch.setattr(teachers, name, value)
        return json.loads(json.dumps(run(SmallInputs(), lambda done, total: None))), calls


@pytest.fixture
def record(watched):
    return json.loads(json.dumps(watched[0]))


def test_all_ways_start_from_the_same_weights_and_see_the_same_images(watched):
    record, calls = watched
    assert [(r["way"], r["shape"]) for r in record["runs"]] == [
        (way, shape) for way in WAYS for shape in ("5-6-8-7", "3-4-6-5")
    ]
    for place in (0, 1):
        (weight, _, lessons), *others = calls[place::2]
        assert all(torch.equal(weight, w) and (lessons.images == other.images).all() for w, _, other in others)
    assert [recipe.distill for _, recipe, _ in calls] == [0, 0, *[0.9] * 6]


def test_the_teachers_together_answer_with_the_mean_over_all_three(watched):
    _, calls = watched
    unpruned, larger, together = (calls[place][2].logits.astype(float) for place in (2, 4, 6))
    assert together == pytest.approx((unpruned + 2 * larger) / 3, abs=0.05)
    assert abs(unpruned - larger).max() > 0.1


def test_gains_are_on_the_unpruned_experts_teaching(record):
    alone = {r["shape"]: r["accuracy"] for r in record["runs"] if r["way"] == "unpruned"}
    for entry in record["runs"]:
        mean, low, high = entry["gain"]
        assert mean == pytest.approx(entry["accuracy"] - alone[entry["shape"]], abs=2e-5)
        assert low <= mean <= high
    assert all(r["gain"] == [0, 0, 0] for r in record["runs"] if r["way"] == "unpruned")
    assert {way: t["networks"] for way, t in record["teachers"].items()} == {"unpruned": 1, "larger": 2, "together": 3}


def test_the_section_says_for_how_many_shapes_the_gain_is_sure(record):
    for entry in record["runs"]:
        if entry["way"] == "together":
            entry["gain"] = [0.004, 0.001, 0.007] if entry["shape"] == "5-6-8-7" else [0.002, -0.001, 0.005]
    text = section(record)
    assert "excludes 0, for 1 of\n2 shapes" in text
    assert "(+0.40; +0.10 to +0.70)" in text
    for entry in record["runs"]:
        assert f"{100 * entry['accuracy']:.2f}" in text


def test_the_picture_is_a_png(record, tmp_path):
    draw(record, tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 800


def test_without_larger_networks_it_says_what_makes_them(tmp_path):
    with pytest.raises(EdgemoeError, match=r"no teacher-1\.npz is there; train-global --teachers"):
        Inputs(tmp_path, tmp_path / "unpruned.npz").teachers()
