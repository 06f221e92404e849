"""EMNIST archives, as NIST publishes them and as the `emnist` package caches them; no need of that package.

Inside the zip: `gzip/emnist-<set>-<train|test>-<images-idx3|labels-idx1>-ubyte.gz`, and mappings from label
to character as text. Source of the layout and the label orders: the archive and its paper, Cohen et al.,
arXiv 1702.05373 (2017).
"""

import gzip
import os
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgemoe.classes import CLASS_SETS
from edgemoe.data.archive import MAX_SAMPLES, open_archive, read_exactly
from edgemoe.errors import EdgemoeError

__all__ = ["OFFICIAL_SETS", "cache_path", "count_samples", "emnist_sets", "label_mapping", "read_emnist"]

_IMAGES = re.compile(r"gzip/emnist-(.+)-(train|test)-images-idx3-ubyte\.gz")
_MAPPING_BYTES = 1 << 16

OFFICIAL_SETS = {
    "byclass": CLASS_SETS["byclass"],
    "bymerge": CLASS_SETS["balanced"],
    "balanced": CLASS_SETS["balanced"],
    "letters": "\0" + CLASS_SETS["letters"],  # labels 1 to 26; no label is 0
    "digits": CLASS_SETS["digits"],
    "mnist": CLASS_SETS["digits"],
}
"""The official sets, and the character of each label in order."""


def cache_path() -> Path:
    """Return where the `emnist` package keeps its archive, whether or not it is installed."""
    try:
        import emnist

        return Path(emnist.get_cached_data_path())
    except ImportError:
        return Path("~/.cache/emnist/emnist.zip").expanduser()


def _member(name: str, split: str, kind: str) -> str:
    return f"gzip/emnist-{name}-{split}-{kind}-ubyte.gz"


def emnist_sets(archive: zipfile.ZipFile) -> list[str]:
    """Return what an open archive holds, as `set:split`, of the sets that have both images and labels."""
    names = set(archive.namelist())
    found = [match.groups() for name in sorted(names) if (match := _IMAGES.fullmatch(name))]
    return [f"{name}:{split}" for name, split in found if _member(name, split, "labels-idx1") in names]


def _read_idx(archive: zipfile.ZipFile, member: str, item: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Read unsigned bytes of the shape (n, *item) from a gzipped IDX file; its header is checked first."""
    with archive.open(member) as packed, gzip.GzipFile(fileobj=packed) as stream:
        shape = _idx_shape(stream, member, item)
        content = read_exactly(stream, int(np.prod(shape)), f"member {member}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _idx_shape(stream: gzip.GzipFile, member: str, item: tuple[int, ...]) -> tuple[int, ...]:
    """Read the header: 0, 0, 8 for unsigned bytes, the number of extents, and each as a big-endian uint32."""
    header = stream.read(8 + 4 * len(item))
    if len(header) < 8 + 4 * len(item) or header[:4] != bytes([0, 0, 8, 1 + len(item)]):
        raise EdgemoeError(f"member {member} is not an IDX file of bytes with {1 + len(item)} dimensions")
    shape = struct.unpack(f">{1 + len(item)}I", header[4:])
    if shape[1:] != item or not 0 < shape[0] <= MAX_SAMPLES:
        raise EdgemoeError(f"member {member} has the shape {shape}, not 1 to {MAX_SAMPLES:,} items of {item}")
    return shape


def count_samples(archive: zipfile.ZipFile, name: str, split: str) -> int:
    """Return the number of samples of a set, from the header of its labels alone."""
    member = _member(name, split, "labels-idx1")
    with archive.open(member) as packed, gzip.GzipFile(fileobj=packed) as stream:
        return _idx_shape(stream, member, ())[0]


def label_mapping(archive: zipfile.ZipFile, name: str) -> dict[int, str]:
    """Return the character of each label of a set.

    It is read from `gzip/emnist-<set>-mapping.txt` (a label and its ASCII code a line; a second code, of the
    lower case, is ignored); without that file it is that of the official set before the name's first hyphen.

    Raises
    ------
    EdgemoeError
        If the file is malformed, or missing for a set that is not official.
    """
    member = f"gzip/emnist-{name}-mapping.txt"
    if member not in archive.namelist():
        official = OFFICIAL_SETS.get(name.split("-")[0])
        if official is None:
            raise EdgemoeError(f"the set {name!r} is not an official one, and there is no {member} to read it by")
        return {i: character for i, character in enumerate(official) if character != "\0"}
    with archive.open(member) as stream:
        text = stream.read(_MAPPING_BYTES)
    mapping: dict[int, str] = {}
    for line in text.split(b"\n"):
        words = line.split()
        if not words:
            continue
        code = int(words[1]) if len(words) > 1 and all(len(w) < 4 and w.isdigit() for w in words) else 0
        if chr(code) not in CLASS_SETS["byclass"]:
            raise EdgemoeError(f"member {member} has the malformed line {line[:40]!r}")
        mapping[int(words[0])] = chr(code)
    return mapping


def read_emnist(path: str | os.PathLike[str], selection: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_]]:
    """Read one set of an EMNIST archive.

    Parameters
    ----------
    path : path-like
        The zip file.
    selection : str
        The set and its split, such as ``byclass:train`` or ``byclass-part:test``.

    Returns
    -------
    images : ndarray of uint8, shape (n, 28, 28)
        Ink 255 on 0, upright: the files store each image transposed.
    labels : ndarray of str, shape (n,)

    Raises
    ------
    EdgemoeError
        If the archive is damaged or has no such set; the message then lists what it has.
    """
    with open_archive(path) as archive:
        available = emnist_sets(archive)
        if selection not in available:
            raise EdgemoeError(f"no EMNIST set is {selection!r} here; there are {', '.join(available) or 'none'}")
        name, split = selection.rsplit(":", 1)
        mapping = label_mapping(archive, name)
        member = _member(name, split, "labels-idx1")
        codes = _read_idx(archive, member, ())
        characters = np.full(256, "", "<U1")
        for code, character in mapping.items():
            characters[min(code, 255)] = character
        labels = characters[codes]
        strangers = np.flatnonzero(labels == "")
        if strangers.size:
            raise EdgemoeError(f"member {member} has the label {codes[strangers[0]]}, which the mapping lacks")
        images = _read_idx(archive, _member(name, split, "images-idx3"), (28, 28))
        if len(images) != len(labels):
            raise EdgemoeError(f"set {selection} has {len(images):,} images and {len(labels):,} labels")
    for start in range(0, len(images), 4096):  # in place: the largest set fills half a gigabyte
        images[start : start + 4096] = images[start : start + 4096].swapaxes(1, 2).copy()
    return images, labels
