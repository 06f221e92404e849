"""`edgemoe export firmware` and `edgemoe firmware verify`: one JSON document, or one line that says why not."""

import json
import sys
from pathlib import Path

import pytest
from cli_runner import edgemoe, failure
from firmware_tools import require_target

from firmware_export import emulator, toolchain
from firmware_export import verify as module

PROMISED = {
    *("target", "samples", "instructions_per_inference", "instructions_train", "flash_bytes", "ram_bytes"),
    *("stack_bytes", "mismatches", "max_abs_difference"),
}  # FORMATS.md


def test_export_writes_a_package_and_says_what_it_takes(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = require_target("cortex-m4")
    out = tmp_path / "firmware"
    call = ("export", "firmware", "--target", "cortex-m4", "--profile", profile, "--out", out, "--retained", 1000)
    assert edgemoe(*call, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["folder"], result["target"], result["retained"]) == (str(out), "cortex-m4", 1000)
    assert result["budget"] == {"part": "nRF52840", "flash": 1 << 20, "ram": 256 << 10}
    assert 0 < result["flash"]["recognize"] < result["flash"]["whole"] < target.budget.flash
    assert 0 < result["ram"]["recognize"] < result["ram"]["whole"] < target.budget.ram
    assert profile.read_bytes().hex(",").count(",") + 1 == int(
        (out / "example" / "vectors.h").read_text().split("EM_VECTOR_PROFILE_BYTES ")[1].split()[0]
    )


def test_a_person_is_told_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "firmware"
    assert edgemoe("export", "firmware", "--target", "host", "--out", out) == 0
    said = capsys.readouterr().out
    assert f"Wrote{out}" in "".join(said.split())
    assert "2,500" in said
    assert (out / "edgemoe.h").is_file()


def test_verify_gives_what_is_promised(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_target("host")
    assert edgemoe("firmware", "verify", "--target", "host", "--profile", profile, "--retained", 1000, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) >= PROMISED
    assert (result["target"], result["samples"], result["mismatches"]) == ("host", 100, 0)
    assert result["passed"]


def test_verify_fails_where_the_firmware_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {**dict.fromkeys(PROMISED, 1), "target": "host", "samples": 10, "mismatches": 3, "passed": False}
    result |= {"overhead": None, "trained_agreement": 0.9}
    monkeypatch.setattr(module, "verify", lambda *_: result)
    assert edgemoe("firmware", "verify", "--target", "host") == 1
    out, err = capsys.readouterr()
    assert "host: FAIL" in out
    assert "10 images, 3 of them differ" in out
    assert err.splitlines()[-1] == "edgemoe: host: the firmware and the Python side differ"


VERBS = {"export": ("export", "firmware", "--out", "firmware"), "verify": ("firmware", "verify")}


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_target_is_refused_with_those_that_are_there(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert edgemoe(*VERBS[verb], "--target", "cortex-m0") == 1
    assert failure(capsys) == (
        "edgemoe: target 'cortex-m0': there is none; choose from "
        "cortex-m3, cortex-m4, cortex-m7, cortex-m33, cortex-m55, host, aarch64"
    )


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (("firmware", "verify", "--target", "host", "--optimize", "-O9"), "expected -O1, -O2, -O3 or -Os"),
        (("firmware", "verify", "--target", "host", "--size", "huge"), "'huge' is not one of"),
        (("firmware", "verify"), "Missing option '--target'"),
        (("export", "firmware", "--target", "host"), "Missing option '--out'"),
        (("export", "firmware", "--target", "host", "--out", "x", "--retained", "10"), "--retained"),
    ],
)
def test_a_wrong_call_ends_with_2(
    call: tuple[str, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert edgemoe(*call) == 2
    assert why in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", VERBS)
def test_without_the_cross_compiler_the_error_names_its_packages(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    assert edgemoe(*VERBS[verb], "--target", "cortex-m4") == 1
    assert failure(capsys) == (
        "edgemoe: arm-none-eabi-gcc: not installed; on Debian the packages gcc-arm-none-eabi and "
        "libnewlib-arm-none-eabi bring it"
    )
    assert not list(tmp_path.iterdir())


def test_without_the_emulator_the_error_names_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = require_target("cortex-m4")
    monkeypatch.setattr(emulator, "runner", lambda _: ["qemu-system-arm"])
    which = emulator.shutil.which
    monkeypatch.setattr(emulator.shutil, "which", lambda name: None if name in target.runner else which(name))
    assert edgemoe("firmware", "verify", "--target", "cortex-m4", "--retained", 1000) == 1
    assert failure(capsys) == (
        "edgemoe: qemu-system-arm: not installed; on Debian the package qemu-system-arm brings it"
    )


@pytest.mark.parametrize("verb", VERBS)
def test_without_the_package_onnx_the_error_names_the_extra(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.chdir(tmp_path)
    assert edgemoe(*VERBS[verb], "--target", "host") == 1
    assert "edgemoe[export]" in failure(capsys)
    assert not list(tmp_path.iterdir())
