"""The simulated writer: every character, the same from the same seed, and a person from each seed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgemoe.classes import CLASS_SETS, merge_labels
from edgemoe.data.strokes import render_strokes
from edgemoe.errors import EdgemoeError
from edgemoe.simulator import generic_samples, simulate_writer, simulated_samples
from edgemoe.simulator.glyphs import glyphs, load_glyphs

ALL = CLASS_SETS["byclass"]
SEEDS = st.integers(0, 2**63)
GLYPHS = Path(__file__).resolve().parents[1] / "edgemoe" / "simulator" / "glyphs.json"


def _same(a, b):
    return len(a) == len(b) and all(
        len(x) == len(y) and all(np.array_equal(s, t) for s, t in zip(x, y, strict=True))
        for x, y in zip(a, b, strict=True)
    )


# --- glyphs ---


@pytest.mark.parametrize("character", ALL)
def test_each_character_has_forms_that_pass_through_their_points(character):
    assert len(glyphs()[character]) >= 2
    for form in glyphs()[character]:
        for matrix in (form.chord, form.spline):
            assert np.allclose(matrix.sum(1), 1), "a moved glyph is the same glyph elsewhere"
            path = matrix @ form.points
            gap = np.linalg.norm(path[:, None] - form.points, axis=2).min(0)
            assert gap.max() < 1e-9, form.name


def _one_form(tmp_path, *strokes):
    content = json.loads(GLYPHS.read_text())
    content["A"] = [{"form": "test", "manner": "print", "weight": 1, "strokes": list(strokes)}]
    file = tmp_path / "glyphs.json"
    file.write_text(json.dumps(content))
    return load_glyphs(file)["A"][0]


def test_a_smooth_ring_through_a_circles_points_is_nearly_the_circle(tmp_path):
    angle = np.arange(9) * np.pi / 4
    ring = " ".join(f"{50 * np.cos(a):.6f},{50 * np.sin(a):.6f}" for a in angle[:-1])
    form = _one_form(tmp_path, f"{ring} {ring.split()[0]}")
    radius = np.hypot(*(form.spline @ form.points).T)
    assert np.abs(radius - 50).max() < 0.5
    assert np.hypot(*(form.chord @ form.points).T).min() == pytest.approx(50 * np.cos(np.pi / 8), abs=0.3)


def test_the_pen_turns_at_a_marked_corner_alone(tmp_path):
    corner, smooth = (_one_form(tmp_path, f"0,0 30,100{mark} 60,0") for mark in ("^", ""))
    assert np.allclose(corner.spline, corner.chord)

    def sharpest(form):
        bend = np.diff(form.spline @ form.points, 2, axis=0)
        return np.sqrt((bend**2).sum(1)).max()

    assert sharpest(smooth) < 0.5 * sharpest(corner)


def test_strokes_stay_apart(tmp_path):
    form = _one_form(tmp_path, "0,0 0,100", "50,0 50,100")
    first, second = np.split(form.spline @ form.points, form.ends[:-1])
    assert np.allclose(first[:, 0], 0)
    assert np.allclose(second[:, 0], 50)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"strokes": ["0,0 0,nan"]}, "stroke"),
        ({"strokes": ["0,0 0,1e9"]}, "beyond"),
        ({"strokes": ["0,0 0,0"]}, "equal neighbours"),
        ({"strokes": ["0,0"]}, "2 to 64 points"),
        ({"strokes": ["0,0 0,1,2"]}, "stroke"),
        ({"strokes": ["0,0 x,1"]}, "stroke"),
        ({"strokes": [7]}, "stroke"),
        ({"strokes": []}, "strokes"),
        ({"strokes": ["0,0 1,1"] * 9}, "strokes"),
        ({"weight": 0}, "weight"),
        ({"weight": True}, "weight"),
        ({"manner": "loud"}, "manner"),
        ({"form": None}, "form"),
        ({"extra": 1}, "keys"),
    ],
)
def test_a_bad_glyph_is_refused_by_the_name_of_its_file_character_and_field(tmp_path, change, complaint):
    content = json.loads(GLYPHS.read_text())
    content["g"][0].update(change)
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(content))
    with pytest.raises(EdgemoeError, match=complaint) as caught:
        load_glyphs(file)
    assert "bad.json: 'g' form 0" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"A": []}'])
def test_a_file_that_is_no_set_of_glyphs_is_refused(tmp_path, text):
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(EdgemoeError, match=r"bad\.json"):
        load_glyphs(file)


# --- writers ---


@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS,
    sample=SEEDS,
    strength=st.floats(0, 1),
    text=st.lists(st.sampled_from(ALL), min_size=1, max_size=6),
)
@example(seed=0, sample=0, strength=1.0, text=list(ALL))
def test_any_seed_writes_any_characters_in_finite_strokes(seed, sample, strength, text):
    written = simulate_writer(seed, strength).write(text, sample)
    assert len(written) == len(text)
    for strokes in written:
        points = np.concatenate(strokes)
        assert all(stroke.ndim == 2 and stroke.shape[1] == 2 and len(stroke) >= 2 for stroke in strokes)
        assert (np.abs(points) < 5000).all()
        assert (points == np.rint(points)).all()
        assert np.ptp(points, axis=0).max() > 250


def test_a_seed_is_a_writer_and_a_sample_seed_a_moment():
    writer = simulate_writer(3)
    assert writer == simulate_writer(3)
    assert _same(writer.write(ALL, 5), simulate_writer(3).write(ALL, 5))
    assert not _same(writer.write("A", 5), writer.write("A", 6))
    assert not _same(writer.write("A", 5), simulate_writer(4).write("A", 5))
    first, again = writer.write("AA", 5)
    assert not _same([first], [again])


def test_the_first_character_does_not_hang_on_those_that_follow():
    writer = simulate_writer(3)
    assert _same(writer.write("A", 5), writer.write("Azq", 5)[:1])


def test_the_same_seed_gives_the_same_bytes_whatever_the_hash_seed():
    code = (
        "import hashlib; from edgemoe.simulator import simulated_samples;"
        "print(hashlib.sha256(simulated_samples(9, 1)[0].tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(GLYPHS.parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


def test_slant_leans_an_upright_stroke_as_far_as_the_style_says():
    lean = []
    for seed in range(12):
        writer = simulate_writer(seed)
        strokes = [max(sample, key=len) for sample in writer.write("I" * 40)]
        dx, dy = np.mean([s[np.argmax(s[:, 1])] - s[np.argmin(s[:, 1])] for s in strokes], axis=0)
        lean.append((writer.style.slant - writer.style.turn, dx / dy))
    assert np.corrcoef(np.array(lean).T)[0, 1] > 0.8


@pytest.mark.parametrize(
    "call",
    [
        lambda: simulate_writer(-1),
        lambda: simulate_writer(0, 1.5),
        lambda: simulate_writer(0, float("nan")),
        lambda: simulate_writer(0).write("A", -1),
        lambda: simulate_writer(0).write("?"),
        lambda: simulate_writer(0).write(["AB"]),
        lambda: simulated_samples(0, 0),
        lambda: simulated_samples(0, 1, ""),
        lambda: generic_samples(-1),
    ],
)
def test_bad_arguments_are_refused(call):
    with pytest.raises(EdgemoeError):
        call()


# --- samples ---


def test_images_have_emnists_form():
    images, labels = simulated_samples(1, 2, ALL)
    assert images.dtype == np.uint8
    assert images.shape == (124, 28, 28)
    assert labels.tolist() == list(ALL) * 2
    assert images.max() <= 255
    assert (images.reshape(124, -1).max(1) > 200).all()
    for image in images:
        rows, columns = np.flatnonzero((image > 60).any(1)), np.flatnonzero((image > 60).any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert 22 <= max(height, width) <= 26, "the longer side fills EMNIST's 24 pixels"
        assert abs(rows[0] + rows[-1] - 27) <= 2
        assert abs(columns[0] + columns[-1] - 27) <= 2
        assert 0.02 < (image > 127).mean() < 0.5


def test_merged_classes_are_written_as_capital_and_small_letter_in_turn():
    balanced = CLASS_SETS["balanced"]
    images, labels = simulated_samples(2, 2)
    merged = [c for c in ALL if c not in balanced and merge_labels([c], balanced)[0] == c.upper()]
    assert len(merged) == 15
    characters = [*balanced, *(c.lower() if c.lower() in merged else c for c in balanced)]
    assert labels.tolist() == merge_labels(characters, balanced).tolist()
    for image, strokes in zip(images, simulate_writer(2).write(characters), strict=True):
        drawn = render_strokes(np.concatenate(strokes), [len(s) for s in strokes], [0, len(strokes)])
        assert np.array_equal(image, drawn[0])


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, character=st.sampled_from(ALL))
def test_any_seed_and_character_gives_an_image(seed, character):
    images, labels = simulated_samples(seed, 1, character)
    assert labels.tolist() == [character]
    assert images.shape == (1, 28, 28)
    assert images.max() > 200


def test_a_writer_is_more_like_itself_than_like_others():
    writers = np.array([simulated_samples(seed, 6, ALL)[0].reshape(6, 62, 784) for seed in range(8)]) / 255.0
    one, two = writers[:, :3].mean(1), writers[:, 3:].mean(1)
    distance = np.linalg.norm(one[:, None] - two, axis=3).mean(2)  # (writer, writer), over characters
    own = np.diag(distance)
    others = distance[~np.eye(8, dtype=bool)].reshape(8, 7)
    assert (own < 0.8 * others.min(1)).all()


def test_strength_takes_writers_away_from_the_copybook():
    def spread(strength):
        writers = [simulated_samples(seed, 4, ALL, strength=strength)[0].reshape(4, 62, 784) for seed in range(6)]
        return np.array(writers).mean(1).std(0).mean()

    assert spread(0.0) < spread(0.5) < spread(1.0)


def test_a_generic_sample_comes_from_another_writer_each_time():
    images, labels = generic_samples(0, 3, "4A")
    assert labels.tolist() == ["4", "A"] * 3
    assert len({image.tobytes() for image in images}) == 6
    again, _ = generic_samples(0, 3, "4A")
    assert np.array_equal(images, again)
    assert not np.array_equal(images, generic_samples(1, 3, "4A")[0])
