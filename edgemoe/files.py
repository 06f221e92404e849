"""Files that are whole or not there: bounded reads and atomic writes."""

import contextlib
import os
import tempfile
import zipfile
from pathlib import Path

from edgemoe.errors import EdgemoeError

__all__ = ["bound_unpacked", "read_bounded", "write_atomic"]


def read_bounded(path: str | os.PathLike[str], limit: int) -> bytes:
    """Read a whole file after checking its size.

    Parameters
    ----------
    path : path-like
    limit : int
        The largest size accepted, in bytes.

    Raises
    ------
    EdgemoeError
        If the file cannot be read or is larger than `limit`.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise EdgemoeError(f"{os.fspath(path)}: cannot be read ({error.strerror})") from error
    if len(content) > limit:
        raise EdgemoeError(f"{os.fspath(path)}: larger than the {limit:,} bytes that such a file may have")
    return content


def bound_unpacked(archive: zipfile.ZipFile, limit: int, source: str, kind: str) -> None:
    """Check an archive before anything is unpacked.

    Parameters
    ----------
    archive : ZipFile
    limit : int
        The largest size accepted of all its members together, in bytes.
    source, kind : str
        What the error names: the file, and what it should be.

    Raises
    ------
    EdgemoeError
        If it unpacks to more, or is packed by a method that may ask for any memory.
    """
    if sum(member.file_size for member in archive.infolist()) > limit:
        raise EdgemoeError(f"{source}: unpacks to more than the {limit:,} bytes that a {kind} may hold")
    if any(member.compress_type == zipfile.ZIP_LZMA for member in archive.infolist()):
        raise EdgemoeError(f"{source}: packed by LZMA, which no {kind} is")


def write_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that a crash or a full disk at any moment leaves the old one or the new one.

    The bytes go to a temporary name in the same folder, are flushed to the disk, and are renamed over the old file;
    then the folder itself is flushed, for the rename to survive a power cut.

    Raises
    ------
    EdgemoeError
        If the file cannot be written; the old file is then intact and nothing else is left behind.
    """
    target = Path(path)
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes it private to its owner
        os.replace(temporary, target)
        temporary = None
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise EdgemoeError(f"{target}: cannot be written ({error.strerror})") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
