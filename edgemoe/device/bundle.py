"""Bundles: a global expert as shipped, in one file.

A bundle is a zip archive of five members: ``metadata.json``, ``float32.onnx``, ``int8.onnx``, ``retention.npz`` and
``statistics.npz``. Its fingerprint is the SHA-256 of all but the first, and of the classes; a profile is bound to it.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.device.retention import RetentionSet
from edgemoe.device.statistics import Statistics
from edgemoe.errors import EdgemoeError
from edgemoe.files import bound_unpacked, read_bounded, write_atomic

__all__ = ["Bundle", "fingerprint", "read_bundle", "write_bundle"]

VERSION = 2  # since the first, it holds statistics
LIMIT = 64 << 20  # bytes, of the file and of all it unpacks to: a LeNet-5 with its retention set needs 1 to 10 MB
LEAST = 8  # samples in a retention set, for an eighth of it not to be empty
MEMBERS = ("metadata.json", "float32.onnx", "int8.onnx", "retention.npz", "statistics.npz")
TAPS = ("logits", "features")


@dataclass(frozen=True)
class Bundle:
    """A global expert as shipped.

    Attributes
    ----------
    metadata : dict
        ``name``, ``classes``, ``shape``, ``feature_map``, ``data``, ``figures``, ``pruning``, ``licence``, as JSON.
    float32, int8 : bytes
        The two ONNX forms of the expert.
    retention : RetentionSet
    statistics : Statistics
        Of generic features.
    """

    metadata: dict[str, Any]
    float32: bytes
    int8: bytes
    retention: RetentionSet
    statistics: Statistics


def fingerprint(classes: str, *contents: bytes) -> bytes:
    """Return the 32 bytes that tell one global expert from another."""
    digest = hashlib.sha256(classes.encode())
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.digest()


def write_bundle(path: str | os.PathLike[str], bundle: Bundle) -> None:
    """Write a bundle atomically; its fingerprint goes into the metadata."""
    retention, statistics = _pack(_retained(bundle.retention)), _pack(_measured(bundle.statistics))
    print_ = fingerprint(bundle.metadata["classes"], bundle.float32, bundle.int8, retention, statistics)
    metadata = {"version": VERSION, **bundle.metadata, "fingerprint": print_.hex()}
    contents = (json.dumps(metadata, indent=1).encode(), bundle.float32, bundle.int8, retention, statistics)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in zip(MEMBERS, contents, strict=True):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)  # no date: same input, same bytes
    write_atomic(path, buffer.getvalue())


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read a bundle and check it against its fingerprint.

    Raises
    ------
    EdgemoeError
        If the file is no bundle, is damaged, or is of another version.
    """
    name = os.fspath(path)
    content = read_bounded(path, LIMIT)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            bound_unpacked(archive, LIMIT, name, "bundle")
            metadata = json.loads(archive.read(MEMBERS[0]))
            if metadata["version"] != VERSION:
                raise EdgemoeError(f"{name}: version {metadata['version']}, and this edgemoe reads {VERSION}")
            float32, int8, retention, statistics = (archive.read(member) for member in MEMBERS[1:])
        if fingerprint(metadata["classes"], float32, int8, retention, statistics).hex() != metadata["fingerprint"]:
            raise EdgemoeError(f"{name}: damaged, its content does not match its fingerprint")
        bundle = Bundle(metadata, float32, int8, _read_retention(retention, name), _read_statistics(statistics, name))
        _check(bundle, name)
        return bundle
    except EdgemoeError:
        raise
    except Exception as error:  # zipfile, zlib, json and numpy each raise their own
        raise EdgemoeError(f"{name}: not a whole edgemoe bundle ({error})") from error


def _check(bundle: Bundle, source: str) -> None:
    """Raise unless metadata, retention set and statistics fit each other."""
    metadata, retention = bundle.metadata, bundle.retention
    channels, rows, columns = metadata["feature_map"]
    sizes = {"logits": len(metadata["classes"]), "features": channels * rows * columns}
    for tap, size in sizes.items():
        if retention.codes[tap].shape[1] != size:
            raise EdgemoeError(f"{source}: the retention set has {retention.codes[tap].shape[1]} {tap}, not {size}")
    if len(bundle.statistics.mean) != sizes["features"]:
        raise EdgemoeError(f"{source}: statistics of {len(bundle.statistics.mean)} features, not {sizes['features']}")
    if not isinstance(metadata["name"], str) or len(retention) < LEAST or retention.labels.max() >= sizes["logits"]:
        raise EdgemoeError(f"{source}: its name or its retention set's labels are unusable, or are fewer than {LEAST}")


def _retained(retention: RetentionSet) -> dict[str, npt.ArrayLike]:
    arrays: dict[str, npt.ArrayLike] = {"labels": retention.labels}
    for tap in TAPS:
        arrays[tap] = retention.codes[tap]
        arrays[f"{tap}_scale"] = np.array([retention.scales[tap]], np.float32)
        arrays[f"{tap}_zero"] = np.array([retention.zeros[tap]], np.uint8)
    return arrays


def _measured(statistics: Statistics) -> dict[str, npt.ArrayLike]:
    return {field.name: getattr(statistics, field.name) for field in fields(Statistics)}


def _pack(arrays: Mapping[str, npt.ArrayLike]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_BZIP2, 9)  # a tenth less
    return buffer.getvalue()


def _unpack(content: bytes, source: str) -> dict[str, npt.NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        bound_unpacked(archive, LIMIT, source, "bundle")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def _read_statistics(content: bytes, source: str) -> Statistics:
    arrays = _unpack(content, f"{source}: statistics.npz")
    mean, roots, codes = (arrays[name] for name in ("mean", "roots", "codes"))
    numbers = [float(arrays[name]) for name in ("step", "feature_scale", "pooled_scale")]
    size = len(mean)
    found = [(array.shape, array.dtype.str) for array in (mean, roots, codes)]
    if found != [((size,), "<f4"), ((size,), "<f4"), ((size * (size - 1) // 2,), "|i1")]:
        raise EdgemoeError(f"{source}: statistics.npz: its arrays do not fit each other")
    positive = np.concatenate([roots, numbers])
    if not (np.isfinite(mean).all() and np.isfinite(positive).all() and positive.min() > 0):
        raise EdgemoeError(f"{source}: statistics.npz: a scale is not positive, or a number not finite")
    return Statistics(mean, roots, codes, *numbers)


def _read_retention(content: bytes, source: str) -> RetentionSet:
    arrays = _unpack(content, f"{source}: retention.npz")
    codes = {tap: arrays[tap] for tap in TAPS}
    retention = RetentionSet(
        codes,
        {tap: float(arrays[f"{tap}_scale"][0]) for tap in TAPS},
        {tap: int(arrays[f"{tap}_zero"][0]) for tap in TAPS},
        arrays["labels"],
    )
    if any(c.dtype != np.uint8 or c.ndim != 2 or len(c) != len(retention) for c in codes.values()):
        raise EdgemoeError(f"{source}: retention.npz: the taps' codes are not uint8 matrices with one row a label")
    return retention
