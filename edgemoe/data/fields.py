"""The arrays in an .npz file, each checked against what it must be before it is read."""

import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.classes import CLASS_SETS
from edgemoe.data.archive import MAX_SAMPLES, read_exactly
from edgemoe.errors import EdgemoeError

__all__ = ["field_names", "field_shape", "none_of", "read_field", "read_integers", "read_labels", "read_writers"]

_MAX_BYTES = MAX_SAMPLES * 28 * 28
"""No field may be larger than the images of the largest set."""


def field_names(archive: zipfile.ZipFile) -> set[str]:
    """Return the names of the arrays in an open .npz file."""
    return {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}


def _read_header(stream: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(stream)
    except Exception as error:  # NumPy's parsing of a hand-made header fails in a dozen ways
        raise EdgemoeError(f"field {name!r} is not a NumPy array ({type(error).__name__})") from error
    raise EdgemoeError(f"field {name!r} has the .npy format {version[0]}.{version[1]}, which is not read here")


def field_shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """Return the shape of an array in an open .npz file without reading its values.

    Raises
    ------
    EdgemoeError
        As `read_field` does.
    """
    with archive.open(f"{name}.npy") as stream:
        return _read_header(stream, name)[0]


def read_field(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """Read one array of an open .npz file.

    Raises
    ------
    EdgemoeError
        If the field is missing, holds Python objects (they are never unpickled), is too large, or its bytes
        do not fit its header. The message names the field; `open_archive` puts the file's name before it.
    """
    if name not in field_names(archive):
        raise EdgemoeError(f"field {name!r} is missing")
    with archive.open(f"{name}.npy") as stream:
        shape, fortran, dtype = _read_header(stream, name)
        if dtype.hasobject:
            raise EdgemoeError(f"field {name!r} holds Python objects, which are not read")
        if dtype.itemsize == 0 or any(extent < 0 for extent in shape) or len(shape) > 8:
            raise EdgemoeError(f"field {name!r} has an impossible type or shape, {dtype} {shape}")
        size = dtype.itemsize
        for extent in shape:
            size *= extent
        if size > _MAX_BYTES:
            raise EdgemoeError(f"field {name!r} would be {size:,} bytes, above the limit of {_MAX_BYTES:,}")
        content = read_exactly(stream, size, f"field {name!r}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def read_integers(archive: zipfile.ZipFile, name: str) -> npt.NDArray[np.int64]:
    """Read a one-dimensional array of integers of any width; errors as in `read_field`."""
    values = read_field(archive, name)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise EdgemoeError(f"field {name!r} must be a list of integers, not {values.dtype} {values.shape}")
    if values.dtype.kind == "u" and values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise EdgemoeError(f"field {name!r} holds the impossible value {int(values.max())}")
    return values.astype(np.int64)


def _read_text(archive: zipfile.ZipFile, name: str) -> npt.NDArray[np.str_]:
    """Read a list of strings whose code points are all valid: NumPy trips over others only later."""
    values = read_field(archive, name)
    if values.ndim != 1 or values.dtype.kind != "U":
        raise EdgemoeError(f"field {name!r} must be a list of strings, not {values.dtype} {values.shape}")
    codes = values.view(np.dtype("u4").newbyteorder(values.dtype.byteorder))
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any():
        raise EdgemoeError(f"field {name!r} holds bytes that are no text")
    return values.astype(values.dtype.newbyteorder("="))


def none_of(symbols: str) -> str:
    """Say what a label is not."""
    return "none of the 62 characters" + (f", nor of the symbols {symbols}" if symbols else "")


def read_labels(archive: zipfile.ZipFile, symbols: str = "") -> npt.NDArray[np.str_]:
    """Read the field `label`: ASCII codes, or strings of one character each, or the digits 0 to 9 as numbers.

    Parameters
    ----------
    archive : ZipFile
    symbols : str
        Characters that a label may be besides the 62 of EMNIST ByClass.

    Returns
    -------
    ndarray of str, shape (n,)

    Raises
    ------
    EdgemoeError
        As `read_field`, and if there are no or too many labels or one is of other characters.
    """
    if "label" in field_names(archive) and len(shape := field_shape(archive, "label")) == 1:
        if shape[0] == 0:
            raise EdgemoeError("field 'label' is empty: there is no sample")
        if shape[0] > MAX_SAMPLES:
            raise EdgemoeError(f"field 'label' has {shape[0]:,} entries, above the limit of {MAX_SAMPLES:,}")
    values = read_field(archive, "label")
    labels: npt.NDArray[np.str_]
    if values.dtype.kind == "U":
        labels = _read_text(archive, "label")
    else:
        codes = read_integers(archive, "label")
        strangers = np.flatnonzero((codes < 0) | (codes > 127))
        if strangers.size:
            raise EdgemoeError(f"field 'label': sample {strangers[0]} has {codes[strangers[0]]}, no ASCII code")
        if codes.max() <= 9:  # MNIST's way: digits as numbers; no character has an ASCII code that low
            codes = codes + ord("0")
        labels = codes.astype(np.uint32).view("U1")
    strangers = np.flatnonzero(~np.isin(labels, [*CLASS_SETS["byclass"], *symbols]))
    if strangers.size:
        found = str(labels[strangers[0]])[:20]
        raise EdgemoeError(f"field 'label': sample {strangers[0]} is {found!r}, {none_of(symbols)}")
    return labels.astype("<U1")


def read_writers(archive: zipfile.ZipFile, n: int) -> npt.NDArray[Any] | None:
    """Read who wrote each sample, from the fields `writer` and `writer_id`, both optional.

    Parameters
    ----------
    archive : ZipFile
    n : int
        The number of samples.

    Returns
    -------
    ndarray, shape (n,), or None
        Strings where `writer` holds strings, or indices into the strings of `writer_id`; else the indices as
        int64; None without a field `writer`.

    Raises
    ------
    EdgemoeError
        As `read_field`, and if there are not n writers or an index points outside `writer_id`.
    """
    names = field_names(archive)
    if "writer" not in names:
        return None
    if read_field(archive, "writer").dtype.kind == "U":
        writers: npt.NDArray[Any] = _read_text(archive, "writer")
    else:
        writers = read_integers(archive, "writer")
        if "writer_id" in names and read_field(archive, "writer_id").dtype.kind == "U":
            ids = _read_text(archive, "writer_id")
            if ((writers < 0) | (writers >= len(ids))).any():
                raise EdgemoeError(f"field 'writer' points outside the {len(ids)} entries of 'writer_id'")
            writers = ids[writers]
    if len(writers) != n:
        raise EdgemoeError(f"field 'writer' has {len(writers):,} entries for {n:,} samples")
    return writers
