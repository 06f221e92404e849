"""The verbs that run on a device: results, exit codes, bad input, and files that are whole or absent."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_runner import edgemoe
from PIL import Image

from edgemoe import MixtureOfExperts, Personalizer, load_global_expert
from edgemoe.classes import merge_labels
from edgemoe.data import load_samples
from edgemoe.device.bundle import read_bundle, write_bundle
from edgemoe.device.retention import RetentionSet
from edgemoe.simulator import generic_samples, simulated_samples

GE = load_global_expert()
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated writers, ann and bob, in one file."""
    path = tmp_path_factory.mktemp("samples") / "user.npz"
    sets = [simulated_samples(1, 6), simulated_samples(2, 4)]
    np.savez(
        path,
        image=np.concatenate([images for images, _ in sets]),
        label=np.concatenate([labels for _, labels in sets]),
        writer=np.repeat(["ann", "bob"], [len(labels) for _, labels in sets]),
    )
    return path


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "me.moe"
    Personalizer(GE).fit(*simulated_samples(1, 5)).save(path)
    return path


def failure(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that says why, and check that it is one and stdout is empty."""
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("edgemoe: ")]
    assert len(lines) == 1
    assert err.splitlines()[-1] == lines[0]
    return lines[0]


def test_personalize_writes_the_profile_that_the_api_would(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "me.moe"
    assert edgemoe("personalize", "--samples", user, "--writer", "ann", "--out", out, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    expected = Personalizer(GE).fit(*simulated_samples(1, 6)).profile
    assert out.read_bytes() == expected.to_bytes()
    assert (result["bytes"], result["samples"], result["classes"]) == (len(expected.to_bytes()), 6 * 47, 47)
    assert result["accepted"] is expected.verdict.accepted
    assert result["user_gain"] == expected.verdict.user_gain


def test_shots_and_rest_part_the_samples_and_leave_half_of_each_class(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--samples", user, "--writer", "bob", "--shots", 3, "--rest", tmp_path / "rest.npz")
    assert edgemoe("personalize", *options, "--out", tmp_path / "me.moe", "--json") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 2 * 47  # 4 of each: half is 2
    images, labels, writers = load_samples(tmp_path / "rest.npz")
    all_images, all_labels = simulated_samples(2, 4)
    assert sorted(labels) == sorted(list(GE.classes) * 2)
    assert writers is not None
    assert set(writers) == {"bob"}
    whole = {(image.tobytes(), label) for image, label in zip(all_images, all_labels, strict=True)}
    left = {(image.tobytes(), label) for image, label in zip(images, labels, strict=True)}
    assert left < whole
    assert edgemoe("evaluate", "--profile", tmp_path / "me.moe", "--samples", tmp_path / "rest.npz", "--json") == 0
    assert json.loads(capsys.readouterr().out)["user"]["n"] == 2 * 47


def test_evaluate_measures_what_the_api_predicts(
    user: Path, profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = generic_samples(3, 2)
    np.savez(tmp_path / "others.npz", image=images, label=labels)
    options = ("--samples", user, "--writer", "bob", "--generic", tmp_path / "others.npz")
    assert edgemoe("evaluate", "--profile", profile, *options, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    moe = MixtureOfExperts.load(profile, GE)
    for side, (x, y) in {"user": simulated_samples(2, 4), "generic": (images, labels)}.items():
        assert set(result[side]) == {"n", "global", "local", "mixture", "routed"}
        assert result[side]["n"] == len(y)
        assert result[side]["global"] == pytest.approx((GE.predict(x) == y).mean())
        assert result[side]["mixture"] == pytest.approx(moe.score(x, y))
        assert result[side]["routed"] == pytest.approx((moe.route(x) >= 0.5).mean())
    assert result["source"]["generic"].endswith("others.npz")


def test_evaluate_tests_a_simulated_writer_on_fresh_samples_and_says_what_it_used(
    profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe("evaluate", "--profile", profile, "--seed", 1, "--json") == 0
    out, err = capsys.readouterr()
    fresh = simulated_samples(1, 20, sample_seed=1)
    learnt = {image.tobytes() for image in simulated_samples(1, 5)[0]}
    assert not learnt & {image.tobytes() for image in fresh[0]}
    result = json.loads(out)
    assert result["user"]["global"] == pytest.approx((GE.predict(fresh[0]) == fresh[1]).mean())
    assert result["source"] == {"user": "simulated writer 1", "generic": "20 simulated writers of moderate style"}
    assert "No --samples" in err
    assert "No --generic" in err


def test_predict_names_the_expert_whose_answer_was_given(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("predict", "--profile", profile, "--seed", 1, "--json") == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    images, labels = simulated_samples(1, 2, sample_seed=1)
    moe = MixtureOfExperts.load(profile, GE)
    answers = moe.explain(images)
    assert [p["label"] for p in predictions] == moe.predict(images).tolist()
    assert [p["truth"] for p in predictions] == labels.tolist()
    assert [p["confidence"] for p in predictions] == pytest.approx(moe.predict_proba(images).max(axis=1).tolist())
    for p, of_global, of_local in zip(predictions, answers.global_labels, answers.local_labels, strict=True):
        assert (p["expert"] in ("global", "both")) == (p["label"] == of_global)
        assert (p["expert"] in ("local", "both")) == (p["label"] == of_local)
    assert {p["expert"] for p in predictions} >= {"local", "both"}


def test_predict_reads_a_folder_of_photos(profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = simulated_samples(1, 1, "07Ab")
    rows = ["file,label"]
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        paper = Image.fromarray(230 - (image // 255 * 170).astype(np.uint8)).resize((140, 140))
        paper.save(tmp_path / f"{index}.png")
        rows.append(f"{index}.png,{label}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    assert edgemoe("predict", "--profile", profile, "--samples", tmp_path, "--json") == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    read = load_samples(tmp_path)[0]
    assert [p["label"] for p in predictions] == MixtureOfExperts.load(profile, GE).predict(read).tolist()
    assert [p["truth"] for p in predictions] == ["0", "7", "A", "b"]


def test_tables_are_for_people(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("predict", "--profile", profile) == 0
    assert "confidence" in capsys.readouterr().out
    assert edgemoe("evaluate", "--profile", profile) == 0
    assert "mixture" in capsys.readouterr().out
    assert edgemoe("account", "--profile", profile) == 0
    assert "header and checksum" in capsys.readouterr().out


def test_account_sets_every_byte_of_the_profile_against_the_global_expert(
    profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe("account", "--profile", profile, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    for part in ("global", "local", "gate"):
        assert {"parameters", "bytes", "macs", "energy_nj"} <= set(report[part])
    whole = report["global"]
    assert whole["parameters"] == GE.metadata["parameters"]
    assert report["overhead"]["bytes"] == pytest.approx(profile.stat().st_size / whole["bytes"])
    added = report["local"]["macs"] + report["gate"]["macs"]
    channels, rows, columns = GE.metadata["feature_map"]
    pooled = 4 * channels
    assert added == (47 + 9) * pooled + channels * rows * columns
    assert report["overhead"]["macs"] == pytest.approx(added / whole["macs"])
    assert report["unknown"] == []


def test_account_without_a_profile_fits_one_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("account", "--json", "--seed", 4) == 0
    assert json.loads(capsys.readouterr().out)["profile"]["source"] == "simulated writer 4"


def test_data_lists_what_is_there(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("data", "--data", user.parent, "--json") == 0
    sets = {record["name"]: record for record in json.loads(capsys.readouterr().out)["sets"]}
    found = sets["user.npz"]
    assert (found["present"], found["samples"], found["classes"], found["writers"]) == (True, 470, 47, 2)
    assert sets["photos"]["present"] is False
    assert edgemoe("data", "--data", user.parent) == 0
    assert "edgemoe data download" in capsys.readouterr().out


def test_a_download_that_cannot_be_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("data", "download", "--url", "ftp://localhost/emnist.zip", "--to", tmp_path / "emnist.zip") == 1
    assert "not an http" in failure(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["personalize"],
        ["personalize", "--out", "x.moe", "--loud"],
        ["personalize", "--out", "x.moe", "--size", "huge"],
        ["personalize", "--out", "x.moe", "--shots", "0"],
        ["personalize", "--out", "x.moe", "--budget", "2"],
        ["personalize", "--out", "x.moe", "--rest", "rest.npz"],
        ["personalize", "--out", "x.moe", "--writer", "w003"],
        ["predict"],
        ["evaluate", "--profile"],
        ["demo", "--seed", "-1"],
    ],
)
def test_a_wrong_call_exits_with_2_and_does_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert edgemoe(*arguments) == 2
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_exit_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("--version") == 0
    assert capsys.readouterr().out.startswith("edgemoe 0.")
    for verb in ("demo", "train-global", "prune", "personalize", "predict", "evaluate", "account", "data"):
        assert edgemoe(verb, "--help") == 0
        assert f"Example: edgemoe {verb}" in " ".join(capsys.readouterr().out.split())


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


def test_an_unknown_writer_is_answered_with_those_there_are(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("personalize", "--samples", user, "--writer", "eve", "--out", "x.moe") == 1
    assert "ann, bob" in failure(capsys)


def test_all_writers_are_used_when_none_is_picked_and_a_note_says_so(
    user: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe("personalize", "--samples", user, "--out", tmp_path / "me.moe", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["samples"] == 470
    assert "2 writers" in err


def test_damaged_and_foreign_profiles_and_bundles_fail_in_one_line(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = profile.read_bytes()
    damaged = tmp_path / "damaged.moe"
    flipped = bytearray(content)
    flipped[100] ^= 1
    for broken in (bytes(flipped), content[:-1], b""):
        damaged.write_bytes(broken)
        for verb in ("predict", "evaluate", "account"):
            assert edgemoe(verb, "--profile", damaged, "--json") == 1
            assert "damaged.moe" in failure(capsys)
    bundle, other = GE.bundle, tmp_path / "other.bundle"
    codes = {tap: c[:-1] for tap, c in bundle.retention.codes.items()}
    retention = RetentionSet(codes, bundle.retention.scales, bundle.retention.zeros, bundle.retention.labels[:-1])
    write_bundle(other, replace(bundle, retention=retention))
    assert read_bundle(other).metadata["fingerprint"] != GE.metadata["fingerprint"]
    for verb in ("predict", "evaluate", "account"):
        assert edgemoe(verb, "--profile", profile, "--ge", other) == 1
        assert "made for the global expert" in failure(capsys)
    other.write_bytes(other.read_bytes()[:-100])
    assert edgemoe("predict", "--profile", profile, "--ge", other) == 1
    assert "other.bundle" in failure(capsys)
    assert edgemoe("predict", "--profile", profile, "--ge", "lenet9") == 1
    assert "lenet5-balanced" in failure(capsys)


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


def test_the_device_verbs_need_nothing_but_the_base_install(profile: Path, tmp_path: Path) -> None:
    program = """
import sys
for name in ("torch", "onnx", "scipy", "sklearn", "emnist", "torch_pruning", "matplotlib"):
    sys.modules[name] = None
from edgemoe.cli import main
main()
"""

    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", program, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    for arguments in (
        ["demo", "--json"],
        ["personalize", "--out", "me.moe", "--json"],
        ["predict", "--profile", profile, "--json"],
        ["evaluate", "--profile", profile, "--json"],
        ["account", "--profile", profile, "--json"],
        ["data", "--json"],
    ):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)
    for arguments in (
        ["train-global", "--data", "x.npz", "--out", "run"],
        ["prune", "--expert", "x.npz", "--shape", "2-2-2", "--data", "x.npz", "--out", "run"],
    ):
        done = run(*arguments)
        assert done.returncode == 1
        assert "pip install 'edgemoe[train]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_real_writer_gains_and_real_others_hardly_lose(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writers = shared_data / "unipen" / "writers.npz"
    rest, out = tmp_path / "rest.npz", tmp_path / "me.moe"
    options = ("--samples", writers, "--writer", "w003", "--shots", 5, "--rest", rest)
    assert edgemoe("personalize", *options, "--out", out, "--json") == 0
    learnt = json.loads(capsys.readouterr().out)["samples"]
    generic = f"{shared_data / 'emnist' / 'emnist.zip'}:byclass-part:test"
    assert edgemoe("evaluate", "--profile", out, "--samples", rest, "--generic", generic, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    _, labels, ids = load_samples(writers)
    assert ids is not None
    own = merge_labels(labels[ids == "w003"], GE.classes)
    assert result["user"]["n"] + learnt == len(own)
    assert learnt == sum(min(5, int((own == label).sum()) // 2) for label in np.unique(own))
    assert result["generic"]["n"] == 16_000
    assert result["user"]["mixture"] > result["user"]["global"]
    assert result["generic"]["mixture"] > result["generic"]["global"] - 0.01
