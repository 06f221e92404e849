"""The reader of photographed characters: one drawing, however it is pictured, gives one image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photographed import PAPER, REFERENCE, drawing, on_paper, reopened, unlike
from PIL import Image, ImageDraw

from edgemoe.data.photos import read_ink


def gradient():
    y, x = np.mgrid[0:1:160j, 0:1:120j]
    return on_paper(drawing(), 90 + 60 * x + 80 * y)


def lamp():
    y, x = np.mgrid[0:1:160j, 0:1:120j]
    return on_paper(drawing(), 80 + 150 * np.exp(-((x - 0.2) ** 2 + (y - 0.3) ** 2) / 0.5))


def shadow():
    y, x = np.mgrid[0:1:160j, 0:1:120j]
    return on_paper(drawing(), np.where(x + 0.4 * y > 0.7, 110.0, 210.0))


def grain():
    noise = np.random.default_rng(0).normal(0, 4, (160, 120))
    return on_paper(drawing(), PAPER + noise)


def chalk():
    return Image.eval(drawing(), lambda value: 40 + value * 180 // 255)


def transparent_black():
    image = Image.new("RGBA", (120, 160), (0, 0, 0, 0))
    image.putalpha(drawing())
    return image


def transparent_white():
    image = Image.new("RGBA", (120, 160), (255, 255, 255, 0))
    image.putalpha(drawing())
    return image


def grey_and_alpha():
    return transparent_black().convert("LA")


def cut_out():
    """A photo whose corners are transparent, as a deskewing scanner leaves it."""
    image = on_paper(drawing()).convert("RGBA")
    alpha = Image.new("L", image.size, 255)
    ImageDraw.Draw(alpha).polygon([(0, 0), (25, 0), (0, 30)], fill=0)
    image.putalpha(alpha)
    return image


def palette():
    return on_paper(drawing()).convert("RGB").quantize(16)


def sixteen_bits():
    return Image.fromarray((np.asarray(on_paper(drawing())).astype(np.uint16)) * 257)


def bilevel():
    return on_paper(drawing((480, 640))).convert("1", dither=Image.Dither.NONE)


def coloured_pen():
    ink, pen, paper = (
        np.asarray(drawing())[..., None] / 255,
        np.array([30, 40, 160]),
        np.array([240, 235, 200]),
    )
    return Image.fromarray(np.rint(paper + ink * (pen - paper)).astype(np.uint8))


def cmyk():
    return on_paper(drawing()).convert("CMYK")


def dark_frame():
    image = on_paper(drawing())
    ImageDraw.Draw(image).rectangle([0, 0, 119, 159], outline=30, width=4)
    return image


def table_edge():
    """Paper that ends within the photo, on a dark table."""
    image = on_paper(drawing())
    ImageDraw.Draw(image).rectangle([0, 150, 119, 159], fill=40)
    return image


def ruled_line():
    image = on_paper(drawing())
    ImageDraw.Draw(image).line([(0, 148), (119, 152)], fill=90, width=3)
    return image


def specks():
    image = on_paper(drawing())
    for x, y in [(100, 20), (12, 60), (100, 110), (60, 12)]:
        ImageDraw.Draw(image).rectangle([x, y, x + 1, y + 1], fill=60)
    return image


def neighbour():
    """Half of the next character, cut by the border."""
    image = on_paper(drawing())
    ImageDraw.Draw(image).arc([108, 40, 150, 90], 0, 360, fill=60, width=5)
    return image


def cut_close():
    image = on_paper(drawing())
    return image.crop(Image.fromarray(np.asarray(image) < 130).getbbox())


def far_off():
    image = Image.new("L", (700, 800), PAPER)
    image.paste(on_paper(drawing()), (60, 500))
    return image


def faint():
    return on_paper(drawing(), pen=170)


def large():
    return on_paper(drawing((1500, 2000)))


def small():
    return on_paper(drawing((36, 48)))


def jpeg():
    return reopened(on_paper(drawing((300, 400))), "JPEG", quality=70)


def thick():
    return on_paper(drawing(thickness=0.11))


def thin():
    return on_paper(drawing(thickness=0.06))


PICTURES = [
    *(gradient, lamp, shadow, grain, chalk, faint, coloured_pen),
    *(
        transparent_black,
        transparent_white,
        grey_and_alpha,
        cut_out,
        palette,
        sixteen_bits,
        bilevel,
        cmyk,
        jpeg,
    ),
    *(dark_frame, table_edge, ruled_line, specks, neighbour, cut_close, far_off),
    *(large, small, thick, thin),
]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda f: f.__name__)
def test_every_picture_of_one_drawing_gives_nearly_the_same_image(picture):
    limit = 0.3 if picture in (small, thick, thin) else 0.15
    assert unlike(REFERENCE, read_ink(picture())) < limit


def test_the_measure_of_likeness_tells_characters_apart():
    """What makes the limits above mean something: another drawing is far beyond them."""
    assert unlike(REFERENCE, read_ink(on_paper(drawing(character="i")))) > 0.8
    assert unlike(REFERENCE, REFERENCE.T) > 0.8


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_photo_is_turned_as_its_exif_orientation_says(orientation, form):
    upright = on_paper(drawing((600, 800)))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # the viewer turns it 90 degrees clockwise
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert unlike(REFERENCE, read_ink(reopened(upright.transpose(undo), form, exif=exif))) < 0.15


@settings(deadline=None, max_examples=40)
@given(
    width=st.integers(40, 500),
    aspect=st.floats(0.8, 1.6),
    light=st.integers(90, 255),
    contrast=st.floats(0.25, 0.95),
    inverted=st.booleans(),
)
def test_size_polarity_and_contrast_do_not_matter(width, aspect, light, contrast, inverted):
    ink = np.asarray(drawing((width, round(width * aspect)))) / 255
    grey = np.rint(light * (1 - contrast * ink))
    image = Image.fromarray((255 - grey if inverted else grey).astype(np.uint8))
    assert unlike(REFERENCE, read_ink(image)) < 0.3
