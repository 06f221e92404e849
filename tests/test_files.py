"""Files that are whole or not there, whatever happens while they are written."""

import errno
import os
import stat
import subprocess
import sys
import textwrap

import pytest

from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded, write_atomic


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_what_is_read(tmp_path):
    path = tmp_path / "profile"
    for content in (b"first", b"", b"\0" * 100_000):
        write_atomic(path, content)
        assert read_bounded(path, 100_000) == content
    assert names(tmp_path) == ["profile"]


def test_reading_stops_at_the_limit(tmp_path):
    path = tmp_path / "profile"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(EdgemoeError, match="profile: larger than the 4 bytes"):
        read_bounded(path, 4)
    with pytest.raises(EdgemoeError, match="larger than"):
        read_bounded("/dev/zero", 1000)  # a file whose size the system does not know


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(EdgemoeError, match="nothing: cannot be read"):
        read_bounded(tmp_path / "nothing", 10)
    with pytest.raises(EdgemoeError, match="cannot be read"):
        read_bounded(tmp_path, 10)


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "profile"
    write_atomic(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(EdgemoeError, match="profile: cannot be written \\(No space left on device\\)"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["profile"]


def test_a_disk_that_fills_up_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "profile"
    write_atomic(path, b"old")
    # A real limit on the size of files, in a process of its own, for it cannot be raised again.
    script = f"""
        import resource, signal
        from edgemoe.errors import EdgemoeError
        from edgemoe.files import write_atomic
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        try:
            write_atomic({str(path)!r}, b"new" * 10_000)
        except EdgemoeError as error:
            assert "cannot be written" in str(error)
            raise SystemExit(7)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)]).returncode == 7
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["profile"]


@pytest.mark.parametrize(
    ("step", "survivor"), [("fsync", b"old"), ("chmod", b"old"), ("replace", b"old"), ("open", b"new")]
)
def test_a_kill_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path, step, survivor):
    path = tmp_path / "profile"
    write_atomic(path, b"old")
    # `open` is reached after the renaming, for the folder: mkstemp keeps its own reference to the original.
    script = f"""
        import os, tempfile
        from edgemoe.files import write_atomic
        tempfile._os = type("os", (), dict(vars(os)))
        os.{step} = lambda *_: os._exit(9)
        write_atomic({str(path)!r}, b"new")
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)]).returncode == 9
    assert path.read_bytes() == survivor
    write_atomic(path, b"next")  # and the next save works
    assert path.read_bytes() == b"next"


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(EdgemoeError, match="cannot be written"):
        write_atomic(tmp_path / "no" / "profile", b"x")


def test_the_file_gets_the_permissions_of_an_ordinary_one(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomic(tmp_path / "profile", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "profile").stat().st_mode) == 0o640
