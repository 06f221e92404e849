"""The demo: the main job end to end, offline, with a picture that says what the figures say."""

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from cli_runner import edgemoe
from PIL import Image

from edgemoe import Personalizer, load_global_expert
from edgemoe.cli.sheet import Correction, Sheet, draw_sheet
from edgemoe.simulator import simulated_samples


def test_the_demo_personalizes_one_writer_and_shows_what_it_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    began = time.perf_counter()
    assert edgemoe("demo", "--seed", 3, "--json") == 0
    assert time.perf_counter() - began < 30
    result = json.loads(capsys.readouterr().out)
    ge = load_global_expert()
    moe = Personalizer(ge, seed=3).fit(*simulated_samples(3, 5))
    images, labels = simulated_samples(3, 20, sample_seed=1)
    before, after = ge.predict(images) == labels, moe.predict(images) == labels
    assert result["user"]["n"] == len(labels)
    assert result["user"]["global"] == pytest.approx(before.mean())
    assert result["user"]["mixture"] == pytest.approx(after.mean())
    assert (result["fixed"], result["broken"]) == (int((~before & after).sum()), int((before & ~after).sum()))
    assert result["profile_bytes"] == len(moe.profile.to_bytes())
    lost = result["retention"]["global"] - result["retention"]["mixture"]
    assert lost == pytest.approx(result["verdict"]["generic_loss"])  # what the acceptance test measured
    with Image.open("edgemoe-demo.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000


def test_the_demo_prints_tables_and_says_whose_figures_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe("demo", "--out", tmp_path / "sheet.png") == 0
    text = capsys.readouterr().out
    assert "this writer" in text
    assert "Figures of a simulated writer" in text
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_a_picture_that_cannot_be_written_fails_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("demo", "--out", tmp_path / "none" / "sheet.png", "--json") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("edgemoe: ")


def sheet(corrections: int) -> Sheet:
    image = np.zeros((28, 28), np.uint8)
    image[10:18] = 255
    one = Correction(image, "A", "B", 0.5)
    gate = np.array([0.1, 0.9], np.float32)
    return Sheet("t", "s", [("a", "b", "c")], "c", [one] * corrections, gate, gate[:0], "f")


def test_a_sheet_grows_with_its_characters_and_shows_each() -> None:
    pictures = [np.asarray(Image.open(io.BytesIO(draw_sheet(sheet(n))))).astype(int) for n in (0, 3, 9)]
    assert pictures[0].shape[0] < pictures[1].shape[0] < pictures[2].shape[0]
    green = [int(((p[..., 1] > p[..., 0] + 60) & (p[..., 1] > p[..., 2] + 30)).sum()) for p in pictures]
    assert green[0] == 0
    assert green[2] == pytest.approx(3 * green[1], rel=0.05)  # every answer that is right now is in green
