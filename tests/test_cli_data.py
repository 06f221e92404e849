"""`edgemoe data` says what data is there, and what cannot be downloaded."""

import json
from pathlib import Path

import pytest
from cli_runner import edgemoe, failure


def test_data_lists_what_is_there(two_writers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("data", "--data", two_writers.parent, "--json") == 0
    sets = {record["name"]: record for record in json.loads(capsys.readouterr().out)["sets"]}
    found = sets["user.npz"]
    assert (found["present"], found["samples"], found["classes"], found["writers"]) == (True, 470, 47, 2)
    assert sets["photos"]["present"] is False
    assert edgemoe("data", "--data", two_writers.parent) == 0
    assert "edgemoe data download" in capsys.readouterr().out


def test_a_download_that_cannot_be_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("data", "download", "--url", "ftp://localhost/emnist.zip", "--to", tmp_path / "emnist.zip") == 1
    assert "not an http" in failure(capsys)
    assert list(tmp_path.iterdir()) == []
