"""Bundles: what goes in comes out, and a file that is not one is one clear error."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest

from edgemoe.device.bundle import LIMIT, MEMBERS, TAPS, Bundle, fingerprint, read_bundle, write_bundle
from edgemoe.device.global_expert import load_global_expert
from edgemoe.device.retention import RetentionSet
from edgemoe.errors import EdgemoeError

METADATA = {"name": "tiny", "classes": "012", "shape": [1, 1, 2], "feature_map": [1, 5, 5], "figures": {}}


def make_bundle(seed=0, n=6):
    rng = np.random.default_rng(seed)
    codes = {tap: rng.integers(0, 256, (n, width), np.uint8) for tap, width in zip(TAPS, (3, 25), strict=True)}
    retention = RetentionSet(
        codes,
        dict.fromkeys(TAPS, 0.125),
        {"logits": 100, "features": 7},
        rng.integers(0, 3, n).astype(np.uint8),
    )
    return Bundle(METADATA, rng.bytes(300), rng.bytes(200), retention)


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
    assert back.metadata["version"] == 1
    assert back.retention.scales == made.retention.scales
    assert back.retention.zeros == made.retention.zeros
    assert np.array_equal(back.retention.labels, made.retention.labels)
    assert all(np.array_equal(back.retention.codes[tap], made.retention.codes[tap]) for tap in TAPS)


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


def test_a_newer_version_is_refused_as_such(path):
    contents = members(path)
    rewrite(path, {**contents, "metadata.json": contents["metadata.json"].replace(b'"version": 1', b'"version": 2')})
    refused(path, r"version 2 is newer than this edgemoe reads \(1\)")


@pytest.mark.parametrize("metadata", [b"", b"[]", b"{}", b"\xff", b'{"version": 1}', b'{"version": "x"}', b"null"])
def test_metadata_that_are_none_are_refused(path, metadata):
    rewrite(path, {**members(path), "metadata.json": metadata})
    refused(path, "not a whole edgemoe bundle")


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(path):
    rewrite(path, {**members(path), "float32.onnx": bytes(LIMIT + 1)})
    assert path.stat().st_size < 200_000
    refused(path, "unpacks to more than")


def test_a_bomb_inside_the_retention_set_is_refused(path):
    inner = io.BytesIO()
    rewrite(inner, {"labels.npy": bytes(LIMIT + 1)})
    rewrite(path, sealed({**members(path), "retention.npz": inner.getvalue()}))
    refused(path, r"retention\.npz: unpacks to more than")


def test_a_method_that_may_ask_for_any_memory_is_refused(path):
    contents = members(path)
    rewrite(path, contents, zipfile.ZIP_LZMA)
    refused(path, "packed by LZMA")


def test_a_file_above_the_limit_is_refused_unread(path):
    with open(path, "r+b") as file:
        file.truncate(LIMIT + 1)  # sparse: takes no room on the disk
    refused(path, "larger than")


def retention_of(contents, **changes):
    with np.load(io.BytesIO(contents["retention.npz"])) as arrays:
        kept = {**dict(arrays), **changes}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in kept.items() if array is not None})
    return buffer.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"features": np.zeros((6, 25), np.float32)},
        {"features": np.zeros((5, 25), np.uint8)},
        {"logits": np.zeros(6, np.uint8)},
        {"labels": None},
        {"features_scale": None},
        {"features_zero": np.zeros(0, np.uint8)},
        {"labels": np.array([{}] * 6, object)},
    ],
    ids=str,
)
def test_a_forged_retention_set_is_refused(path, changes):
    contents = members(path)
    rewrite(path, sealed({**contents, "retention.npz": retention_of(contents, **changes)}))
    refused(path, "(not a whole edgemoe bundle|not uint8 matrices)")


def test_a_pickle_is_never_opened(path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    contents = members(path)
    trapped = retention_of(contents, labels=np.array([Trap()] * 6, object))
    rewrite(path, sealed({**contents, "retention.npz": trapped}))
    refused(path, "allow_pickle")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EdgemoeError, match=r"none\.bundle: cannot be read"):
        read_bundle(tmp_path / "none.bundle")


def test_the_shipped_bundle_is_whole_and_small():
    bundle = load_global_expert().bundle
    assert set(MEMBERS[1:]) == {"float32.onnx", "int8.onnx", "retention.npz"}
    assert len(bundle.int8) < 0.5 * len(bundle.float32)
    assert len(bundle.retention) >= 500
    assert bundle.retention.labels.max() < len(bundle.metadata["classes"]) == 47
    widths = [bundle.retention.codes[tap].shape[1] for tap in TAPS]
    assert widths == [47, 25 * bundle.metadata["shape"][1]]
    assert bundle.metadata["feature_map"] == [bundle.metadata["shape"][1], 5, 5]
