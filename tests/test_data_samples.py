"""The reader of samples: what it returns, and that it refuses all else with one error."""

import contextlib
import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgemoe.data import load_samples
from edgemoe.data import samples as samples_module
from edgemoe.errors import EdgemoeError

rng = np.random.default_rng(0)
IMAGES = {
    "image": rng.integers(0, 256, (3, 28, 28), np.uint8),
    "label": np.frombuffer(b"Az7", np.uint8),
    "writer": np.array([4, 4, 9]),
}
STROKES = {
    "points": np.array([[0, 0], [0, 9], [5, 5], [7, 8], [9, 9]], np.int16),
    "stroke_length": np.array([2, 1, 2], np.int32),
    "sample_stroke_offset": np.array([0, 2, 3], np.int32),
    "label": np.frombuffer(b"iq", np.uint8),
    "writer": np.array([1, 0], np.int32),
    "writer_id": np.array(["anna", "ben"]),
}


def save(path, fields, **changes):
    merged = {name: value for name, value in {**fields, **changes}.items() if value is not None}
    with open(path, "wb") as file:
        np.savez_compressed(file, **merged)
    return path


def test_an_image_archive_comes_back_as_it_was_written(tmp_path):
    images, labels, writers = load_samples(save(tmp_path / "a.npz", IMAGES))
    np.testing.assert_array_equal(images, IMAGES["image"])
    assert labels.tolist() == ["A", "z", "7"]
    assert labels.dtype == np.dtype("<U1")
    assert writers.tolist() == [4, 4, 9]


def test_the_format_is_told_by_the_content_not_the_name(tmp_path):
    assert len(load_samples(save(tmp_path / "photo.png", IMAGES))[0]) == 3
    assert len(load_samples(save(tmp_path / "no:ending:test", STROKES))[0]) == 2
    assert len(load_samples(str(save(tmp_path / "emnist.zip", STROKES)))[0]) == 2


@pytest.mark.parametrize(
    "labels", [np.array(["A", "z", "7"]), np.array(["A", "z", "7"], ">U3"), np.array([65, 122, 55], ">i8")]
)
def test_labels_may_be_text_or_ascii_codes_of_any_width(tmp_path, labels):
    assert load_samples(save(tmp_path / "a.npz", IMAGES, label=labels))[1].tolist() == ["A", "z", "7"]


def test_announced_symbols_may_be_labels_in_every_format(tmp_path):
    labels = np.array(["+", "z", "="])
    for fields in (IMAGES, STROKES):
        path = save(tmp_path / "a.npz", fields, label=labels[: len(fields["label"])])
        assert load_samples(path, "=+")[1].tolist() == labels[: len(fields["label"])].tolist()
        with pytest.raises(EdgemoeError, match=r"a\.npz: field 'label': sample 0 is '\+', none of the 62 characters$"):
            load_samples(path)
    for folder, name in (("sorted", "+/1.png"), ("listed", "1.png")):
        picture = tmp_path / folder / name
        picture.parent.mkdir(parents=True)
        Image.fromarray(np.pad(np.zeros((30, 6), np.uint8), 20, constant_values=220)).save(picture)
    (tmp_path / "listed" / "labels.csv").write_text("file,label\n1.png,+\n")
    for folder in ("sorted", "listed"):
        assert load_samples(tmp_path / folder, "+")[1].tolist() == ["+"]
        with pytest.raises(EdgemoeError, match="none of the 62 characters"):
            load_samples(tmp_path / folder)


def test_digits_as_numbers_are_digits_as_mnist_writes_them(tmp_path):
    path = save(tmp_path / "a.npz", IMAGES, label=np.array([0, 9, 3], np.uint8))
    assert load_samples(path)[1].tolist() == ["0", "9", "3"]


def test_pen_strokes_are_rendered_and_writers_named(tmp_path):
    images, labels, writers = load_samples(save(tmp_path / "a.npz", STROKES))
    assert images.shape == (2, 28, 28)
    assert images.dtype == np.uint8
    assert labels.tolist() == ["i", "q"]
    assert writers.tolist() == ["ben", "anna"]


def test_writers_without_names_stay_numbers_and_may_be_absent(tmp_path):
    assert load_samples(save(tmp_path / "a.npz", STROKES, writer_id=None))[2].tolist() == [1, 0]
    assert load_samples(save(tmp_path / "b.npz", STROKES, writer_id=np.arange(2)))[2].tolist() == [1, 0]
    assert load_samples(save(tmp_path / "c.npz", STROKES, writer=None))[2] is None
    names = np.array(["é", "b", "c"])
    assert load_samples(save(tmp_path / "d.npz", IMAGES, writer=names))[2].tolist() == names.tolist()


def test_images_in_fortran_order_are_not_scrambled(tmp_path):
    path = save(tmp_path / "a.npz", IMAGES, image=np.asfortranarray(IMAGES["image"]))
    images, _, _ = load_samples(path)
    np.testing.assert_array_equal(images, IMAGES["image"])
    assert images.flags.c_contiguous


BAD_TEXT = np.array([0x110000, 0xD800], "<u4").view("<U1")


@pytest.mark.parametrize(
    ("fields", "changes", "field"),
    [
        (IMAGES, {"label": None}, "label"),
        (IMAGES, {"label": IMAGES["label"][:2]}, "image"),
        (IMAGES, {"label": np.array([65, 200, 66], np.uint8)}, "label"),
        (IMAGES, {"label": np.array([65, 33, 66], np.uint8)}, "label"),
        (IMAGES, {"label": np.array([-1, 65, 66])}, "label"),
        (IMAGES, {"label": np.array([2**64 - 1, 65, 66], np.uint64)}, "label"),
        (IMAGES, {"label": np.array([0, 9, 65], np.uint8)}, "label"),
        (IMAGES, {"label": np.array(["A", "é", "7"])}, "label"),
        (IMAGES, {"label": np.array(["A", "", "7"])}, "label"),
        (IMAGES, {"label": np.array(["A", "AB", "7"])}, "label"),
        (IMAGES, {"label": np.array([1.0, 2.0, 3.0])}, "label"),
        (IMAGES, {"label": IMAGES["label"].reshape(3, 1)}, "label"),
        (IMAGES, {"label": np.array(["A", "b", "7"], object)}, "label"),
        (IMAGES, {"image": IMAGES["image"].astype(object)}, "image"),
        (IMAGES, {"image": IMAGES["image"] / 255}, "image"),
        (IMAGES, {"image": IMAGES["image"].reshape(3, 784)}, "image"),
        (IMAGES, {"writer": np.arange(2)}, "writer"),
        (IMAGES, {"writer": np.array([0.5, 1, 2])}, "writer"),
        (IMAGES, {"image": np.zeros((0, 28, 28), np.uint8), "label": np.zeros(0, np.uint8)}, "label"),
        (STROKES, {"stroke_length": None}, "stroke_length"),
        (STROKES, {"sample_stroke_offset": None}, "sample_stroke_offset"),
        (STROKES, {"points": STROKES["points"].astype(np.float64)}, "points"),
        (STROKES, {"points": STROKES["points"].ravel()}, "points"),
        (STROKES, {"points": STROKES["points"][:4]}, "stroke_length"),
        (STROKES, {"stroke_length": np.array([2, -1, 4])}, "stroke_length"),
        (STROKES, {"stroke_length": np.array([2, 2**62, 2**62])}, "stroke_length"),
        (STROKES, {"stroke_length": np.array([2.0, 1.0, 2.0])}, "stroke_length"),
        (STROKES, {"sample_stroke_offset": np.array([0, 4, 3])}, "sample_stroke_offset"),
        (STROKES, {"sample_stroke_offset": np.array([0, 0, 3])}, "sample_stroke_offset"),
        (STROKES, {"sample_stroke_offset": np.array([1, 2, 3])}, "sample_stroke_offset"),
        (STROKES, {"sample_stroke_offset": np.array([0, 3])}, "sample_stroke_offset"),
        (STROKES, {"writer": np.array([0, 2])}, "writer"),
        (STROKES, {"writer": np.array([0, -1])}, "writer"),
        (STROKES, {"writer_id": BAD_TEXT}, "writer_id"),
    ],
)
def test_a_bad_field_is_named_together_with_its_file(tmp_path, fields, changes, field):
    path = save(tmp_path / "bad.npz", fields, **changes)
    with pytest.raises(EdgemoeError, match=rf"bad\.npz: field '{field}'") as caught:
        load_samples(path)
    assert "\n" not in str(caught.value)


def forge(path, name, header, body=b""):
    """An .npz whose field `name` has a header of our choice."""
    text = header.encode() + b" " * 20 + b"\n"
    buffer = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for other, value in IMAGES.items():
            content = io.BytesIO()
            np.save(content, value)
            archive.writestr(f"{other}.npy", buffer if other == name else content.getvalue())
    return path


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (999999999, 28, 28)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (900000, 28, 28)}",  # within limits, but a lie
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-3, 28, 28)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 28, 28), 'x': 1}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3, 28, 28)}",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (3, 28, 28)}",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (3, 28, 28)}",
        "__import__('os').abort()",
        "(" * 5000,
        "",
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, header):
    with pytest.raises(EdgemoeError, match=r"bad\.npz: field 'image'"):
        load_samples(forge(tmp_path / "bad.npz", "image", header, b"\0" * 100))


def test_a_decompression_bomb_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2000000, 28, 28)}"
    path = forge(tmp_path / "bad.npz", "image", header, b"\0" * (1 << 24))
    read = []
    original = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: read.append(len(r := original(self, n))) or r)
    with pytest.raises(EdgemoeError, match=r"bad\.npz: field 'image' .* above the limit"):
        load_samples(path)
    assert sum(read) < 1 << 16


def test_values_after_the_array_are_refused(tmp_path):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 28, 28)}"
    with pytest.raises(EdgemoeError, match="goes on"):
        load_samples(forge(tmp_path / "bad.npz", "image", header, b"\0" * (3 * 784 + 1)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return save(tmp_path_factory.mktemp("whole") / "a.npz", STROKES).read_bytes()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_gives_the_samples_or_an_edgemoe_error(tmp_path, whole, data):
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path = tmp_path / "damaged.npz"
    path.write_bytes(content)
    with contextlib.suppress(EdgemoeError):
        images, labels, _ = load_samples(path)
        assert images.shape == (len(labels), 28, 28)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_cleanly(tmp_path, content):
    path = tmp_path / "bytes.npz"
    path.write_bytes(content)
    with pytest.raises(EdgemoeError, match=r"bytes\.npz"):
        load_samples(path)


@pytest.mark.parametrize("cut", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, whole, cut):
    path = tmp_path / "cut.npz"
    path.write_bytes(whole[: int(cut * len(whole)) if isinstance(cut, float) else cut])
    with pytest.raises(EdgemoeError, match=r"cut\.npz"):
        load_samples(path)


def test_what_is_no_file_or_no_known_format_is_refused(tmp_path):
    with pytest.raises(EdgemoeError, match=r"nowhere\.npz: no such file"):
        load_samples(tmp_path / "nowhere.npz")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EdgemoeError, match="pipe: not a file"):
        load_samples(tmp_path / "pipe")  # and does not wait for a writer
    with pytest.raises(EdgemoeError, match="neither a field 'points'"):
        load_samples(save(tmp_path / "other.npz", {"x": np.zeros(3)}))
    with pytest.raises(EdgemoeError, match="not a path"):
        load_samples("a\0b")


def test_a_folder_goes_to_the_reader_of_photos(tmp_path, monkeypatch):
    photos = pytest.importorskip("edgemoe.data.photos", reason="the reader of photos is not here")
    monkeypatch.setattr(photos, "read_photos", lambda folder, symbols: ("images", str(folder), None))
    assert samples_module.load_samples(tmp_path) == ("images", str(tmp_path), None)


def test_the_project_data_loads(shared_data):
    images, labels, writers = load_samples(shared_data / "mnist_by_writer" / "digits.npz")
    assert images.shape == (33720, 28, 28)
    assert set(labels) == set("0123456789")
    assert len(set(writers)) == 400
