"""Image archives: an .npz with `image`, `label` and, if known, `writer`."""

import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.data.fields import read_field, read_labels, read_writers
from edgemoe.errors import EdgemoeError

__all__ = ["read_images"]


def read_images(
    archive: zipfile.ZipFile,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_], npt.NDArray[Any] | None]:
    """Read an open .npz of images.

    Returns
    -------
    images : ndarray of uint8, shape (n, 28, 28)
        Ink 255 on 0, as stored.
    labels : ndarray of str, shape (n,)
    writers : ndarray, shape (n,), or None

    Raises
    ------
    EdgemoeError
        If a field is missing or is not what it must be.
    """
    labels = read_labels(archive)
    images = read_field(archive, "image")
    if images.dtype != np.uint8:
        raise EdgemoeError(f"field 'image' must be uint8 (ink 255 on 0), not {images.dtype}")
    if images.shape != (len(labels), 28, 28):
        raise EdgemoeError(f"field 'image' has the shape {images.shape}, not ({len(labels)}, 28, 28)")
    return np.ascontiguousarray(images), labels, read_writers(archive, len(labels))
