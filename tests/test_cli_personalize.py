"""What `edgemoe personalize` writes, from which samples, and what it refuses."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from cli_runner import edgemoe, failure

from edgemoe import GlobalExpert, MixtureOfExperts, Personalizer
from edgemoe.data import load_samples
from edgemoe.simulator import simulated_samples


def test_personalize_writes_the_profile_that_the_api_would(
    ge: GlobalExpert, two_writers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "me.moe"
    assert edgemoe("personalize", "--samples", two_writers, "--writer", "ann", "--out", out, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    expected = Personalizer(ge).fit(*simulated_samples(1, 6)).profile
    assert out.read_bytes() == expected.to_bytes()
    assert (result["bytes"], result["samples"], result["classes"]) == (len(expected.to_bytes()), 6 * 47, 47)
    assert result["accepted"] is expected.verdict.accepted
    assert result["user_gain"] == expected.verdict.user_gain


def test_shots_and_rest_part_the_samples_and_leave_half_of_each_class(
    ge: GlobalExpert, two_writers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--samples", two_writers, "--writer", "bob", "--shots", 3, "--rest", tmp_path / "rest.npz")
    assert edgemoe("personalize", *options, "--out", tmp_path / "me.moe", "--json") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 2 * 47  # 4 of each: half is 2
    images, labels, writers = load_samples(tmp_path / "rest.npz")
    all_images, all_labels = simulated_samples(2, 4)
    assert sorted(labels) == sorted(list(ge.classes) * 2)
    assert writers is not None
    assert set(writers) == {"bob"}
    whole = {(image.tobytes(), label) for image, label in zip(all_images, all_labels, strict=True)}
    left = {(image.tobytes(), label) for image, label in zip(images, labels, strict=True)}
    assert left < whole
    assert edgemoe("evaluate", "--profile", tmp_path / "me.moe", "--samples", tmp_path / "rest.npz", "--json") == 0
    assert json.loads(capsys.readouterr().out)["user"]["n"] == 2 * 47


def test_one_sample_in_all_is_enough_to_learn_from_but_not_to_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = simulated_samples(1, 1, "7")
    np.savez(tmp_path / "one.npz", image=images, label=labels)
    options = ("--samples", tmp_path / "one.npz", "--out", tmp_path / "me.moe")
    assert edgemoe("personalize", *options, "--shots", 1) == 1
    assert "no class has two samples" in failure(capsys)
    assert edgemoe("personalize", *options, "--json") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 1


def test_symbols_are_learnt_kept_and_read_again(
    ge: GlobalExpert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = simulated_samples(3, 6, ge.classes + "+=")
    np.savez(tmp_path / "user.npz", image=images, label=labels)
    options = ("--samples", tmp_path / "user.npz", "--shots", 3, "--rest", tmp_path / "rest.npz")
    out = tmp_path / "me.moe"
    assert edgemoe("personalize", *options, "--symbols", "+=", "--out", out, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["symbols"], result["classes"]) == ("+=", 49)
    assert "".join(MixtureOfExperts.load(out, ge).classes_) == ge.classes + "+="
    assert edgemoe("predict", "--profile", out, "--samples", tmp_path / "rest.npz", "--json") == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    symbols = [p for p in predictions if p["truth"] in "+="]
    assert len(symbols) == 6
    assert sum(p["local"] == p["truth"] for p in symbols) >= 5
    assert edgemoe("evaluate", "--profile", out, "--samples", tmp_path / "rest.npz", "--json") == 0
    assert json.loads(capsys.readouterr().out)["user"]["n"] == 3 * 49


def test_a_symbol_is_refused_where_it_was_not_announced_or_is_a_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = simulated_samples(3, 2, "07+")
    np.savez(tmp_path / "user.npz", image=images, label=labels)
    out = ("--out", tmp_path / "me.moe")
    assert edgemoe("personalize", "--samples", tmp_path / "user.npz", *out) == 1
    assert "sample 2 is '+', none of the 62 characters" in failure(capsys)
    assert edgemoe("personalize", "--samples", tmp_path / "user.npz", "--symbols", "=", *out) == 1
    assert "sample 2 is '+', none of the 62 characters, nor of the symbols =" in failure(capsys)
    assert edgemoe("personalize", "--symbols", "A", *out) == 1
    assert "'A' is given twice, or is one of the global expert's classes" in failure(capsys)
    assert not (tmp_path / "me.moe").exists()


def test_an_unknown_writer_is_answered_with_those_there_are(
    two_writers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe("personalize", "--samples", two_writers, "--writer", "eve", "--out", "x.moe") == 1
    assert "ann, bob" in failure(capsys)


def test_all_writers_are_used_when_none_is_picked_and_a_note_says_so(
    two_writers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe("personalize", "--samples", two_writers, "--out", tmp_path / "me.moe", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["samples"] == 470
    assert "2 writers" in err


def test_missing_and_broken_samples_fail_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "me.moe"
    assert edgemoe("personalize", "--samples", tmp_path / "none.npz", "--out", out) == 1
    assert "none.npz" in failure(capsys)
    images, labels = simulated_samples(1, 1, "07")
    bad = tmp_path / "bad.npz"
    for fields, word in (
        ({"image": images, "label": np.array(["0", "?"])}, "label"),
        ({"image": images.astype(np.float32), "label": labels}, "image"),
        ({"image": images[:, :20], "label": labels}, "image"),
        ({"image": images[:0], "label": labels[:0]}, "label"),
    ):
        np.savez(bad, **fields)
        assert edgemoe("personalize", "--samples", bad, "--out", out) == 1
        message = failure(capsys)
        assert "bad.npz" in message
        assert word in message
    bad.write_bytes(bad.read_bytes()[:200])
    assert edgemoe("personalize", "--samples", bad, "--out", out) == 1
    assert "bad.npz" in failure(capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    ("fault", "code", "word"),
    [(OSError(errno.ENOSPC, "No space left on device"), 1, "No space left"), (KeyboardInterrupt(), 130, "interrupted")],
)
def test_a_full_disk_or_ctrl_c_leaves_the_old_profile_and_nothing_else(
    fault: BaseException,
    code: int,
    word: str,
    profile: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(handle: int) -> None:
        raise fault

    out = tmp_path / "me.moe"
    out.write_bytes(profile.read_bytes())
    monkeypatch.setattr(os, "fsync", fail)
    assert edgemoe("personalize", "--out", out, "--seed", 9) == code
    assert word in failure(capsys)
    assert out.read_bytes() == profile.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["me.moe"]
