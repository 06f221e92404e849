"""Characters that nobody labelled: pictures, or an .npz without the field `label`."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgemoe.data.archive import open_archive
from edgemoe.data.fields import field_names
from edgemoe.data.images import read_pixels
from edgemoe.data.strokes import read_pen, render_strokes
from edgemoe.errors import EdgemoeError

__all__ = ["load_unlabelled"]

_PICTURES = (b"\x89PNG", b"\xff\xd8\xff")  # how PNG and JPEG files begin
_ZIP = b"PK"


def load_unlabelled(path: str | os.PathLike[str]) -> tuple[npt.NDArray[np.uint8], list[str] | None] | None:
    """Read characters without labels.

    Parameters
    ----------
    path : path-like
        A PNG or JPEG file of one character, a folder of such files with neither a `labels.csv` nor sub-folders, or an
        .npz of images or of pen strokes without a field `label`.

    Returns
    -------
    images : ndarray of uint8, shape (n, 28, 28)
        Ink 255 on 0, upright; a folder's by name.
    names : list of str, length n, or None
        The pictures' file names.

    None in place of both if the path is of none of these kinds: `load_samples` then reads it, or says what is wrong.

    Raises
    ------
    EdgemoeError
        If anything is broken. The message names the file and the field.
    """
    root = Path(path)
    try:
        if root.is_dir():
            return _read_folder(root)
        if not root.is_file():
            return None
        with root.open("rb") as file:
            start = file.read(4)
    except (OSError, ValueError) as error:  # a null character is a ValueError
        raise EdgemoeError(f"{os.fspath(path)!r}: cannot be read ({error})") from error
    if start.startswith(_PICTURES):
        from edgemoe.data.photos import read_picture

        return read_picture(root)[None], [root.name]
    return _read_npz(root) if start.startswith(_ZIP) else None


def _read_folder(root: Path) -> tuple[npt.NDArray[np.uint8], list[str]] | None:
    from edgemoe.data.photos import list_pictures, read_picture  # they need Pillow, which takes its time

    folders = (entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__")))
    if (root / "labels.csv").exists() or any(folders):
        return None
    paths = list_pictures(root)
    if not paths:
        return None
    return np.stack([read_picture(path) for path in paths]), [path.name for path in paths]


def _read_npz(path: Path) -> tuple[npt.NDArray[np.uint8], None] | None:
    with open_archive(path) as archive:
        names = field_names(archive)
        if "label" in names or not names & {"points", "image"}:
            return None
        if "points" not in names:
            return read_pixels(archive), None
        strokes = read_pen(archive)
    return render_strokes(*strokes), None
