"""The firmware on every target does what the Python side does, within the issue's limits; a wrong bit is found."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from firmware_tools import require_target

from edgemoe import EdgemoeError, GlobalExpert
from edgemoe.device.profile import Profile
from edgemoe.simulator import simulated_samples
from firmware_export import verify as module
from firmware_export.targets import TARGETS
from firmware_export.verify import Vectors, verify

PROMISED = {
    *("target", "samples", "instructions_per_inference", "instructions_train", "flash_bytes", "ram_bytes"),
    *("stack_bytes", "mismatches", "max_abs_difference"),
}  # FORMATS.md
COUNTED = {"instructions_per_inference", "instructions_train", "flash_bytes", "ram_bytes", "stack_bytes"}
RETAINED = 1000


def vectors(shots: int) -> Vectors:
    """Ten images to recognize, and so many samples of each class to learn from."""
    samples, labels = simulated_samples(seed=3, per_class=shots)
    return Vectors(simulated_samples(seed=3, per_class=1, sample_seed=1)[0][1:41:4], samples, labels.tolist())


@pytest.fixture(scope="module")
def whole(ge: GlobalExpert) -> dict[str, Any]:
    """Five samples of each class learnt on the Cortex-M4F, with the retention set that a package takes there."""
    return verify(ge, require_target("cortex-m4"), vectors(5))


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_recognizes_and_trains_as_the_python_side_does(name: str, ge: GlobalExpert) -> None:
    result = verify(ge, require_target(name), vectors(2), retained=RETAINED)
    assert result["passed"]
    assert result["mismatches"] == 0
    assert result["max_abs_difference"] < 1e-5
    assert result["trained_agreement"] == 1
    assert result["trained_alike"] > 0.98
    assert set(result) >= PROMISED
    assert (result["target"], result["samples"], result["retained"]) == (name, 10, RETAINED)
    on_a_board = TARGETS[name].board is not None
    assert {key for key in COUNTED if result[key] is not None} == (COUNTED if on_a_board else set())


def test_a_personalization_stays_within_its_limits_on_a_cortex_m4(whole: dict[str, Any]) -> None:
    assert whole["passed"]
    assert whole["instructions_train"] == whole["observe_instructions"] + whole["learn_instructions"]
    assert whole["instructions_train"] <= 600e6
    assert whole["ram_bytes"] <= 64 << 10
    assert 0 < whole["overhead"] <= 0.01
    assert whole["flash_bytes"] <= TARGETS["cortex-m4"].budget.flash
    assert whole["retained"] > RETAINED


def edited(monkeypatch: pytest.MonkeyPatch, name: str, edit: Callable[[str], str]) -> None:
    """Have a file of the library edited after it was generated."""
    write = module.write_library

    def written(folder: Path, *rest: Any) -> None:
        write(folder, *rest)
        text = (folder / name).read_text()
        (folder / name).write_text(edit(text))
        assert (folder / name).read_text() != text

    monkeypatch.setattr(module, "write_library", written)


def test_one_wrong_weight_is_found(ge: GlobalExpert, monkeypatch: pytest.MonkeyPatch) -> None:
    first = re.compile(r"(em_weights_0\[\d+\] EM_ALIGNED = \{\s+-?\d+, -?\d+, )(-?\d+)")
    edited(monkeypatch, "em_network.c", lambda text: first.sub(lambda found: f"{found[1]}{-int(found[2]) - 1}", text))
    result = verify(ge, require_target("host"), vectors(1), retained=RETAINED)
    assert result["mismatches"] > 0
    assert not result["passed"]


def test_one_wrong_code_of_the_profile_is_found(ge: GlobalExpert, monkeypatch: pytest.MonkeyPatch) -> None:
    write = module._vectors

    def with_another_code(images: Any, samples: Any, targets: Any, profile: bytes, bits: int) -> str:
        kept = Profile.from_bytes(profile)
        codes = kept.gate.weights.codes.copy()
        codes.flat[abs(codes).argmax()] *= -1
        changed = replace(kept, gate=replace(kept.gate, weights=replace(kept.gate.weights, codes=codes)))
        return write(images, samples, targets, changed.to_bytes(), bits)

    monkeypatch.setattr(module, "_vectors", with_another_code)
    result = verify(ge, require_target("host"), vectors(1), retained=RETAINED)
    assert result["max_abs_difference"] > 1e-4
    assert not result["passed"]


def test_a_profile_that_the_firmware_refuses_is_an_error(ge: GlobalExpert, monkeypatch: pytest.MonkeyPatch) -> None:
    write = module._vectors

    def torn(images: Any, samples: Any, targets: Any, profile: bytes, bits: int) -> str:
        return write(images, samples, targets, profile[:-1] + bytes([profile[-1] ^ 1]), bits)

    monkeypatch.setattr(module, "_vectors", torn)
    with pytest.raises(EdgemoeError, match=r"host: the firmware ended with code 1: .*em_load 6"):  # EM_CHECKSUM
        verify(ge, require_target("host"), vectors(1), retained=RETAINED)
