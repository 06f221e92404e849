"""EMNIST archives: what is read from them, and what is refused."""

import gzip
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgemoe.classes import CLASS_SETS
from edgemoe.data import load_samples
from edgemoe.data.emnist import cache_path
from edgemoe.errors import EdgemoeError

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (3, 28, 28), np.uint8)


def idx(array, **wrong):
    extents = wrong.get("extents", array.shape)
    header = bytes([0, 0, wrong.get("kind", 8), array.ndim]) + struct.pack(f">{len(extents)}I", *extents)
    return header + array.astype(np.uint8).tobytes()


def member(name, split, kind):
    return f"gzip/emnist-{name}-{split}-{kind}-ubyte.gz"


def archive(path, name="digits", codes=(0, 1, 2), images=None, labels=None, mapping=None, split="test"):
    """An archive of one set: as it should be, but for the raw IDX files that are given."""
    images = idx(IMAGES.swapaxes(1, 2)) if images is None else images
    labels = idx(np.array(codes)) if labels is None else labels
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(member(name, split, "images-idx3"), gzip.compress(images))
        file.writestr(member(name, split, "labels-idx1"), gzip.compress(labels))
        if mapping is not None:
            file.writestr(f"gzip/emnist-{name}-mapping.txt", mapping)
    return path


def test_images_come_back_upright(tmp_path):
    images, labels, writers = load_samples(f"{archive(tmp_path / 'e.zip')}:digits:test")
    np.testing.assert_array_equal(images, IMAGES)
    assert images.flags.c_contiguous
    assert labels.tolist() == ["0", "1", "2"]
    assert writers is None


@pytest.mark.parametrize(
    ("name", "codes", "labels"),
    [
        ("byclass", (0, 35, 61), ["0", "Z", "z"]),
        ("bymerge", (10, 36, 46), ["A", "a", "t"]),
        ("balanced", (9, 38, 44), ["9", "d", "q"]),
        ("letters", (1, 2, 26), ["A", "B", "Z"]),
        ("mnist", (7, 0, 9), ["7", "0", "9"]),
        ("byclass-part", (10, 36, 61), ["A", "a", "z"]),
    ],
)
def test_official_sets_need_no_mapping_file(tmp_path, name, codes, labels):
    path = archive(tmp_path / "e.zip", name, codes, split="train")
    assert load_samples(f"{path}:{name}:train")[1].tolist() == labels


def test_a_mapping_file_goes_before_the_official_order(tmp_path):
    path = archive(tmp_path / "e.zip", "letters", (1, 2, 3), mapping="1 90 122\n2 55\r\n3 97\n")
    assert load_samples(f"{path}:letters:test")[1].tolist() == ["Z", "7", "a"]


@pytest.mark.parametrize("mapping", ["0 48\n1 33\n2 50", "0 48 x", "0\n", "zero 48", "0 999", "-1 48", "²  48"])
def test_a_malformed_mapping_is_refused(tmp_path, mapping):
    path = archive(tmp_path / "e.zip", mapping=mapping)
    with pytest.raises(EdgemoeError, match=r"e\.zip: member gzip/emnist-digits-mapping\.txt .* malformed line"):
        load_samples(f"{path}:digits:test")


def test_a_label_without_a_character_is_refused(tmp_path):
    for name, codes in (("letters", (1, 0, 2)), ("digits", (1, 2, 10))):
        path = archive(tmp_path / "e.zip", name, codes)
        with pytest.raises(EdgemoeError, match=r"e\.zip: .*labels.* has the label \d+, which the mapping lacks"):
            load_samples(f"{path}:{name}:test")


@pytest.mark.parametrize("selection", ["digits:train", "nothing:test", "digits", ":", "digits:test:", "a:b:c"])
def test_an_unknown_set_or_split_gets_a_list_of_those_there(tmp_path, selection):
    path = archive(tmp_path / "e.zip")
    with pytest.raises(EdgemoeError, match=r"e\.zip.*(digits:test|no such file)"):
        load_samples(f"{path}:{selection}")
    with pytest.raises(EdgemoeError, match=r"add :SET:SPLIT to its name, one of digits:test"):
        load_samples(path)


def test_a_set_that_is_not_official_needs_a_mapping(tmp_path):
    with pytest.raises(EdgemoeError, match="not an official one"):
        load_samples(f"{archive(tmp_path / 'e.zip', 'runes')}:runes:test")


RAW = idx(IMAGES)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (RAW[:-1], "ends after"),
        (RAW + b"x", "goes on"),
        (RAW[:10], "not an IDX file"),
        (b"", "not an IDX file"),
        (idx(IMAGES, kind=0x0D), "not an IDX file"),
        (b"\1" + RAW[1:], "not an IDX file"),
        (idx(IMAGES[0]), "not an IDX file"),
        (idx(IMAGES, extents=(3, 784, 1)), "has the shape"),
        (idx(IMAGES, extents=(0, 28, 28)), "has the shape"),
        (idx(IMAGES, extents=(2**32 - 1, 28, 28)), "has the shape"),
        (idx(IMAGES, extents=(1_000_000, 28, 28)), "ends after"),
        (idx(IMAGES[:2]), "2 images and 3 labels"),
    ],
)
def test_a_broken_idx_file_is_refused(tmp_path, images, words):
    path = archive(tmp_path / "e.zip", images=images)
    with pytest.raises(EdgemoeError, match=rf"e\.zip: .*{words}"):
        load_samples(f"{path}:digits:test")


def test_labels_must_be_an_idx_file_of_one_dimension(tmp_path):
    path = archive(tmp_path / "e.zip", labels=idx(np.zeros((3, 1))))
    with pytest.raises(EdgemoeError, match="labels-idx1"):
        load_samples(f"{path}:digits:test")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_archive_gives_its_samples_or_an_edgemoe_error(tmp_path, data):
    content = bytearray(archive(tmp_path / "whole.zip", images=idx(np.zeros((3, 28, 28)))).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path = tmp_path / "damaged.zip"
    path.write_bytes(content)
    try:
        images, labels, _ = load_samples(f"{path}:digits:test")
    except EdgemoeError:
        return
    assert images.shape == (3, 28, 28)
    assert len(labels) == 3


def test_the_cache_is_where_the_emnist_package_has_it(monkeypatch):
    emnist = pytest.importorskip("emnist", reason="the emnist package is optional")
    assert cache_path() == Path(emnist.get_cached_data_path())
    monkeypatch.setattr(emnist, "CACHE_FILE_PATH", "~/elsewhere/e.zip")
    assert cache_path() == Path.home() / "elsewhere" / "e.zip"


def test_the_cache_is_the_same_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "emnist", None)
    assert cache_path() == Path.home() / ".cache" / "emnist" / "emnist.zip"


def test_the_emnist_package_reads_the_same_images(shared_data, monkeypatch):
    emnist = pytest.importorskip("emnist", reason="the emnist package is optional")
    path = shared_data / "emnist" / "emnist.zip"
    monkeypatch.setattr(emnist, "CACHE_FILE_PATH", str(path))

    def parse(data):  # the package's own fails with NumPy 2.4
        n, shape = data[3], ()
        shape = struct.unpack(f">{n}I", data[4 : 4 + 4 * n])
        return np.frombuffer(data, np.uint8, offset=4 + 4 * n).reshape(shape)

    monkeypatch.setattr(emnist, "parse_idx", parse)
    theirs, codes = emnist.extract_test_samples("byclass-part")
    images, labels, _ = load_samples(f"{path}:byclass-part:test")
    np.testing.assert_array_equal(images, theirs)
    np.testing.assert_array_equal(labels, np.array(list(CLASS_SETS["byclass"]))[codes])
