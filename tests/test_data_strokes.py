"""Pen strokes: what the drawing looks like, against a slow oracle."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemoe.data import load_samples, render_strokes
from edgemoe.data.strokes import GRID, REACH, SMALLEST, SPAN, render_character
from edgemoe.errors import EdgemoeError


def draw(*strokes):
    lengths = [len(stroke) for stroke in strokes]
    return render_strokes(np.concatenate(strokes), lengths, [0, len(strokes)])[0]


def oracle(strokes):
    """One pixel and one segment at a time, in float64: what a reader of the docstrings would write."""
    points = np.concatenate(strokes).astype(float)
    low, high = points.min(0), points.max(0)
    scale = SPAN / max((high - low).max(), SMALLEST)
    image = np.zeros((28, 28))
    for stroke in strokes:
        path = np.rint((np.asarray(stroke, float) - (low + high) / 2) * scale * GRID) / GRID * [1, -1] + 13.5
        for a, b in zip(path, [*path[1:], path[-1]], strict=True):
            for row in range(28):
                for column in range(28):
                    p = np.array([column, row])
                    length = (b - a) @ (b - a)
                    t = np.clip((p - a) @ (b - a) / length, 0, 1) if length else 0.0
                    distance = np.linalg.norm(p - a - t * (b - a))
                    image[row, column] = max(image[row, column], max(1 - (distance / REACH) ** 2, 0) ** 2)
    return image * 255


coordinate = st.integers(-32768, 32767)
stroke = st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=5)


@settings(max_examples=25, deadline=None)
@given(st.lists(stroke, min_size=1, max_size=3))
def test_rendering_equals_the_slow_oracle_within_a_grey_level(strokes):
    np.testing.assert_allclose(draw(*strokes).astype(float), oracle(strokes), atol=1.0)


def test_y_goes_up_and_x_to_the_right():
    capital_l = draw([(0, 100), (0, 0), (60, 0)])
    left, bottom = capital_l[:, :13].sum(), capital_l[15:].sum()
    assert left > capital_l[:, 15:].sum()
    assert bottom > capital_l[:13].sum()


def test_a_character_fills_24_pixels_and_keeps_its_proportions():
    box = draw([(0, 0), (0, 300), (100, 300), (100, 0), (0, 0)]) >= 128
    rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
    assert 24 <= rows[-1] - rows[0] + 1 <= 25
    assert 9 <= columns[-1] - columns[0] + 1 <= 11  # a third of 21.6 and the pen
    assert rows[0] + rows[-1] == columns[0] + columns[-1] == 27  # centred


@settings(max_examples=50, deadline=None)
@given(st.lists(stroke, min_size=1, max_size=3), st.integers(-20000, 20000), st.integers(-20000, 20000))
def test_moving_a_character_does_not_change_its_image(strokes, dx, dy):
    moved = [[(x + dx, y + dy) for x, y in one] for one in strokes]
    np.testing.assert_array_equal(draw(*strokes), draw(*moved))


@pytest.mark.parametrize("factor", [2, 4, 64])
def test_magnifying_a_character_does_not_change_its_image(factor):
    zigzag = np.array([(0, 0), (30, 7), (11, 40), (25, 25)])
    np.testing.assert_array_equal(draw(zigzag), draw(zigzag * factor))


@pytest.mark.parametrize("points", [[(5, 5)], [(5, 5)] * 4, [(5, 5), (6, 5), (5, 5)], [(5, 5), (6, 6)]])
def test_a_dot_stays_a_small_dot_in_the_middle(points):
    image = draw(points)
    rows, columns = np.nonzero(image)
    assert image.max() > 200
    assert np.ptp(rows) < 14
    assert np.ptp(columns) < 14
    assert abs(rows.mean() - 13.5) < 0.01
    assert abs(columns.mean() - 13.5) < 0.01


def test_a_level_line_stays_a_line():
    image = draw([(0, 7), (500, 7)])
    assert np.flatnonzero((image >= 128).any(1)).tolist() == [12, 13, 14, 15]
    assert image[:, 4].max() == image[:, 14].max() > 200


def test_points_that_say_nothing_new_do_not_change_the_image():
    corner = draw([(0, 0), (0, 800), (800, 800)])
    dense = [(0, y) for y in range(0, 800, 100)] + [(x, 800) for x in range(0, 801, 100)]
    difference = draw(dense).astype(int) - corner
    assert np.abs(difference).max() <= 1
    np.testing.assert_array_equal(draw(np.repeat(dense, 3, axis=0)), draw(dense))


def test_strokes_are_not_joined():
    apart = draw([(0, 0), (0, 100)], [(100, 0), (100, 100)])
    assert apart[:, 10:18].max() == 0
    assert draw([(0, 0), (0, 100), (100, 0), (100, 100)])[:, 10:18].max() > 200


def test_a_scribble_of_many_segments_is_the_union_of_its_parts():
    walk = np.cumsum(np.random.default_rng(0).integers(-40, 41, (1500, 2)), axis=0)
    whole = draw(walk)
    frame = [[tuple(walk.min(0))], [tuple(walk.max(0))]]  # keeps the scale
    parts = [draw(walk[i : i + 101], *frame) for i in range(0, 1500, 100)]
    union = np.maximum.reduce([*parts, draw(walk, *frame)])
    np.testing.assert_array_equal(draw(walk, *frame), union)
    assert (whole <= union).all()


def test_a_batch_equals_its_characters_one_by_one():
    points = np.random.default_rng(1).integers(0, 99, (12, 2)).astype(np.int16)
    lengths, offsets = np.array([3, 4, 5]), [0, 1, 3]
    images = render_strokes(points, lengths, offsets)
    np.testing.assert_array_equal(images[0], render_character(points[:3], lengths[:1]))
    np.testing.assert_array_equal(images[1], render_character(points[3:], lengths[1:]))


@pytest.mark.parametrize(
    ("points", "lengths", "offsets"),
    [
        ([[0, 0]], [2], [0, 1]),
        ([[0, 0], [1, 1]], [2, 0], [0, 2]),
        ([[0, 0], [1, 1]], [2], [0, 2]),
        ([[0, 0], [1, 1]], [1, 1], [0, 1, 1, 2]),
        ([[0, 0], [np.nan, 1]], [2], [0, 1]),
        ([[0, 0], [1e30, 1]], [2], [0, 1]),
        ([0, 1], [2], [0, 1]),
        ([["a", "b"]], [1], [0, 1]),
        (np.zeros((0, 2)), [], [0]),
    ],
)
def test_strokes_that_do_not_fit_together_are_refused(points, lengths, offsets):
    with pytest.raises(EdgemoeError):
        render_strokes(points, lengths, offsets)


def test_real_strokes_look_as_inked_as_emnist_and_render_quickly(shared_data):
    begin = time.process_time()
    images, labels, writers = load_samples(shared_data / "unipen" / "writers_small.npz")
    seconds = time.process_time() - begin
    scans, _, _ = load_samples(f"{shared_data / 'emnist' / 'emnist.zip'}:byclass-part:test")
    assert len(images) == len(labels) == len(writers) == 30408
    assert len(set(writers)) == 120
    assert 0.8 < images.mean() / scans.mean() < 1.4
    assert seconds < 20  # it takes about 7
