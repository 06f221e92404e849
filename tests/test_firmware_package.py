"""The package of the shipped expert: complete, compiled by everyone, found right by its own example, written whole."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from firmware_tools import require, require_target
from package_checks import (
    built_and_tested,
    check_arduino_archive,
    check_platformio_manifest,
    check_zephyr_module,
    command,
    run_sketch,
    zephyr_application,
)

from edgemoe import EdgemoeError, GlobalExpert, MixtureOfExperts
from edgemoe.device.profile import Profile, read_profile
from edgemoe.simulator import simulated_samples
from firmware_export import package
from firmware_export.expert import IntegerExpert
from firmware_export.package import LIBRARY, write_package
from firmware_export.targets import TARGETS
from firmware_export.toolchain import BOARDS, build, compile_everywhere

RETAINED = 100  # few: compilers take long over them
IMAGES = simulated_samples(seed=1, per_class=1, sample_seed=1)[0][::6]

Write = Callable[..., dict[str, object]]


@pytest.fixture(scope="module")
def ann(profile: Path) -> Profile:
    return read_profile(profile)


@pytest.fixture(scope="module")
def write(ge: GlobalExpert, ann: Profile) -> Write:
    """Write a package with ann's profile and few retained samples, or what is asked for."""

    def written(out: Path, target: str, **changed: object) -> dict[str, object]:
        arguments = {"profile": ann, "retained": RETAINED} | changed
        return write_package(out, ge, TARGETS[target], IMAGES, **arguments)

    return written


@pytest.fixture(scope="module")
def host(write: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("host") / "package"
    write(out, "host")
    return out


@pytest.fixture(scope="module")
def m4(write: Write, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    require_target("cortex-m4")
    out = tmp_path_factory.mktemp("m4") / "package"
    return out, write(out, "cortex-m4")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def digest(folder: Path) -> str:
    """Of all names and bytes."""
    parts = [f"{name} {hashlib.sha256((folder / name).read_bytes()).hexdigest()}" for name in sorted(files(folder))]
    return "\n".join(parts)


EVERYWHERE = {path.name for path in LIBRARY.iterdir()} | {
    *("edgemoe_model.h", "em_model.c", "em_network.c", "CMakeLists.txt", "README.md", "library.json"),
    *("edgemoe-arduino.zip", "example/main.c", "example/vectors.h"),
    *("zephyr/module.yml", "zephyr/CMakeLists.txt", "zephyr/Kconfig"),
}
BOARD = {f"board/{path.name}" for path in BOARDS.iterdir()} - {"board/em_board_empty.c", "board/em_board_host.c"}


def test_every_file_is_there_and_no_other(host: Path, m4: tuple[Path, dict[str, object]]) -> None:
    assert files(host) == EVERYWHERE
    assert files(m4[0]) == EVERYWHERE | BOARD | {"toolchain.cmake"}


def test_all_of_it_compiles_as_c99_and_as_cpp_by_every_compiler_without_a_warning(host: Path) -> None:
    for tool in ("gcc", "clang", "arm-none-eabi-gcc"):
        require(tool)
    compile_everywhere([*host.glob("em_*.c"), host / "example" / "main.c"], [host])


@pytest.mark.parametrize("target", ["host", "cortex-m4"])
def test_the_cmake_project_builds_and_its_example_passes(
    target: str, host: Path, m4: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    folder = host if target == "host" else m4[0]
    command("cp", "-r", folder, tmp_path / "package")  # the build goes into it
    printed = built_and_tested(tmp_path / "package")
    assert re.search(rf"images {len(IMAGES)}\n\d+: wrong 0\n\d+: status 0\n\d+: PASS\n", printed), printed
    assert "100% tests passed, 0 tests failed out of 1" in printed


def test_the_arduino_library_recognizes_as_the_python_side_does(
    host: Path, ge: GlobalExpert, ann: Profile, tmp_path: Path
) -> None:
    check_arduino_archive(host)
    said = run_sketch(host, tmp_path, IMAGES[:2].tobytes()).splitlines()
    chances = MixtureOfExperts(IntegerExpert(ge, RETAINED), ann).predict_proba(IMAGES[:2])
    assert said[0] == "PASS"
    assert [line.split()[0] for line in said[1:]] == [ge.classes[index] for index in chances.argmax(axis=1)]
    assert [float(line.split()[1]) for line in said[1:]] == pytest.approx(chances.max(axis=1), abs=0.006)


def test_platformio_and_zephyr_take_it(host: Path, tmp_path: Path) -> None:
    check_platformio_manifest(host)
    check_zephyr_module(host)
    assert command(str(zephyr_application(host, tmp_path, chosen=True))).endswith("PASS\n")


def test_the_readme_says_what_was_measured(ge: GlobalExpert, m4: tuple[Path, dict[str, object]]) -> None:
    folder, result = m4
    layers = IntegerExpert(ge, RETAINED).network.layers
    weights = sum(layer.weights.size // (1 if getattr(layer, "codes", None) is None else 2) for layer in layers)
    text = (folder / "README.md").read_text()
    flash, ram = result["flash"], result["ram"]
    assert isinstance(flash, dict)
    assert isinstance(ram, dict)
    assert weights < flash["recognize"] < flash["whole"] < TARGETS["cortex-m4"].budget.flash
    assert f"| **together** | **{flash['whole']:,}** |" in text
    assert f"| {ram['recognize']:,} |" in text
    assert f"| {ram['whole']:,} |" in text


def test_the_same_input_gives_the_same_bytes_also_over_an_old_package(write: Write, host: Path, tmp_path: Path) -> None:
    write(tmp_path / "package", "host", profile=None)
    assert digest(tmp_path / "package") != digest(host)
    write(tmp_path / "package", "host")
    assert digest(tmp_path / "package") == digest(host)
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def test_what_is_no_package_is_refused_and_stays_as_it_is(write: Write, tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "thesis.tex").write_text("all of it")
    file.write_text("mine")
    for out in (folder, file):
        with pytest.raises(
            EdgemoeError, match=f"{out}: is there, and is no package of edgemoe's; choose another --out"
        ):
            write(out, "host")
    assert {path.name for path in tmp_path.rglob("*")} == {"folder", "thesis.tex", "file"}
    assert (folder / "thesis.tex").read_text() == "all of it"
    assert file.read_text() == "mine"


def test_a_failure_in_the_middle_leaves_the_old_package_whole(
    write: Write, host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "package"
    command("cp", "-r", host, out)

    def full(*_: object) -> None:
        raise EdgemoeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(package, "write_packaging", full)
        with pytest.raises(EdgemoeError, match="the disk is full"):
            write(out, "host", profile=None)
    assert digest(out) == digest(host)

    moved: list[Path] = []
    rename = os.rename

    def second_fails(source: Path, place: Path) -> None:
        moved.append(source)
        if len(moved) == 2:
            raise KeyboardInterrupt
        rename(source, place)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(KeyboardInterrupt):
        package._replace(out, tmp_path, tmp_path / "old")
    assert moved == [out, tmp_path, tmp_path / "old"]
    assert digest(out) == digest(host)


def test_what_does_not_fit_the_part_is_refused_with_the_numbers(write: Write, ge: GlobalExpert, tmp_path: Path) -> None:
    require_target("cortex-m3")
    with pytest.raises(EdgemoeError) as refused:
        write(tmp_path / "package", "cortex-m3", retained=len(ge.retention))
    said = re.fullmatch(
        r"target cortex-m3: a STM32F103RE would need ([\d,]+) bytes of flash of its 524,288", str(refused.value)
    )
    assert said, refused.value
    one = (IntegerExpert(ge, 1).network.features + 1) // 2 + len(ge.classes) + 1
    assert int(said[1].replace(",", "")) > len(ge.retention) * one > 524_288
    assert not list(tmp_path.iterdir())


def test_a_profile_that_the_package_cannot_hold_is_refused(write: Write, ann: Profile, tmp_path: Path) -> None:
    with pytest.raises(EdgemoeError, match="the profile has 5 spare symbols, and there is room for 4"):
        write(tmp_path / "package", "host", profile=replace(ann, symbols="αβγδε"), spare=4)
    with pytest.raises(EdgemoeError, match="the profile was made for the global expert 00000000"):
        write(tmp_path / "package", "host", profile=replace(ann, fingerprint=bytes(16)))
    assert not list(tmp_path.iterdir())


ARENAS = """
#include <stdlib.h>
#include "em_train.h"
#include "em_board.h"
#include "vectors.h"
static em_sample samples[EM_VECTORS];
int main(void) {
    const size_t sizes[] = {EM_ARENA_PREDICT - 8, EM_ARENA_PREDICT, EM_ARENA_TRAIN - 8, EM_ARENA_TRAIN};
    for (int k = 0; k < 4; k++) {
        void *arena = malloc(sizes[k]);
        em *moe;
        em_answer answer;
        const em_status status = em_init(&moe, arena, sizes[k]);
        em_board_report("init", status);
        if (status == EM_OK) {
            em_board_report("predict", em_predict(moe, em_vector_image[0], &answer));
            for (int i = 0; i < EM_VECTORS; i++) em_observe(moe, em_vector_image[i], em_vector_label[i], &samples[i]);
            em_board_report("train", em_train(moe, samples, EM_VECTORS, 2));
            em_board_report("learn", em_learn(moe, em_vector_image[1], 3));
        }
        free(arena);
    }
    em_board_report("head", offsetof(em, work));
    em_board_report("network", EM_NETWORK_SCRATCH);
    em_board_report("workshop", sizeof(em_workshop));
    em_board_report("arena to predict", EM_ARENA_PREDICT);
    em_board_report("arena to train", EM_ARENA_TRAIN);
    return 0;
}
"""
OK, TOO_SMALL = 0, 3  # em_status


def test_arenas_are_as_large_as_the_code_needs_and_no_word_less(host: Path, tmp_path: Path) -> None:
    require("gcc")
    (tmp_path / "arenas.c").write_text(ARENAS)
    sources = [tmp_path / "arenas.c", *host.glob("em_*.c")]
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    program = build(TARGETS["host"], sources, [host, host / "example"], tmp_path / "arenas", None, "-O1", flags)
    done = package_run(program)
    assert done["init"] == [TOO_SMALL, OK, OK, OK]
    assert done["predict"] == [OK, OK, OK]
    assert done["train"] == done["learn"] == [TOO_SMALL, TOO_SMALL, OK]
    slack = {
        "predict": done["arena to predict"][0] - done["head"][0] - done["network"][0],
        "train": done["arena to train"][0] - done["head"][0] - done["workshop"][0],
    }
    assert all(0 <= spare < 256 for spare in slack.values()), slack  # for alignment, on all targets


def package_run(program: Path) -> dict[str, npt.NDArray[np.int64]]:
    found: dict[str, list[int]] = {}
    for line in command(str(program)).splitlines():
        name, _, number = line.rpartition(" ")
        found.setdefault(name, []).append(int(number))
    return found
