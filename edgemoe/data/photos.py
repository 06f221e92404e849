"""Folders of photographed or scanned characters."""

import csv
import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgemoe.classes import CLASS_SETS
from edgemoe.data.archive import MAX_SAMPLES
from edgemoe.data.character import character_mask
from edgemoe.data.fields import none_of
from edgemoe.data.ink import ink_map
from edgemoe.data.redraw import redraw
from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded

__all__ = ["list_pictures", "read_ink", "read_photos", "read_picture"]

MAX_BYTES = 64 << 20
"""No picture's file may be larger."""

MAX_PIXELS = 64_000_000
"""No picture may have more pixels once decoded: 256 MB as RGBA. A telephone's photo has 12 to 50 million."""

MAX_CSV_BYTES = 16 << 20

_SUFFIXES = (".png", ".jpg", ".jpeg")
_LITTER = ("thumbs.db", "desktop.ini", "__macosx")  # what desktops leave in folders, besides hidden files
_FOLDERS = {c: c for c in CLASS_SETS["byclass"]} | {
    f"{c}_{'upper' if c.isupper() else 'lower'}": c for c in CLASS_SETS["byclass"] if c.isalpha()
}


def read_ink(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Read one photographed or scanned character as an EMNIST-like image.

    The paper's light is estimated and divided out, the character told from specks, lines and frames, its
    stroke width brought near EMNIST's, and the result centred, with its longer side filling 24 of 28 pixels.

    Parameters
    ----------
    image : PIL.Image.Image
        One character on plain paper, in any mode, size and polarity, the light as uneven as it may be. An
        EXIF orientation is obeyed; what is transparent counts as paper.

    Returns
    -------
    ndarray of uint8, shape (28, 28)
        Ink 255 on 0.

    Raises
    ------
    EdgemoeError
        If the picture holds no character.

    Examples
    --------
    >>> from PIL import Image, ImageDraw
    >>> picture = Image.new("L", (60, 80), 200)
    >>> ImageDraw.Draw(picture).line([(30, 20), (30, 60)], fill=40, width=6)
    >>> ink = read_ink(picture)
    >>> ink.shape, int(ink[14, 14]), int(ink[14, 2])
    ((28, 28), 255, 0)
    """
    ink = ink_map(image)
    return redraw(ink, character_mask(ink))


def read_photos(folder: str | Path, symbols: str = "") -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_], None]:
    """Read a folder of PNG and JPEG pictures, one character each.

    Parameters
    ----------
    folder : path-like
        With a `labels.csv` whose header has the columns `file` (a path inside the folder) and `label` (a
        character); or else with one sub-folder a character, named by it: `A`, `a`, `7`. Where a file system
        does not tell `A` from `a`, `A_upper` and `a_lower` mean the same. Hidden files are passed over.
    symbols : str
        Characters that a label may be besides the 62 of EMNIST ByClass.

    Returns
    -------
    images : ndarray of uint8, shape (n, 28, 28)
        Ink 255 on 0, in the order of `labels.csv`, or by character and file name.
    labels : ndarray of str, shape (n,)
    writers : None

    Raises
    ------
    EdgemoeError
        If the folder has no picture, a label is none of the characters, a path leads out of the folder, or
        a picture is missing, broken, too large or blank. The message names the file and the field.
    """
    root = Path(folder)
    listed = (root / "labels.csv").is_file()
    entries = _entries_of_csv(root, symbols) if listed else _entries_of_subfolders(root, symbols)
    images = np.empty((len(entries), 28, 28), np.uint8)
    for i, (path, _) in enumerate(entries):
        images[i] = read_picture(path)
    return images, np.array([label for _, label in entries], dtype="<U1"), None


def _entries_of_csv(root: Path, symbols: str) -> list[tuple[Path, str]]:
    source = root / "labels.csv"
    try:
        text = read_bounded(source, MAX_CSV_BYTES).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise EdgemoeError(f"{source}: is not a CSV file in UTF-8 ({error})") from error
    header = rows[0] if rows else []
    for column in ("file", "label"):
        if header.count(column) != 1:
            raise EdgemoeError(f"{source}: field {column!r} is not in the header, which must be file,label")
    entries = []
    inside, characters = root.resolve(), {*CLASS_SETS["byclass"], *symbols}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise EdgemoeError(f"{source}: row {number} has {len(row)} fields, the header has {len(header)}")
        name, label = row[header.index("file")], row[header.index("label")]
        if label not in characters:
            raise EdgemoeError(f"{source}: row {number}: field 'label' is {label[:20]!r}, {none_of(symbols)}")
        try:
            leads_out = not (root / name).resolve().is_relative_to(inside)
            is_file = (root / name).is_file()
        except (OSError, RuntimeError, ValueError):  # too long a name, a loop of links, a null character
            leads_out = is_file = False
        if leads_out or not is_file:
            fault = "leads out of the folder" if leads_out else "is no file in the folder"
            raise EdgemoeError(f"{source}: row {number}: field 'file', {name[:80]!r}, {fault}")
        entries.append((root / name, label))
    if not entries:
        raise EdgemoeError(f"{source}: lists no picture")
    if len(entries) > MAX_SAMPLES:
        raise EdgemoeError(f"{source}: lists more than {MAX_SAMPLES:,} pictures")
    return entries


def _entries_of_subfolders(root: Path, symbols: str) -> list[tuple[Path, str]]:
    entries: list[tuple[Path, str]] = []
    characters = _FOLDERS | {symbol: symbol for symbol in symbols}
    try:
        for folder in sorted(root.iterdir()):
            if folder.name.startswith((".", "__")) or not folder.is_dir():
                continue
            if folder.name not in characters:
                raise EdgemoeError(f"{folder}: its name is {none_of(symbols)}, and there is no labels.csv")
            entries += [(path, characters[folder.name]) for path in list_pictures(folder)]
    except OSError as error:
        raise EdgemoeError(f"{root}: cannot be read ({error.strerror})") from error
    if not entries:
        raise EdgemoeError(f"{root}: has neither a labels.csv nor pictures in sub-folders named by character")
    return entries


def list_pictures(folder: Path) -> list[Path]:
    """Return the pictures right in a folder by name, hidden files passed over.

    Raises
    ------
    EdgemoeError
        If there are other files, or folders.
    OSError
        If the folder cannot be read.
    """
    paths = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and p.name.lower() not in _LITTER]
    for path in paths:
        if path.suffix.lower() not in _SUFFIXES:
            raise EdgemoeError(f"{path}: is not a .png, .jpg or .jpeg file")
    return paths


def read_picture(path: Path) -> npt.NDArray[np.uint8]:
    """Read a PNG or JPEG file of one character by `read_ink`; an error names the file."""
    if not path.is_file():  # a pipe would be waited for
        raise EdgemoeError(f"{path}: is not a file")
    content = io.BytesIO(read_bounded(path, MAX_BYTES))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(content, formats=("PNG", "JPEG"))
        if image.width * image.height > MAX_PIXELS:
            raise EdgemoeError(f"the picture has more than {MAX_PIXELS:,} pixels")
        image.draft(image.mode, (1024, 1024))  # large JPEG files are decoded at a half, a quarter or an eighth
        image.load()
        return read_ink(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise EdgemoeError(f"{path}: the picture has more than {MAX_PIXELS:,} pixels") from error
    except EdgemoeError as error:
        raise EdgemoeError(f"{path}: {error}") from error
    except Exception as error:  # Pillow's decoders fail in a dozen ways on damaged files
        raise EdgemoeError(f"{path}: is not a readable PNG or JPEG picture ({error})") from error
