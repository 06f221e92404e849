"""Fetches the official EMNIST archive: resumed where it broke off, tested before it is used."""

import hashlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from edgemoe.data.archive import open_archive
from edgemoe.data.emnist import OFFICIAL_SETS, cache_path, emnist_sets
from edgemoe.errors import EdgemoeError

__all__ = ["EMNIST_URL", "download_emnist", "verify_emnist"]

EMNIST_URL = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
"""The official archive, about 0.5 GB, at NIST's biometrics site."""

_MAX_BYTES = 1 << 30
_ATTEMPTS = 5  # in a row without one new byte
_TIMEOUT = 30.0  # seconds without an answer
_PAUSE = 1.0  # seconds before the second attempt, doubled before each further one
_CHUNK = 1 << 16

Progress = Callable[[int, int | None], None]
"""Called with the bytes there are and the bytes there will be, None where the server does not say."""


class _Interrupted(Exception):
    """The transfer stopped for a reason that may pass."""


def download_emnist(
    url: str = EMNIST_URL,
    destination: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    sha256: str | None = None,
) -> Path:
    """Download the official EMNIST archive, unless it is there already.

    The bytes go to the destination's name with ``_partial`` at its end, which is what the `emnist` package
    uses too; a later call goes on from there. The archive gets its name only when every member has passed its
    CRC and all official sets are in it.

    Parameters
    ----------
    url : str
        Where the archive is, http or https.
    destination : path-like, optional
        The file to write; by default the one that the `emnist` package reads.
    progress : callable, optional
        Called as ``progress(bytes_so_far, bytes_in_all or None)`` after each piece.
    sha256 : str, optional
        The digest, in hexadecimal, that the archive must have.

    Returns
    -------
    Path
        The archive.

    Raises
    ------
    EdgemoeError
        If it cannot be fetched (the message says how to get it by hand), is not the EMNIST archive (what was
        fetched is then deleted), or cannot be written.
    """
    target = Path(cache_path() if destination is None else destination)
    partial = target.with_name(target.name + "_partial")
    # The `emnist` package leaves an empty file under the archive's name while it downloads.
    if target.is_file() and target.stat().st_size > 0:
        verify_emnist(target, sha256)
        return target
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise EdgemoeError(f"{url}: not an http or https address")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, partial, target, progress)
        try:
            verify_emnist(partial, sha256)
        except EdgemoeError as error:
            partial.unlink()
            raise EdgemoeError(f"{url}: what it gave was deleted again, {error}") from error
        os.replace(partial, target)
    except OSError as error:
        raise EdgemoeError(f"{target}: cannot be written ({error.strerror or error})") from error
    return target


def verify_emnist(path: str | os.PathLike[str], sha256: str | None = None) -> None:
    """Check that a file is the whole official EMNIST archive.

    Raises
    ------
    EdgemoeError
        If its digest differs, a member is damaged, or an official set is missing.
    """
    if sha256 is not None:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256.lower():
            raise EdgemoeError(f"{os.fspath(path)}: has the SHA-256 {digest}, not {sha256.lower()}")
    with open_archive(path) as archive:
        damaged = archive.testzip()
        if damaged is not None:
            raise EdgemoeError(f"member {damaged} is damaged")
        wanted = {f"{name}:{split}" for name in OFFICIAL_SETS for split in ("train", "test")}
        missing = sorted(wanted - set(emnist_sets(archive)))
        if missing:
            raise EdgemoeError(f"not the official EMNIST archive, it lacks {', '.join(missing)}")


def _fetch(url: str, partial: Path, target: Path, progress: Progress | None) -> None:
    """Fill the partial file, trying again from where it stopped."""
    failures = 0
    while True:
        before = partial.stat().st_size if partial.exists() else 0
        try:
            _transfer(url, partial, before, progress)
            return
        except _Interrupted as error:
            after = partial.stat().st_size if partial.exists() else 0
            failures = 1 if after > before else failures + 1
            if failures == _ATTEMPTS:
                raise EdgemoeError(
                    f"{url}: cannot be downloaded ({error}); by hand: fetch {EMNIST_URL} on a machine with "
                    f"internet access and save it as {target}"
                ) from error
            time.sleep(_PAUSE * 2 ** (failures - 1))


def _transfer(url: str, partial: Path, have: int, progress: Progress | None) -> None:
    """Make one request for the bytes after the first `have`, and append what comes."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            if response.status == 206:
                if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                    raise EdgemoeError(f"{url}: the server sent another part than asked for")
                total = None if total is None else have + total
            else:  # the server ignores ranges: all anew
                have = 0
            if total is not None and total > _MAX_BYTES:
                raise EdgemoeError(f"{url}: {total:,} bytes, above the limit of {_MAX_BYTES:,}")
            with open(partial, "ab" if have else "wb") as file:
                while chunk := _receive(response):
                    have += len(chunk)
                    if have > _MAX_BYTES:
                        raise EdgemoeError(f"{url}: goes on after the limit of {_MAX_BYTES:,} bytes")
                    file.write(chunk)
                    if progress is not None:
                        progress(have, total)
                file.flush()
                os.fsync(file.fileno())
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing after `have`: the file is whole, or it is not this one
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return
            partial.unlink()
        elif error.code < 500 and error.code not in (408, 429):
            raise EdgemoeError(f"{url}: the server answered {error.code} ({error.reason})") from error
        raise _Interrupted(f"the server answered {error.code}") from error
    except urllib.error.URLError as error:
        raise _Interrupted(str(error.reason)) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _Interrupted(str(error) or type(error).__name__) from error
    if total is not None and have < total:
        raise _Interrupted(f"it broke off after {have:,} of {total:,} bytes")


def _receive(response: http.client.HTTPResponse) -> bytes:
    """Read a piece; what fails here is the network's fault, not the disk's."""
    try:
        return response.read(_CHUNK)
    except OSError as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
