"""A folder of photos: read in the order of its labels.csv or by its sub-folders, or refused by file and field."""

import csv
import time

import numpy as np
import pytest
from photographed import REFERENCE, drawing, listing, on_paper, save, unlike

from edgemoe.data.photos import read_ink, read_photos
from edgemoe.errors import EdgemoeError


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
