"""`--ge` takes a plain float ONNX: quantized once, and kept beside the profile that is made for it."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import edgemoe, failure

onnx = pytest.importorskip("onnx")

from edgemoe import GlobalExpert, MixtureOfExperts, adopt_onnx, load_global_expert  # noqa: E402
from edgemoe.simulator import generic_samples, simulated_samples  # noqa: E402


@pytest.fixture(scope="module")
def plain(ge: GlobalExpert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped expert's float32 form with its logits alone, as anyone might have exported it."""
    model = onnx.load_from_string(ge.bundle.float32)
    del model.graph.output[1:]
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgemoe.global_expert.adopt.CROWD", 5)


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_the_file_goes_from_personalize_to_the_other_verbs(
    plain: Path, two_writers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "me.moe"
    user = ("--samples", two_writers, "--writer", "ann")
    assert edgemoe("personalize", "--ge", plain, *user, "--out", out, "--json") == 0
    made = result(capsys)
    assert made["bundle"] == f"{out}.bundle"
    expert = load_global_expert(f"{out}.bundle")
    images, labels = simulated_samples(2, 4)  # the file's other writer
    everything = np.concatenate([simulated_samples(1, 6)[0], images])
    assert expert.fingerprint == adopt_onnx(plain, images, labels, more=everything).fingerprint
    crowd = ("--generic", two_writers)
    for verb in (("evaluate", *user, *crowd), ("account",), ("export", "onnx", "--out", tmp_path / "me.onnx")):
        assert edgemoe(*verb, "--ge", plain, "--profile", out, "--json") == 0
        capsys.readouterr()
    assert edgemoe("predict", "--ge", plain, "--profile", out, *user, "--json") == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    expected = MixtureOfExperts.load(out, expert).predict(simulated_samples(1, 6)[0])
    assert [p["label"] for p in predictions] == expected.tolist()


@pytest.mark.usefixtures("few")
def test_account_counts_the_file_without_a_profile(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe("account", "--ge", plain, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    model = onnx.load(plain)
    assert found["global"]["parameters"] == sum(int(np.prod(w.dims)) for w in model.graph.initializer)


def test_account_fits_the_samples_that_are_given(
    two_writers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = ("--samples", two_writers, "--writer", "ann")
    assert edgemoe("account", *user, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert edgemoe("personalize", *user, "--out", tmp_path / "me.moe", "--json") == 0
    assert found["profile"]["bytes"] == result(capsys)["bytes"]
    assert found["profile"]["source"] == str(two_writers)


def test_export_bundle_writes_the_expert_that_the_api_makes(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = generic_samples(7, 4)
    np.savez(tmp_path / "crowd.npz", image=images, label=labels)
    out = tmp_path / "net.bundle"
    assert edgemoe("export", "bundle", "--ge", plain, "--samples", tmp_path / "crowd.npz", "--out", out, "--json") == 0
    found = result(capsys)
    expected = adopt_onnx(plain, images, labels)
    assert load_global_expert(out).fingerprint == expected.fingerprint
    assert (found["fingerprint"], found["bytes"]) == (expected.fingerprint.hex(), out.stat().st_size)
    assert edgemoe("export", "bundle", "--ge", plain, "--samples", tmp_path / "crowd.npz", "--out", out) == 0
    assert "188 samples that were given" in capsys.readouterr().out


def test_a_profile_without_its_bundle_or_with_another_files_is_refused(
    plain: Path, profile: Path, ge: GlobalExpert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "me.moe"
    copy.write_bytes(profile.read_bytes())
    assert edgemoe("predict", "--ge", plain, "--profile", copy) == 1
    assert "me.moe.bundle: not there" in failure(capsys)
    expert = adopt_onnx(plain, *generic_samples(7, 4))
    model = onnx.load(plain)
    bias = next(w for w in model.graph.initializer if len(w.dims) == 1)
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 1, bias.name))
    onnx.save(model, tmp_path / "other.onnx")
    from edgemoe.device.bundle import write_bundle

    write_bundle(f"{copy}.bundle", expert.bundle)
    assert edgemoe("predict", "--ge", tmp_path / "other.onnx", "--profile", copy) == 1
    assert "made from another ONNX file" in failure(capsys)


def test_a_file_that_is_no_network_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    for verb in (("personalize", "--out", tmp_path / "out"), ("export", "bundle", "--out", tmp_path / "out")):
        assert edgemoe(*verb, "--ge", tmp_path / "bad.onnx") == 1
        assert "bad.onnx: not a whole ONNX file" in failure(capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.onnx"]
