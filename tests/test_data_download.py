"""The download of EMNIST, against a server on this machine that misbehaves on demand."""

import gzip
import hashlib
import http.server
import io
import threading
import zipfile

import numpy as np
import pytest

from edgemoe.data import download
from edgemoe.data.download import EMNIST_URL, download_emnist, verify_emnist
from edgemoe.data.emnist import OFFICIAL_SETS
from edgemoe.errors import EdgemoeError


def official(skip=None):
    """A stand-in for the official archive: all its members, without its half a gigabyte."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).bytes(20_000)
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in OFFICIAL_SETS:
            for split in ("train", "test"):
                if f"{name}:{split}" == skip:
                    continue
                for kind in ("images-idx3", "labels-idx1"):
                    archive.writestr(f"gzip/emnist-{name}-{split}-{kind}-ubyte.gz", gzip.compress(noise))
    return buffer.getvalue()


ARCHIVE = official()


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`; `faults` says what to do to the next requests, each one once."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.faults, self.ranges, self.knows_ranges = ARCHIVE, [], [], True
        self.url = f"http://127.0.0.1:{self.server_port}/gzip.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
            return
        start = 0
        if self.headers.get("Range") and server.knows_ranges:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.end_headers()
                return
            self.send_response(206)
            last = len(server.content) - 1
            shown = start + 1 if fault == "wrong range" else start
            self.send_header("Content-Range", f"bytes {shown}-{last}/{len(server.content)}")
        else:
            self.send_response(200)
        body = server.content[start:]
        if fault != "no length":
            self.send_header("Content-Length", str(len(body) if fault != "too long" else 1 << 40))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "_PAUSE", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "emnist.zip"


def partial(target):
    return target.with_name("emnist.zip_partial")


def test_a_download_arrives_whole_and_reports_its_progress(server, target):
    seen = []
    digest = hashlib.sha256(ARCHIVE).hexdigest()
    path = download_emnist(server.url, target, lambda *p: seen.append(p), digest.upper())
    assert path == target
    assert target.read_bytes() == ARCHIVE
    assert [p.name for p in target.parent.iterdir()] == ["emnist.zip"]
    assert seen[-1] == (len(ARCHIVE), len(ARCHIVE))
    assert seen == sorted(seen)


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, target):
    server.faults = ["cut", "cut", 503]
    assert download_emnist(server.url, target).read_bytes() == ARCHIVE
    half = len(ARCHIVE) // 2
    three_quarters = half + (len(ARCHIVE) - half) // 2
    assert server.ranges == [None, f"bytes={half}-", f"bytes={three_quarters}-", f"bytes={three_quarters}-"]


def test_a_later_call_resumes_the_file_of_an_earlier_one(server, target):
    target.parent.mkdir()
    partial(target).write_bytes(ARCHIVE[:1000])
    seen = []
    download_emnist(server.url, target, lambda *p: seen.append(p))
    assert target.read_bytes() == ARCHIVE
    assert server.ranges == ["bytes=1000-"]
    assert seen[-1] == (len(ARCHIVE), len(ARCHIVE))


def test_a_partial_file_that_is_whole_needs_no_byte_more(server, target):
    target.parent.mkdir()
    partial(target).write_bytes(ARCHIVE)
    assert download_emnist(server.url, target).read_bytes() == ARCHIVE


def test_a_partial_file_longer_than_the_archive_is_fetched_anew(server, target):
    target.parent.mkdir()
    partial(target).write_bytes(ARCHIVE + b"more")
    assert download_emnist(server.url, target).read_bytes() == ARCHIVE
    assert server.ranges[-1] is None


def test_a_server_without_ranges_or_length_serves_too(server, target):
    server.knows_ranges = False
    server.faults = ["cut", "no length"]
    seen = []
    assert download_emnist(server.url, target, lambda *p: seen.append(p)).read_bytes() == ARCHIVE
    assert seen[-1] == (len(ARCHIVE), None)


@pytest.mark.parametrize("content", [b"<html>moved</html>" * 100, official(skip="letters:test"), ARCHIVE[:-30]])
def test_what_is_not_the_archive_is_deleted_and_the_old_file_stays_away(server, target, content):
    server.content = content
    with pytest.raises(EdgemoeError, match="deleted again"):
        download_emnist(server.url, target)
    assert list(target.parent.iterdir()) == []


def test_a_damaged_member_is_found(server, target):
    damaged = bytearray(ARCHIVE)
    damaged[2000] ^= 1
    server.content = bytes(damaged)
    with pytest.raises(EdgemoeError, match=r"member gzip/.* is damaged"):
        download_emnist(server.url, target)
    assert not target.exists()


def test_a_wrong_digest_is_refused(server, target):
    with pytest.raises(EdgemoeError, match="SHA-256"):
        download_emnist(server.url, target, sha256="0" * 64)
    assert not target.exists()


def test_a_missing_page_is_an_error_at_once(server, target):
    server.faults = [404]
    with pytest.raises(EdgemoeError, match="404"):
        download_emnist(server.url, target)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("faults", [["too long"], ["cut", "wrong range"]])
def test_an_answer_of_the_wrong_size_or_place_is_refused(server, target, faults):
    server.faults = faults
    with pytest.raises(EdgemoeError, match=r"limit|another part"):
        download_emnist(server.url, target)
    assert not target.exists()


def test_a_body_without_end_stops_at_the_limit(server, target, monkeypatch):
    monkeypatch.setattr(download, "_MAX_BYTES", 50_000)
    server.faults = ["no length"]
    with pytest.raises(EdgemoeError, match="goes on after the limit"):
        download_emnist(server.url, target)


def test_offline_the_message_says_what_to_do_by_hand(server, target):
    server.shutdown()
    server.server_close()
    with pytest.raises(EdgemoeError, match="by hand") as caught:
        download_emnist(server.url, target)
    assert EMNIST_URL in str(caught.value)
    assert str(target) in str(caught.value)


def test_a_server_that_keeps_failing_is_given_up(server, target):
    server.faults = [500] * 99
    with pytest.raises(EdgemoeError, match="by hand"):
        download_emnist(server.url, target)
    assert len(server.ranges) == 5


def test_an_archive_that_is_there_is_kept_and_an_empty_one_replaced(server, target):
    target.parent.mkdir()
    target.write_bytes(b"")  # what the emnist package leaves while it downloads
    download_emnist(server.url, target)
    assert len(server.ranges) == 1
    download_emnist(server.url, target)
    assert len(server.ranges) == 1
    target.write_bytes(b"something of the user's")
    with pytest.raises(EdgemoeError, match=r"emnist\.zip"):
        download_emnist(server.url, target)
    assert target.read_bytes() == b"something of the user's"


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "gzip.zip"])
def test_only_web_addresses_are_fetched(target, url):
    with pytest.raises(EdgemoeError, match="not an http"):
        download_emnist(url, target)


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EdgemoeError, match="cannot be written"):
        download_emnist(server.url, tmp_path / "file" / "emnist.zip")


def test_verifying_names_the_missing_sets(tmp_path):
    path = tmp_path / "e.zip"
    path.write_bytes(official(skip="mnist:train"))
    with pytest.raises(EdgemoeError, match="lacks mnist:train"):
        verify_emnist(path)
