"""Zip archives (.npz files are such too) read within bounds, with one kind of error."""

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from edgemoe.errors import EdgemoeError

__all__ = ["MAX_SAMPLES", "open_archive", "read_exactly"]

MAX_SAMPLES = 1_000_000
"""The most samples that one file may hold: above the 697,932 of EMNIST's largest part, ByClass train."""

_CHUNK = 1 << 20


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@contextlib.contextmanager
def open_archive(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive; whatever is broken in it becomes an error that names the file.

    Raises
    ------
    EdgemoeError
        If there is no such file, it is no zip archive, or it turns out to be damaged while it is read.
    """
    if not Path(path).is_file():
        raise EdgemoeError(f"{os.fspath(path)}: {'not a file' if Path(path).exists() else 'no such file'}")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except EdgemoeError as error:
        # What a member's reader found wrong: it knows the field, and the file's name is put before it here.
        raise EdgemoeError(f"{os.fspath(path)}: {error}") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        struct.error,
        NotImplementedError,
        RuntimeError,
    ) as error:
        # The last two are zipfile's for an unknown compression and for an encrypted member.
        raise EdgemoeError(f"{os.fspath(path)}: damaged or not a zip archive ({error})") from error
    except OSError as error:
        raise EdgemoeError(f"{os.fspath(path)}: cannot be read ({error.strerror or error})") from error
    except (ValueError, OverflowError) as error:  # zipfile's, for offsets and names that make no sense
        raise EdgemoeError(f"{os.fspath(path)}: damaged ({error})") from error


def read_exactly(stream: _Readable, size: int, field: str) -> bytearray:
    """Read a stream that must hold `size` bytes and no more.

    Memory grows with what has really arrived, so a header that promises too much costs nothing.

    Raises
    ------
    EdgemoeError
        If the stream is shorter or longer.
    """
    content = bytearray()
    while len(content) < size:
        chunk = stream.read(min(_CHUNK, size - len(content)))
        if not chunk:
            raise EdgemoeError(f"{field} ends after {len(content):,} of {size:,} bytes")
        content += chunk
    if stream.read(1):
        raise EdgemoeError(f"{field} goes on after its {size:,} bytes")
    return content
