"""The list of what data is there."""

import shutil
import sys
import time

import numpy as np
import pytest

from edgemoe.data.catalog import list_data
from edgemoe.errors import EdgemoeError


@pytest.fixture(autouse=True)
def empty_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setitem(sys.modules, "emnist", None)


def save_images(path, n=2):
    path.parent.mkdir(exist_ok=True)
    np.savez(path, image=np.zeros((n, 28, 28), np.uint8), label=np.array(["a"] * n), writer=np.arange(n))


def test_an_empty_folder_lists_what_can_be_had_and_how(tmp_path):
    records = list_data(tmp_path)
    assert len(records) == 5
    assert not any(record.present for record in records)
    assert all(record.note and record.source != "not known" for record in records)


def test_a_users_own_files_are_counted(tmp_path):
    save_images(tmp_path / "mine.npz")
    save_images(tmp_path / "more" / "others.npz", 3)
    found = {record.name: record for record in list_data(tmp_path) if record.present}
    assert set(found) == {"mine.npz", "more/others.npz"}
    mine = found["mine.npz"]
    assert (mine.samples, mine.classes, mine.writers) == (2, 1, 2)
    assert mine.source == mine.licence == "not known"


def test_photos_are_counted_in_both_layouts(tmp_path):
    table = tmp_path / "table" / "photos"
    table.mkdir(parents=True)
    (table / "labels.csv").write_text("file,label\na.png,a\nb.png,b\nc.png,a\n")
    folders = tmp_path / "folders" / "photos"
    for label, n in (("a", 2), ("7", 1)):
        (folders / label).mkdir(parents=True)
        for i in range(n):
            (folders / label / f"{i}.png").write_bytes(b"")
    for root in (table.parent, folders.parent):
        (record,) = [record for record in list_data(root) if record.present]
        assert (record.samples, record.classes) == (3, 2)


def test_a_broken_file_is_listed_with_its_error(tmp_path):
    (tmp_path / "emnist").mkdir()
    (tmp_path / "emnist" / "emnist.zip").write_bytes(b"broken")
    (tmp_path / "broken.npz").write_bytes(b"broken")
    broken = [record for record in list_data(tmp_path) if record.present]
    assert len(broken) == 2
    assert all("damaged" in record.note and record.samples is None for record in broken)


def test_the_folder_comes_from_the_argument_then_the_environment_then_the_cache(tmp_path, monkeypatch):
    save_images(tmp_path / "a" / "by_argument.npz")
    save_images(tmp_path / "b" / "by_environment.npz")
    monkeypatch.setenv("EDGEMOE_DATA", str(tmp_path / "b"))
    assert "by_argument.npz" in {record.name for record in list_data(tmp_path / "a")}
    assert "by_environment.npz" in {record.name for record in list_data()}
    monkeypatch.delenv("EDGEMOE_DATA")
    (record,) = list_data()
    assert record.path.endswith(".cache/emnist/emnist.zip")
    assert not record.present
    assert "by hand" in record.note


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(EdgemoeError, match="nowhere"):
        list_data(tmp_path / "nowhere")


def test_the_project_data_is_listed_quickly_with_its_provenance(shared_data):
    begin = time.process_time()
    records = {record.name: record for record in list_data(shared_data)}
    assert time.process_time() - begin < 1
    figures = {name: (record.samples, record.classes, record.writers) for name, record in records.items()}
    assert figures["EMNIST byclass-part test"] == (16000, 62, None)
    assert figures["EMNIST bymerge-part train"] == (91839, 47, None)
    assert figures["UNIPEN writers"] == (34451, 62, 40)
    assert figures["MNIST by writer"] == (33720, 10, 400)
    assert figures["photos"] == (496, 62, None)
    for name, record in records.items():
        if "-part" in name:
            assert "part of the official" in record.source
            assert "test split" in record.source


def test_the_cache_stands_in_for_a_folder_without_emnist(shared_data, tmp_path, monkeypatch):
    cache = tmp_path / ".cache" / "emnist" / "emnist.zip"
    cache.parent.mkdir(parents=True)
    shutil.copy(shared_data / "emnist" / "emnist.zip", cache)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    present = [record for record in list_data(tmp_path / "data") if record.present]
    assert len(present) == 4
    assert all(record.path.startswith(str(cache)) for record in present)
