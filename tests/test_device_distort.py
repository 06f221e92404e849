"""Distorted copies against a map of one pixel after the other, and how much they may differ from what was written."""

import itertools
import zlib

import numpy as np
import pytest

from edgemoe.device.distort import CENTRE, COPIES, SHEAR, SHIFT, STRETCH, TURN, distorted
from edgemoe.simulator import simulated_samples


@pytest.fixture(scope="module")
def images():
    return simulated_samples(seed=2, per_class=1)[0]


def seen_through(image, matrix, middle):
    """The image through an affine map, one pixel after the other; no ink outside."""
    result = np.zeros((28, 28))
    for row, column in np.ndindex(28, 28):
        x, y = matrix @ [column - CENTRE, row - CENTRE] + middle
        left, top = int(x // 1), int(y // 1)
        for corner_x, corner_y in itertools.product((left, left + 1), (top, top + 1)):
            if 0 <= corner_x < 28 and 0 <= corner_y < 28:
                result[row, column] += image[corner_y, corner_x] * (1 - abs(x - corner_x)) * (1 - abs(y - corner_y))
    return result


def test_copies_are_affine_maps_of_the_image_sampled_bilinearly(images):
    drawn = distorted(images)
    assert drawn.shape == (COPIES * len(images), 28, 28)
    assert drawn.dtype == np.uint8
    for row in (0, 5, 17):
        amounts = np.random.default_rng(zlib.crc32(images[row].tobytes())).normal(0, 1, (COPIES, 6))
        for copy, (turn, shear, wide, high, across, down) in enumerate(amounts):
            rotation = [[np.cos(TURN * turn), -np.sin(TURN * turn)], [np.sin(TURN * turn), np.cos(TURN * turn)]]
            matrix = np.array(rotation) @ [[np.exp(STRETCH * wide), SHEAR * shear], [0, np.exp(STRETCH * high)]]
            middle = np.array([CENTRE + SHIFT * across, CENTRE + SHIFT * down])
            expected = seen_through(images[row], matrix, middle)
            assert np.abs(drawn[COPIES * row + copy] - expected).max() < 0.51


def test_copies_differ_from_each_other_and_keep_the_ink(images):
    parts = distorted(images).reshape(len(images), COPIES, 28, 28).astype(float)
    ink = parts.sum((2, 3)) / images.sum((1, 2))[:, None]
    assert 0.9 < np.median(ink) < 1.1
    for first, second in ((0, 1), (1, 2), (2, 3)):
        assert (np.abs(parts[:, first] - parts[:, second]).mean((1, 2)) > 1).all()


def test_an_images_copies_do_not_depend_on_the_others(images):
    alone = distorted(images[3:4])
    assert np.array_equal(alone, distorted(images)[3 * COPIES : 4 * COPIES])
    assert np.array_equal(alone, distorted(images[::-1][-4:-3]))


def test_an_empty_image_stays_empty_and_no_image_is_none():
    assert not distorted(np.zeros((2, 28, 28), np.uint8)).any()
    assert distorted(np.zeros((0, 28, 28), np.uint8)).shape == (0, 28, 28)


def test_ink_that_leaves_the_image_does_not_come_back_on_the_other_side():
    full = np.full((40, 28, 28), 255, np.uint8)
    full[:, 0, 0] = np.arange(40)  # each with other copies
    drawn = distorted(full)
    corners = drawn[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (drawn[:, 14, 14] == 255).all()
    assert (corners == 0).any()
