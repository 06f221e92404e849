"""The pictures of predict and evaluate: misread ones first, and every confusion counted."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import edgemoe
from PIL import Image

from edgemoe import GlobalExpert, Personalizer
from edgemoe.cli.pictures import confusion, draw_answers
from edgemoe.device.mixture import Answers
from edgemoe.simulator import simulated_samples


@pytest.fixture(scope="module")
def profile(ge: GlobalExpert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "me.moe"
    Personalizer(ge).fit(*simulated_samples(1, 3)).save(path)
    return path


def red(picture: bytes) -> int:
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    return int(((pixels[..., 0] > pixels[..., 1] + 90) & (pixels[..., 0] > pixels[..., 2] + 60)).sum())


def test_every_misread_character_is_shown_in_red() -> None:
    names = np.array(["A"] * 60)
    images = np.zeros((60, 28, 28), np.uint8)
    counts = []
    for wrong in (0, 2, 4):
        said = names.copy()
        said[60 - wrong :] = "B"
        counts.append(
            red(draw_answers(images, Answers(said, said, said, np.ones((60, 1), np.float32), np.ones(60, np.float32)),
                             names, "t", "f"))
        )  # fmt: skip
    assert counts[0] == 0
    assert counts[2] == pytest.approx(2 * counts[1], rel=0.02)


def test_a_confusion_is_a_count() -> None:
    classes = np.array(list("ABC"))
    table = confusion(classes, np.array(list("AABC")), np.array(["A", "B", "B", ""]))
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_predict_and_evaluate_draw_and_reject(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--profile", profile, "--seed", 1, "--picture", tmp_path / "p.png", "--json")
    assert edgemoe("predict", *options, "--reject", 0.9) == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    assert all((p["label"] == "") == (p["confidence"] < 0.9) for p in predictions)
    assert {"global", "local"} <= set(predictions[0])
    assert edgemoe("evaluate", *options, "--reject-curve") == 0
    result = json.loads(capsys.readouterr().out)
    curve = result["reject_curve"]
    assert curve["user"]["coverage"][0] == 1
    assert curve["user"]["accuracy"][0] == pytest.approx(result["user"]["mixture"])
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
