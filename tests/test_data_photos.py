"""The reader of photographed characters: one drawing, however it is pictured, gives one image."""

import contextlib
import csv
import io
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, PngImagePlugin

from edgemoe.data import photos
from edgemoe.data.photos import read_ink, read_photos
from edgemoe.errors import EdgemoeError

PAPER, PEN = 205, 60


def drawing(size=(120, 160), character="R", thickness=0.08):
    """A picture of ink, 255 on 0, drawn four times too large and reduced: its edges are soft."""
    width, height = 4 * size[0], 4 * size[1]
    unit, left, top = 0.6 * min(width, height), 0.25 * width, 0.2 * height
    strokes = {
        "R": [[(0, 1), (0, 0), (0.5, 0), (0.6, 0.25), (0.4, 0.5), (0, 0.5), (0.6, 1)]],
        "i": [[(0.3, 0.35), (0.3, 1)], [(0.3, 0.02), (0.3, 0.08)]],
        "l": [[(0.3, 0), (0.3, 1)]],
        "k.": [[(0, 0), (0, 0.9)], [(0.5, 0.3), (0, 0.6), (0.5, 0.9)], [(0.3, 1.2), (0.3, 1.22)]],
    }[character]
    image = Image.new("L", (width, height), 0)
    draw, pen = ImageDraw.Draw(image), thickness * unit
    for stroke in strokes:
        points = [(left + x * unit, top + y * unit) for x, y in stroke]
        draw.line(points, fill=255, width=round(pen))
        for x, y in points:
            draw.ellipse([x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2], fill=255)
    return image.resize(size, Image.Resampling.BOX)


def on_paper(ink, paper=PAPER, pen=PEN):
    """The same on paper: `paper` may be an array of light, the ink takes the same share of it everywhere."""
    share = 1 - np.asarray(ink) / 255 * (1 - pen / PAPER)
    return Image.fromarray(np.rint(paper * share).astype(np.uint8))


def unlike(one, other):
    """Mean difference as a share of the mean ink."""
    return np.abs(one.astype(float) - other).mean() / one.astype(float).mean()


REFERENCE = read_ink(on_paper(drawing()))


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


def reopened(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return Image.open(file)


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


def save(folder, name, image=None, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or on_paper(drawing())).save(path, **options)
    return path


def listing(folder, *rows, header="file,label"):
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_a_folder_with_labels_csv_is_read_in_its_order(tmp_path):
    save(tmp_path, "b.png")
    save(tmp_path, "deep/a.JPG")
    save(tmp_path, "c.png", on_paper(drawing(character="i")))
    listing(tmp_path, "c.png,i", "b.png,R", '"deep/a.JPG",7')
    images, labels, writers = read_photos(tmp_path)
    assert images.shape == (3, 28, 28)
    assert images.dtype == np.uint8
    assert labels.dtype == np.dtype("<U1")
    assert labels.tolist() == ["i", "R", "7"]
    assert writers is None
    assert (images[0] == read_ink(on_paper(drawing(character="i")))).all()
    assert (images[1] == REFERENCE).all()
    assert unlike(REFERENCE, images[2]) < 0.05


def test_columns_may_come_in_any_order_after_a_byte_order_mark_and_with_spaces(tmp_path):
    save(tmp_path, "a.png")
    (tmp_path / "labels.csv").write_bytes("\ufefflabel,file,writer\r\nq, a.png, ben\r\n\r\n".encode())
    assert read_photos(str(tmp_path))[1].tolist() == ["q"]


def test_sub_folders_name_the_characters(tmp_path):
    for name in ("b/1.png", "A/2.jpeg", "A/1.PNG", "c_lower/x.png", "C_upper/x.png", "7/x.png"):
        save(tmp_path, name)
    for litter in (".DS_Store", "A/.DS_Store", "A/Thumbs.db", "notes.txt"):
        (tmp_path / litter).write_text("x")
    (tmp_path / "__MACOSX").mkdir()
    images, labels, _ = read_photos(tmp_path)
    assert labels.tolist() == ["7", "A", "A", "C", "b", "c"]
    assert all(unlike(REFERENCE, image) < 0.05 for image in images)


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["a.png,R"], "name,label", "field 'file' is not in the header"),
        (["a.png,R"], "file,class", "field 'label' is not in the header"),
        (["a.png,R"], "file,label,label", "field 'label' is not in the header"),
        ([], "file,label", "lists no picture"),
        ([], "", "field 'file' is not in the header"),
        (["a.png,R,1"], "file,label", "row 2 has 3 fields"),
        (["a.png"], "file,label", "row 2 has 1 fields"),
        (["a.png,R", "a.png,RR"], "file,label", "row 3: field 'label' is 'RR'"),
        (["a.png,"], "file,label", "field 'label' is ''"),
        (["a.png,é"], "file,label", "field 'label' is 'é'"),
        (["a.png,?"], "file,label", r"field 'label' is '\?'"),
        (["b.png,R"], "file,label", "row 2: field 'file', 'b.png', is no file in the folder"),
        ([",R"], "file,label", "field 'file', '', is no file"),
        (["../x.png,R"], "file,label", "'../x.png', leads out of the folder"),
        (["/etc/hostname,R"], "file,label", "leads out of the folder"),
        (["link.png,R"], "file,label", "leads out of the folder"),
        (["x" * 5000 + ",R"], "file,label", "is no file in the folder"),
        (["a\0.png,R"], "file,label", "labels.csv"),
        (['"a.png,R'], "file,label", "is not a CSV file"),
    ],
)
def test_a_bad_labels_csv_is_refused_with_file_and_field(tmp_path, rows, header, message):
    folder = tmp_path / "photos"
    save(folder, "a.png")
    save(tmp_path, "x.png")
    (folder / "link.png").symlink_to(tmp_path / "x.png")
    listing(folder, *rows, header=header)
    with pytest.raises(EdgemoeError, match=message) as caught:
        read_photos(folder)
    assert "labels.csv" in str(caught.value)


def test_a_labels_csv_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"file,label\n\xff\xfe,a\n")
    with pytest.raises(EdgemoeError, match=r"labels\.csv: is not a CSV file in UTF-8"):
        read_photos(tmp_path)


def png_that_claims(width, height):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def picture_bytes(form="PNG", **options):
    file = io.BytesIO()
    on_paper(drawing()).save(file, form, **options)
    return file.getvalue()


def text_bomb():
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 40_000_000, zip=True)
    return picture_bytes(pnginfo=info)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable PNG or JPEG"),
        (b"hello", "not a readable PNG or JPEG"),
        (picture_bytes()[:200], "not a readable PNG or JPEG"),
        (picture_bytes("JPEG")[:400], "not a readable PNG or JPEG"),
        (picture_bytes("GIF"), "not a readable PNG or JPEG"),
        (png_that_claims(20_000, 5_000), "more than 64,000,000 pixels"),
        (png_that_claims(60_000, 60_000), "more than 64,000,000 pixels"),
        (text_bomb(), "not a readable PNG or JPEG"),
        (Image.new("L", (50, 50), 200), "blank"),
        (Image.new("RGBA", (50, 50), (0, 0, 0, 0)), "blank"),
        (Image.new("L", (3, 2), 200), "too few"),
    ],
    ids=[
        "empty",
        "text",
        "PNG cut",
        "JPEG cut",
        "GIF",
        "large",
        "huge",
        "text bomb",
        "blank",
        "clear",
        "tiny",
    ],
)
def test_a_bad_picture_is_refused_by_name(tmp_path, content, message):
    if isinstance(content, bytes):
        (tmp_path / "a.png").write_bytes(content)
    else:
        save(tmp_path, "a.png", content)
    listing(tmp_path, "a.png,R")
    with pytest.raises(EdgemoeError, match=message) as caught:
        read_photos(tmp_path)
    assert str(tmp_path / "a.png") in str(caught.value)


def test_a_file_beyond_the_size_limit_is_refused_unread(tmp_path, monkeypatch):
    save(tmp_path, "a.png")
    listing(tmp_path, "a.png,R")
    monkeypatch.setattr(photos, "MAX_BYTES", 100)
    with pytest.raises(EdgemoeError, match=r"a\.png: larger than the 100 bytes"):
        read_photos(tmp_path)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8))
def test_a_damaged_picture_is_read_or_refused(tmp_path_factory, position, damage):
    folder = tmp_path_factory.mktemp("damaged")
    for form in ("PNG", "JPEG"):
        content = bytearray(picture_bytes(form))
        content[position : position + len(damage)] = damage
        (folder / "a.png").write_bytes(content)
        listing(folder, "a.png,R")
        with contextlib.suppress(EdgemoeError):
            assert read_photos(folder)[0].shape == (1, 28, 28)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "neither a labels.csv nor pictures"),
        (lambda folder: (folder / "A").mkdir(), "neither a labels.csv nor pictures"),
        (lambda folder: save(folder, "AB/1.png"), "AB: its name is none of the 62 characters"),
        (lambda folder: save(folder, "a_upper/1.png"), "a_upper: its name is none of the 62 characters"),
        (lambda folder: save(folder, "A/1.bmp"), r"1\.bmp: is not a \.png, \.jpg or \.jpeg file"),
        (lambda folder: (folder / "A" / "1.png").mkdir(parents=True), r"1\.png: is not a file"),
    ],
)
def test_a_folder_without_labelled_pictures_is_refused(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(EdgemoeError, match=message):
        read_photos(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(EdgemoeError, match="cannot be read"):
        read_photos(tmp_path / "nowhere")


def test_all_real_photos_are_read_in_seconds(shared_data):
    with open(shared_data / "photos" / "labels.csv", newline="") as file:
        expected = [row["label"] for row in csv.DictReader(file)]
    start = time.perf_counter()
    images, labels, writers = read_photos(shared_data / "photos")
    assert time.perf_counter() - start < 30  # 2 seconds on an idle core
    assert labels.tolist() == expected
    assert len(images) == 496
    assert writers is None
    ink = images.mean(axis=(1, 2)) / 255
    assert ink.min() > 0.02
    assert ink.max() < 0.45  # an image with paper and ink exchanged is above
    assert (images.max(axis=(1, 2)) > 200).all()
