"""The ink of a photographed character: as large, as wide and as whole as EMNIST's, and none where there is none."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photographed import drawing, on_paper
from PIL import Image, ImageDraw

from edgemoe.data.photos import read_ink, read_photos
from edgemoe.errors import EdgemoeError


def test_the_character_fills_24_pixels_and_is_centred():
    for character in "Ril":
        image = read_ink(on_paper(drawing(character=character)))
        y, x = np.nonzero(image >= 128)
        assert 23 <= max(np.ptp(y), np.ptp(x)) + 1 <= 25
        assert abs(y.min() + y.max() - 27) <= 1
        assert abs(x.min() + x.max() - 27) <= 1
        assert image.max() >= 230
        assert image[[0, -1]].max() < 20
        assert image[:, [0, -1]].max() < 20


def test_the_dot_of_an_i_is_kept_and_the_dot_below_a_k_is_not():
    i = read_ink(on_paper(drawing(character="i")))
    inked = (i > 128).any(axis=1).astype(int)
    assert (np.diff(inked, prepend=0, append=0) == 1).sum() == 2
    k = read_ink(on_paper(drawing(character="k.")))
    inked = (k > 128).any(axis=1).astype(int)
    assert (np.diff(inked, prepend=0, append=0) == 1).sum() == 1


def test_strokes_come_out_about_as_wide_as_emnists(shared_data):
    from edgemoe.data import load_samples

    emnist, _, _ = load_samples(f"{shared_data}/emnist/emnist.zip:byclass-part:test")
    ours, _, _ = read_photos(shared_data / "photos")

    def width(images):
        """Twice the area over the length of the outline, the median over the images, in pixels."""
        ink = images.astype(float) / 255
        slope_y, slope_x = np.gradient(ink, axis=(1, 2))
        return np.median(2 * ink.sum(axis=(1, 2)) / np.hypot(slope_y, slope_x).sum(axis=(1, 2)))

    assert width(ours) == pytest.approx(width(emnist[:2000]), abs=0.2)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(["1", "L", "RGB", "RGBA", "CMYK"]), st.binary())
def test_any_picture_gives_an_image_or_one_clear_error(width, height, mode, seed):
    n = width * height * 4
    image = Image.frombytes("RGBA", (width, height), (seed * n + bytes(n))[:n]).convert(mode)
    with contextlib.suppress(EdgemoeError):
        ink = read_ink(image)
        assert ink.shape == (28, 28)
        assert ink.dtype == np.uint8
        assert ink.max() >= 120


@pytest.mark.parametrize("light", [60, 128, 255])
@pytest.mark.parametrize("grain", [0, 2, 10])
def test_a_blank_picture_is_refused_in_any_light(light, grain):
    rng = np.random.default_rng(1)
    slope = np.linspace(0.6, 1, 120) * light
    pixels = np.clip(slope + rng.normal(0, grain, (90, 120)), 0, 255).astype(np.uint8)
    with pytest.raises(EdgemoeError, match=r"blank|specks"):
        read_ink(Image.fromarray(pixels))


def test_a_picture_of_specks_alone_is_refused():
    image = Image.new("L", (200, 200), 220)
    for x, y in [(30, 30), (90, 140), (160, 60)]:
        ImageDraw.Draw(image).rectangle([x, y, x + 2, y + 2], fill=20)
    with pytest.raises(EdgemoeError, match="specks"):
        read_ink(image)
