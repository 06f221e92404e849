"""Pen strokes in C: the Python's image, bit by bit."""

import ctypes
import zipfile

import numpy as np
import pytest
from firmware_mixture import Status, small_library
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemoe.data.strokes import read_strokes, render_character

MOST = 8192  # points: EM_POINTS_MOST


@pytest.fixture(scope="module")
def library():
    return small_library()


def render(library, points, lengths):
    """`em_render`: the status and the image, which holds 7 before."""
    image = (ctypes.c_uint8 * 784)(*[7] * 784)
    floats = np.ascontiguousarray(points, np.float32)
    counts = np.ascontiguousarray(lengths, np.uint16)
    places = (array.ctypes.data_as(ctypes.c_void_p) for array in (floats, counts))
    status = library.em_render(*places, ctypes.c_size_t(len(counts)), image)
    return Status(status), np.frombuffer(image, np.uint8).reshape(28, 28)


def assert_same(library, points, lengths):
    status, image = render(library, points, lengths)
    assert status == Status.OK
    np.testing.assert_array_equal(image, render_character(np.asarray(points, np.float32), np.asarray(lengths)))


def test_real_writers_characters_are_the_same_bit_by_bit(library, shared_data):
    with zipfile.ZipFile(shared_data / "unipen" / "writers_small.npz") as archive:
        strokes = read_strokes(archive)
    start = np.concatenate([[0], np.cumsum(strokes.stroke_length)])
    chosen = np.random.default_rng(0).choice(len(strokes.labels), 400, replace=False)
    for i in chosen:
        first, last = strokes.sample_stroke_offset[i : i + 2]
        assert_same(library, strokes.points[start[first] : start[last]], strokes.stroke_length[first:last])


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.lists(st.integers(1, 12), min_size=1, max_size=5),
    st.sampled_from([0, 1e-3, 0.3, 1, 40, 3000, 2.0**21]), st.sampled_from([0, 0.37, 1000, 2.0**21]), st.booleans(),
)  # fmt: skip
def test_any_points_are_drawn_as_python_draws_them(library, seed, lengths, spread, shift, whole):
    rng = np.random.default_rng(seed)
    points = np.clip(rng.uniform(-spread, spread, (sum(lengths), 2)) + shift, -(2.0**22), 2.0**22).astype(np.float32)
    assert_same(library, np.rint(points) if whole else points, lengths)


@pytest.mark.parametrize(
    "points", [[[5, 5]], [[0, 0], [1, 0]], [[0, 0], [0, 4194304]], [[-4194304, 0], [4194304, 1]]], ids=str
)
def test_dots_bars_and_the_farthest_points(library, points):
    assert_same(library, points, [len(points)])
    assert_same(library, points, [1] * len(points))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 4194304.5, -4194305, 3e38])
@pytest.mark.parametrize("place", [(0, 0), (3, 1)])
def test_a_coordinate_that_is_not_finite_or_too_far_is_refused(library, value, place):
    points = np.zeros((4, 2), np.float32)
    points[place] = value
    status, image = render(library, points, [3, 1])
    assert status == Status.STROKES
    assert (image == 7).all()


def test_no_strokes_and_empty_ones_are_refused(library):
    points = np.zeros((4, 2), np.float32)
    assert render(library, points, [])[0] == Status.STROKES
    assert render(library, points, [0])[0] == Status.STROKES
    assert render(library, points, [2, 0, 2])[0] == Status.STROKES


def test_the_most_points_are_drawn_and_one_more_is_refused(library):
    points = np.random.default_rng(0).normal(0, 30, (MOST + 1, 2)).astype(np.float32)
    assert_same(library, points[:MOST], [MOST - 5, 5])
    assert render(library, points, [MOST - 5, 6])[0] == Status.STROKES
    assert render(library, points, [65535] * 70_000)[0] == Status.STROKES  # their sum would not fit 32 bits


def test_null_is_an_error(library):
    image, points, lengths = (ctypes.c_uint8 * 784)(), (ctypes.c_float * 2)(), (ctypes.c_uint16 * 1)(1)
    one = ctypes.c_size_t(1)
    assert library.em_render(None, lengths, one, image) == Status.NULL
    assert library.em_render(points, None, one, image) == Status.NULL
    assert library.em_render(points, lengths, one, None) == Status.NULL
    assert library.em_render(points, lengths, one, image) == Status.OK
