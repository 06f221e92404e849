"""A photo that is damaged, too large or no picture at all is refused by its name."""

import contextlib
import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photographed import drawing, listing, on_paper, save
from PIL import Image, PngImagePlugin

from edgemoe.data import photos
from edgemoe.data.photos import read_photos
from edgemoe.errors import EdgemoeError


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
