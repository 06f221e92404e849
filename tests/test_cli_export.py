"""`edgemoe export onnx`: the graph of the profile that is named, or one line and no file."""

import builtins
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from cli_runner import edgemoe

from edgemoe import GlobalExpert, MixtureOfExperts, Personalizer
from edgemoe.device.profile import Profile, write_profile
from edgemoe.simulator import simulated_samples


@pytest.fixture(scope="module")
def profile(ge: GlobalExpert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "me.moe"
    Personalizer(ge).fit(*simulated_samples(3, 5)).save(path)
    return path


def test_the_graph_reads_characters_as_the_profile_does(
    ge: GlobalExpert, profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "me.onnx"
    assert edgemoe("export", "onnx", "--profile", profile, "--out", out, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["graph"], result["bytes"], result["accepted"]) == (str(out), out.stat().st_size, True)
    assert (result["fingerprint"], result["classes"]) == (ge.fingerprint.hex(), ge.classes)
    images, _ = simulated_samples(3, 1, sample_seed=1)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["classes"] == ge.classes
    probabilities, _ = session.run(None, {"image": images[:, None].astype(np.float32) / np.float32(255)})
    expected = MixtureOfExperts.load(profile, ge).predict(images)
    np.testing.assert_array_equal(np.array(list(ge.classes))[probabilities.argmax(axis=1)], expected)


def test_a_person_is_told_what_goes_in_and_comes_out(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgemoe("export", "onnx", "--profile", profile, "--out", tmp_path / "me.onnx") == 0
    out = capsys.readouterr().out
    assert "image (n, 1, 28, 28) float32" in out
    assert "probabilities (n, 47)" in out


def test_a_profile_of_another_expert_is_refused_and_no_file_is_left(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(profile.read_bytes())
    other = Profile.from_bytes(bytes(content))
    write_profile(tmp_path / "other.moe", Profile(**{**vars(other), "fingerprint": bytes(16)}))
    assert edgemoe("export", "onnx", "--profile", tmp_path / "other.moe", "--out", tmp_path / "me.onnx") == 1
    assert "was made for the global expert 00000000" in capsys.readouterr().err
    assert not (tmp_path / "me.onnx").exists()


def test_a_damaged_profile_leaves_the_old_graph(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, out = tmp_path / "damaged.moe", tmp_path / "me.onnx"
    damaged.write_bytes(profile.read_bytes()[:-9])
    out.write_bytes(b"old")
    assert edgemoe("export", "onnx", "--profile", damaged, "--out", out) == 1
    assert "damaged.moe" in capsys.readouterr().err
    assert out.read_bytes() == b"old"


def test_without_the_package_onnx_the_error_names_the_extra(
    profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.split(".")[0] == "onnx":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    assert edgemoe("export", "onnx", "--profile", profile, "--out", tmp_path / "me.onnx") == 1
    assert "edgemoe[export]" in capsys.readouterr().err
    assert not (tmp_path / "me.onnx").exists()
