"""The one reader of samples: it tells the format by itself."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.data.archive import open_archive
from edgemoe.data.emnist import emnist_sets, read_emnist
from edgemoe.data.fields import field_names
from edgemoe.data.images import read_images
from edgemoe.data.strokes import read_strokes, render_strokes
from edgemoe.errors import EdgemoeError

__all__ = ["Samples", "load_samples"]

Samples = tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_], npt.NDArray[Any] | None]
"""Images (n, 28, 28), labels (n,), and writers (n,) or None."""


def load_samples(path: str | os.PathLike[str], symbols: str = "") -> Samples:
    """Read handwritten characters from any format that edgemoe knows.

    Parameters
    ----------
    path : path-like
        An .npz of pen strokes, an .npz of images, a folder of photos or scans, or a set of an EMNIST archive
        as ``path/emnist.zip:byclass:test``. Files are told apart by what is in them, not by their names.
    symbols : str
        Characters that a label may be besides the 62 of EMNIST ByClass: those that a user teaches.

    Returns
    -------
    images : ndarray of uint8, shape (n, 28, 28)
        Ink 255 on 0, upright.
    labels : ndarray of str, shape (n,)
        Each one of the 62 characters of EMNIST ByClass, or of `symbols`.
    writers : ndarray, shape (n,), or None
        Who wrote each sample: strings or integers.

    Raises
    ------
    EdgemoeError
        If there is no such file or folder, its format is none of these, or anything in it is not as it must
        be. The message names the file and the field.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise EdgemoeError(f"{text!r}: not a path")
    if Path(text).is_dir():
        from edgemoe.data.photos import read_photos

        return read_photos(text, symbols)
    if not Path(text).exists():
        for colons in (2, 1):
            archive_path, *selection = text.rsplit(":", colons)
            if selection and Path(archive_path).is_file():
                images, labels = read_emnist(archive_path, ":".join(selection))
                return images, labels, None
    with open_archive(text) as archive:
        names = field_names(archive)
        if "points" in names:
            strokes = read_strokes(archive, symbols)
        elif "image" in names:
            return read_images(archive, symbols)
        elif sets := emnist_sets(archive):
            raise EdgemoeError(f"an EMNIST archive: add :SET:SPLIT to its name, one of {', '.join(sets)}")
        else:
            raise EdgemoeError("has neither a field 'points' (pen strokes) nor a field 'image'")
    return (
        render_strokes(strokes.points, strokes.stroke_length, strokes.sample_stroke_offset),
        strokes.labels,
        strokes.writers,
    )
