"""Image archives: an .npz with `image`, `label` and, if known, `writer`."""

import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.data.fields import read_field, read_labels, read_writers
from edgemoe.errors import EdgemoeError

__all__ = ["read_images", "read_pixels"]


def read_images(
    archive: zipfile.ZipFile, symbols: str = ""
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_], npt.NDArray[Any] | None]:
    """Read an open .npz of images; `symbols` as in `read_labels`.

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
    labels = read_labels(archive, symbols)
    return read_pixels(archive, len(labels)), labels, read_writers(archive, len(labels))


def read_pixels(archive: zipfile.ZipFile, count: int | None = None) -> npt.NDArray[np.uint8]:
    """Read the field `image` alone: so many images, or any number but 0; errors as in `read_images`."""
    images = read_field(archive, "image")
    if images.dtype != np.uint8:
        raise EdgemoeError(f"field 'image' must be uint8 (ink 255 on 0), not {images.dtype}")
    if images.shape[1:] != (28, 28) or len(images) != (count or len(images)) or not len(images):
        expected = "n" if count is None else count
        raise EdgemoeError(f"field 'image' has the shape {images.shape}, not ({expected}, 28, 28)")
    return np.ascontiguousarray(images)
