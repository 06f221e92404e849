"""Bundles: what goes in comes out, and a file that is not one is one clear error."""

import dataclasses
import hashlib
import io
import json
import zipfile

import numpy as np
import pytest

from edgemoe.device.bundle import LIMIT, MEMBERS, TAPS, Bundle, fingerprint, read_bundle, write_bundle
from edgemoe.device.global_expert import load_global_expert
from edgemoe.device.retention import RetentionSet
from edgemoe.device.statistics import measure_statistics
from edgemoe.errors import EdgemoeError

METADATA = {"name": "tiny", "classes": "012", "shape": [1, 1, 2], "feature_map": [1, 5, 5], "figures": {}}


def make_bundle(seed=0, n=8):
    rng = np.random.default_rng(seed)
    codes = {tap: rng.integers(0, 256, (n, width), np.uint8) for tap, width in zip(TAPS, (3, 25), strict=True)}
    retention = RetentionSet(
        codes,
        dict.fromkeys(TAPS, 0.125),
        {"logits": 100, "features": 7},
        rng.integers(0, 3, n).astype(np.uint8),
    )
    statistics = measure_statistics(rng.standard_normal((40, 25)).astype(np.float32), METADATA["feature_map"])
    return Bundle(METADATA, rng.bytes(300), rng.bytes(200), retention, statistics)


@pytest.fixture
def path(tmp_path):
    write_bundle(tmp_path / "tiny.bundle", make_bundle())
    return tmp_path / "tiny.bundle"


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, contents, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def sealed(contents):
    """The members under a fingerprint that matches them: what a forger would write."""
    metadata = json.loads(contents["metadata.json"])
    mark = fingerprint(metadata["classes"], *(contents[name] for name in MEMBERS[1:])).hex()
    return {**contents, "metadata.json": json.dumps({**metadata, "fingerprint": mark}).encode()}


def refused(path, message):
    with pytest.raises(EdgemoeError, match=rf"tiny\.bundle: .*{message}"):
        read_bundle(path)


def test_what_goes_in_comes_out(path):
    made, back = make_bundle(), read_bundle(path)
    assert (back.float32, back.int8) == (made.float32, made.int8)
    assert {**back.metadata, **METADATA} == back.metadata
    assert back.metadata["version"] == 2
    assert back.retention.scales == made.retention.scales
    assert back.retention.zeros == made.retention.zeros
    assert np.array_equal(back.retention.labels, made.retention.labels)
    assert all(np.array_equal(back.retention.codes[tap], made.retention.codes[tap]) for tap in TAPS)
    for field in dataclasses.fields(made.statistics):
        assert np.array_equal(getattr(back.statistics, field.name), getattr(made.statistics, field.name))


def test_the_same_expert_gives_the_same_bytes(path, tmp_path):
    write_bundle(tmp_path / "again.bundle", make_bundle())
    write_bundle(tmp_path / "copied.bundle", read_bundle(path))
    assert (tmp_path / "again.bundle").read_bytes() == path.read_bytes()
    assert members(tmp_path / "copied.bundle") == members(path)


def test_the_fingerprint_is_sha256_of_the_classes_and_of_each_parts_sha256(path):
    contents = members(path)
    parts = b"".join(hashlib.sha256(contents[name]).digest() for name in MEMBERS[1:])
    mark = hashlib.sha256(b"012" + parts).hexdigest()
    assert read_bundle(path).metadata["fingerprint"] == mark


def test_another_expert_has_another_fingerprint(tmp_path):
    marks = set()
    for seed in range(3):
        write_bundle(tmp_path / "b", make_bundle(seed))
        marks.add(read_bundle(tmp_path / "b").metadata["fingerprint"])
    assert len(marks) == 3
    assert fingerprint("ab", b"c") != fingerprint("a", b"bc")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "not a whole edgemoe bundle")


def test_a_flipped_byte_anywhere_in_the_content_is_refused(path):
    content, whole = path.read_bytes(), read_bundle(path)
    refusals = 0
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        path.write_bytes(bytes(damaged))
        try:
            read = read_bundle(path)
        except EdgemoeError as error:
            refusals += "tiny.bundle: " in str(error)
        else:  # a date or another field of the archive that means nothing
            assert (read.metadata, read.float32, read.int8) == (whole.metadata, whole.float32, whole.int8)
    assert refusals > len(content) / 7 * 0.7


@pytest.mark.parametrize("member", MEMBERS)
def test_a_missing_member_is_refused_by_name(path, member):
    contents = members(path)
    del contents[member]
    rewrite(path, contents)
    refused(path, member.replace(".", r"\."))


@pytest.mark.parametrize("member", MEMBERS[1:])
def test_a_part_of_another_expert_is_refused(path, tmp_path, member):
    write_bundle(tmp_path / "other.bundle", make_bundle(seed=1))
    rewrite(path, {**members(path), member: members(tmp_path / "other.bundle")[member]})
    refused(path, "does not match its fingerprint")


def test_classes_changed_under_an_old_fingerprint_are_refused(path):
    contents = members(path)
    rewrite(path, {**contents, "metadata.json": contents["metadata.json"].replace(b'"012"', b'"120"')})
    refused(path, "does not match its fingerprint")


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_is_refused_as_such(path, version):
    contents = members(path)
    del contents["statistics.npz"]  # the first version had none; it is the version that is spoken of
    metadata = contents["metadata.json"].replace(b'"version": 2', b'"version": %d' % version)
    rewrite(path, {**contents, "metadata.json": metadata})
    refused(path, f"version {version}, and this edgemoe reads 2")


@pytest.mark.parametrize("metadata", [b"", b"[]", b"{}", b"\xff", b'{"version": 2}', b"null"])
def test_metadata_that_are_none_are_refused(path, metadata):
    rewrite(path, {**members(path), "metadata.json": metadata})
    refused(path, "not a whole edgemoe bundle")


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(path):
    rewrite(path, {**members(path), "float32.onnx": bytes(LIMIT + 1)})
    assert path.stat().st_size < 200_000
    refused(path, "unpacks to more than")


@pytest.mark.parametrize("member", ["retention.npz", "statistics.npz"])
def test_a_bomb_inside_an_archive_is_refused(path, member):
    inner = io.BytesIO()
    rewrite(inner, {"labels.npy": bytes(LIMIT + 1)})
    rewrite(path, sealed({**members(path), member: inner.getvalue()}))
    refused(path, rf"{member}: unpacks to more than")


def test_a_method_that_may_ask_for_any_memory_is_refused(path):
    contents = members(path)
    rewrite(path, contents, zipfile.ZIP_LZMA)
    refused(path, "packed by LZMA")


def test_a_file_above_the_limit_is_refused_unread(path):
    with open(path, "r+b") as file:
        file.truncate(LIMIT + 1)  # sparse: takes no room on the disk
    refused(path, "larger than")


def changed(member, **changes):
    """The bytes of an archive with some arrays changed, or left out if None."""
    with np.load(io.BytesIO(member)) as arrays:
        kept = {**dict(arrays), **changes}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in kept.items() if array is not None})
    return buffer.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"features": np.zeros((8, 25), np.float32)},
        {"features": np.zeros((7, 25), np.uint8)},
        {"logits": np.zeros(8, np.uint8)},
        {"labels": None},
        {"features_scale": None},
        {"features_zero": np.zeros(0, np.uint8)},
        {"labels": np.array([{}] * 8, object)},
    ],
    ids=str,
)
def test_a_forged_retention_set_is_refused(path, changes):
    contents = members(path)
    rewrite(path, sealed({**contents, "retention.npz": changed(contents["retention.npz"], **changes)}))
    refused(path, "(not a whole edgemoe bundle|not uint8 matrices)")


def test_a_retention_set_too_small_to_be_parted_is_refused(tmp_path):
    write_bundle(tmp_path / "tiny.bundle", make_bundle(n=7))
    refused(tmp_path / "tiny.bundle", "its retention set's labels are unusable, or are fewer than 8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": None}, "not a whole edgemoe bundle"),
        ({"step": np.zeros(3)}, "not a whole edgemoe bundle"),
        ({"mean": np.zeros(25)}, r"statistics\.npz: its arrays do not fit each other"),
        ({"codes": np.zeros(299, np.int8)}, r"statistics\.npz: its arrays do not fit each other"),
        ({"codes": np.zeros(300, np.int16)}, r"statistics\.npz: its arrays do not fit each other"),
        ({"roots": np.ones((25, 1), np.float32)}, r"statistics\.npz: its arrays do not fit each other"),
        ({"roots": np.zeros(25, np.float32)}, r"statistics\.npz: a scale is not positive"),
        (
            {"mean": np.full(25, np.nan, np.float32)},
            r"statistics\.npz: a scale is not positive, or a number not finite",
        ),
        ({"step": np.float64(-1)}, r"statistics\.npz: a scale is not positive"),
        ({"feature_scale": np.float64(0)}, r"statistics\.npz: a scale is not positive"),
        ({"pooled_scale": np.float64("inf")}, r"statistics\.npz: a scale is not positive"),
    ],
    ids=str,
)
def test_forged_statistics_are_refused(path, changes, message):
    contents = members(path)
    rewrite(path, sealed({**contents, "statistics.npz": changed(contents["statistics.npz"], **changes)}))
    refused(path, message)


def test_statistics_of_another_number_of_features_are_refused(path):
    few = measure_statistics(np.eye(9, dtype=np.float32), (1, 3, 3))
    write_bundle(path, dataclasses.replace(make_bundle(), statistics=few))
    refused(path, "statistics of 9 features, not 25")


def test_a_pickle_is_never_opened(path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    contents = members(path)
    for member, field in (("retention.npz", "labels"), ("statistics.npz", "codes")):
        trapped = changed(contents[member], **{field: np.array([Trap()] * 8, object)})
        rewrite(path, sealed({**contents, member: trapped}))
        refused(path, "allow_pickle")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EdgemoeError, match=r"none\.bundle: cannot be read"):
        read_bundle(tmp_path / "none.bundle")


def test_the_shipped_bundle_is_whole_and_small():
    bundle = load_global_expert().bundle
    assert set(MEMBERS[1:]) == {"float32.onnx", "int8.onnx", "retention.npz", "statistics.npz"}
    assert len(bundle.int8) < 0.5 * len(bundle.float32)
    assert len(bundle.retention) >= 500
    assert bundle.retention.labels.max() < len(bundle.metadata["classes"]) == 47
    widths = [bundle.retention.codes[tap].shape[1] for tap in TAPS]
    assert widths == [47, 25 * bundle.metadata["shape"][1]]
    assert bundle.metadata["feature_map"] == [bundle.metadata["shape"][1], 5, 5]
