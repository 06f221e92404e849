"""Characters without labels: the same images as with them, and what has labels is left to the other reader."""

import io

import numpy as np
import pytest
from PIL import Image

from edgemoe.data import load_samples, load_unlabelled
from edgemoe.errors import EdgemoeError
from edgemoe.simulator import simulated_samples

IMAGES, LABELS = simulated_samples(1, 1, "07Ab")
STROKES = {
    "points": np.array([[0, 0], [0, 9], [5, 5], [7, 8], [9, 9]], np.int16),
    "stroke_length": np.array([2, 1, 2], np.int32),
    "sample_stroke_offset": np.array([0, 2, 3], np.int32),
}


def photo(path, image, form="PNG"):
    path.parent.mkdir(exist_ok=True)
    paper = Image.fromarray(230 - (image // 255 * 170).astype(np.uint8)).resize((140, 140))
    paper.save(path, form)
    return path


def test_a_folder_of_pictures_is_read_by_name_as_with_labels(tmp_path):
    for name, image in zip(("b.png", "a.PNG", "c.png"), IMAGES, strict=False):
        photo(tmp_path / "photos" / name, image)
    (tmp_path / "photos" / ".hidden").write_bytes(b"x")
    (tmp_path / "photos" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "photos" / "__MACOSX").mkdir()
    images, names = load_unlabelled(tmp_path / "photos")
    assert names == ["a.PNG", "b.png", "c.png"]
    (tmp_path / "photos" / "labels.csv").write_text("file,label\na.PNG,7\nb.png,0\nc.png,A\n")
    np.testing.assert_array_equal(images, load_samples(tmp_path / "photos")[0])


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_single_picture_is_told_by_its_content(form, tmp_path):
    path = photo(tmp_path / "A" / "photo.jpg", IMAGES[2], form)
    images, names = load_unlabelled(str(path))
    assert names == ["photo.jpg"]
    np.testing.assert_array_equal(images, load_samples(tmp_path)[0])


def test_archives_without_labels_give_the_images_of_those_with_them(tmp_path):
    for fields, labels in (({"image": IMAGES}, LABELS), (STROKES, np.array(["i", "q"]))):
        np.savez(tmp_path / "with.npz", label=labels, **fields)
        np.savez(tmp_path / "without.npz", **fields)
        images, names = load_unlabelled(tmp_path / "without.npz")
        assert names is None
        np.testing.assert_array_equal(images, load_samples(tmp_path / "with.npz")[0])
        assert load_unlabelled(tmp_path / "with.npz") is None
        with pytest.raises(EdgemoeError, match=r"without\.npz: field 'label' is missing"):
            load_samples(tmp_path / "without.npz")


def test_what_is_labelled_or_of_no_such_kind_is_left_to_the_other_reader(tmp_path):
    photo(tmp_path / "sorted" / "a.png", IMAGES[0])
    (tmp_path / "sorted" / "A").mkdir()
    photo(tmp_path / "listed" / "a.png", IMAGES[0])
    (tmp_path / "listed" / "labels.csv").write_text("file,label\na.png,0\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no picture")
    np.savez(tmp_path / "other.npz", pixels=IMAGES)
    for name in ("sorted", "listed", "empty", "text", "other.npz", "missing", "emnist.zip:balanced:test"):
        assert load_unlabelled(tmp_path / name) is None


def npz(**fields):
    buffer = io.BytesIO()
    np.savez(buffer, **fields)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npz(image=IMAGES / 255), "bad: field 'image' must be uint8"),
        (npz(image=IMAGES[:, :14]), r"bad: field 'image' has the shape \(4, 14, 28\), not \(n, 28, 28\)"),
        (npz(image=IMAGES[:0]), r"bad: field 'image' has the shape \(0, 28, 28\)"),
        (npz(**{**STROKES, "points": STROKES["points"][:3]}), "bad: field 'stroke_length'"),
        (npz(image=IMAGES)[:-30], "bad: damaged"),
        (b"\x89PNG\r\n\x1a\nrubbish", "bad: is not a readable PNG or JPEG picture"),
    ],
)
def test_a_broken_file_is_refused_by_name(content, message, tmp_path):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(EdgemoeError, match=message):
        load_unlabelled(tmp_path / "bad")


def test_a_folder_with_another_file_or_a_blank_picture_is_refused(tmp_path):
    photo(tmp_path / "a.png", IMAGES[0])
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(EdgemoeError, match=r"notes\.txt: is not a \.png"):
        load_unlabelled(tmp_path)
    (tmp_path / "notes.txt").unlink()
    Image.new("L", (50, 50), 200).save(tmp_path / "blank.png")
    with pytest.raises(EdgemoeError, match=r"blank\.png"):
        load_unlabelled(tmp_path)


def test_a_path_that_is_none_is_left_to_the_other_reader():
    assert load_unlabelled("a\0b") is None
