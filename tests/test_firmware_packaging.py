"""What is written around the C files builds and runs, and keeps the rules of those who read it."""

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from firmware_mixture import Expert
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

from edgemoe import EdgemoeError
from firmware_export.packaging import Cost, PackageFacts, write_packaging
from firmware_export.targets import TARGETS
from firmware_export.toolchain import compile_everywhere

C_SOURCES = Path(__file__).resolve().parents[1] / "firmware_export" / "c"

# A library behind the real header that answers with the sum of the pixels: what is packed is not what is tested here.
MODEL = """
#ifndef EDGEMOE_MODEL_H
#define EDGEMOE_MODEL_H
#define EM_CLASSES 47
#define EM_SPARE 0
#define EM_POOLED 64
#define EM_FEATURES 256
#define EM_NETWORK_SCRATCH 1000
#define EM_SAMPLES_MOST 300
#define EM_RETAINED_TRAINING 100
#endif
"""
SOURCES = {
    "em_answers.c": """
#include "em_sum.h"
struct em { uint8_t offset; };
em_status em_init(em **moe, void *arena, size_t bytes) {
    if (bytes < EM_ARENA_PREDICT) return EM_ARENA;
    *moe = (em *)arena;
    (*moe)->offset = 0;
    return EM_OK;
}
em_status em_load(em *moe, const uint8_t *profile, size_t bytes) {
    if (bytes != 1) return EM_NO_PROFILE;
    moe->offset = profile[0];
    return EM_OK;
}
em_status em_predict(em *moe, const uint8_t *image, em_answer *answer) {
    answer->label = (uint16_t)((em_sum(image) + moe->offset) % EM_CLASSES);
    answer->confidence = 0.5f;
    return EM_OK;
}
uint32_t em_character(const em *moe, uint16_t label) { return 65u + label + 0u * moe->offset; }
""",
    "em_sum.c": """
#include "em_sum.h"
uint32_t em_sum(const uint8_t *image) {
    uint32_t sum = 0;
    for (int k = 0; k < EM_PIXELS; k++) sum += image[k];
    return sum;
}
""",
    "em_sum.h": """
#ifndef EM_SUM_H
#define EM_SUM_H
#include "edgemoe.h"
#ifdef __cplusplus
extern "C" {
#endif
uint32_t em_sum(const uint8_t *image);
#ifdef __cplusplus
}
#endif
#endif
""",
}
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


def expected(offset: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return (IMAGES.reshape(5, -1).astype(np.int64).sum(1) + offset) % 47


def package(folder: Path, target: str, **changed: object) -> Path:
    """A package of the library above, for a target."""
    folder.mkdir(exist_ok=True)
    shutil.copy(C_SOURCES / "edgemoe.h", folder)
    for name, text in {"edgemoe_model.h": MODEL, **SOURCES}.items():
        (folder / name).write_text(text)
    write_packaging(folder, dataclasses.replace(facts(target), **changed))
    return folder


def facts(target: str) -> PackageFacts:
    return PackageFacts(
        target=TARGETS[target],
        expert="lenet5-balanced",
        fingerprint="00ff" * 8,
        version="0.1.0",
        licence="Apache-2.0",
        classes=47,
        profile_bytes=1234,
        slot_bytes=4096,
        images=IMAGES,
        labels=expected(9),
        profile=b"\x09",
        flash={"weights": 40_000, "code": 2_345},
        costs=(Cost("recognize an image", 5_000, 321, 654_321), Cost("train", 60_000)),
        measured_with="GCC 12.2 with -O2",
    )


@pytest.mark.parametrize("name", ["host", "aarch64", "cortex-m3", "cortex-m4", "cortex-m55"])
def test_the_cmake_project_builds_and_its_example_passes(name: str, tmp_path: Path) -> None:
    require_target(name)
    printed = built_and_tested(package(tmp_path / "package", name))
    assert re.search(r"images 5\n\d+: wrong 0\n\d+: status 0\n\d+: PASS\n", printed), printed
    assert "100% tests passed, 0 tests failed out of 1" in printed


def test_the_example_fails_when_an_answer_is_wrong(tmp_path: Path) -> None:
    labels = expected(9)
    labels[3] += 1
    printed = built_and_tested(package(tmp_path / "package", "host", labels=labels))
    assert re.search(r"images 5\n\d+: wrong 1\n\d+: status 0\n\d+: FAIL\n", printed), printed
    assert "0% tests passed, 1 tests failed out of 1" in printed


def test_the_example_does_without_a_profile(tmp_path: Path) -> None:
    printed = built_and_tested(package(tmp_path / "package", "host", labels=expected(0), profile=b""))
    assert "PASS" in printed


def test_the_installed_library_is_found_by_another_project(tmp_path: Path) -> None:
    require("cmake")
    folder = package(tmp_path / "package", "host")
    command("cmake", "-B", "build", cwd=folder)
    command("cmake", "--build", "build", "--target", "edgemoe", cwd=folder)
    command("cmake", "--install", "build", "--prefix", str(tmp_path / "installed"), cwd=folder)
    installed = {str(path.relative_to(tmp_path / "installed")) for path in (tmp_path / "installed").rglob("*.[ah]")}
    assert installed == {"include/edgemoe.h", "include/edgemoe_model.h", "lib/libedgemoe.a"}
    user = tmp_path / "user"
    user.mkdir()
    (user / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(user C)\nfind_package(edgemoe REQUIRED)\n"
        "add_executable(user main.c)\ntarget_link_libraries(user edgemoe::edgemoe)\n"
    )
    (user / "main.c").write_text(
        "#include <edgemoe.h>\nint main(void) { return em_init(0, 0, 0) == EM_ARENA ? 0 : 1; }\n"
    )
    command("cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}", cwd=user)
    command("cmake", "--build", "build", cwd=user)
    command(str(user / "build" / "user"))


def test_the_arduino_archive_keeps_the_library_specification(tmp_path: Path) -> None:
    check_arduino_archive(package(tmp_path / "package", "cortex-m4"))


def test_the_same_package_gives_the_same_archive(tmp_path: Path) -> None:
    first, second = (package(tmp_path / name, "cortex-m4") / "edgemoe-arduino.zip" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_the_sketch_compiles_as_cpp_checks_itself_and_recognizes(tmp_path: Path) -> None:
    printed = run_sketch(package(tmp_path / "package", "cortex-m4"), tmp_path, IMAGES[:2].tobytes())
    assert printed == "PASS\n" + "".join(f"{chr(65 + label)} 0.50\n" for label in expected(9)[:2])


def test_the_platformio_manifest_keeps_its_schema_and_names_what_is_there(tmp_path: Path) -> None:
    check_platformio_manifest(package(tmp_path / "package", "cortex-m4"))


@pytest.mark.parametrize("chosen", [True, False])
def test_the_zephyr_module_keeps_its_schema_and_builds_where_it_is_chosen(chosen: bool, tmp_path: Path) -> None:
    folder = package(tmp_path / "package", "cortex-m4")
    check_zephyr_module(folder)
    program = zephyr_application(folder, tmp_path, chosen)
    assert program.is_file() == chosen
    assert not chosen or command(str(program)).endswith("PASS\n")


def test_the_readme_tells_the_figures_and_every_error_of_the_header(tmp_path: Path) -> None:
    text = (package(tmp_path / "package", "cortex-m4") / "README.md").read_text()
    assert not re.search(r"@\{|None", text)
    assert "| weights | 40,000 |" in text
    assert "| **together** | **42,345** |" in text
    assert "| recognize an image | 5,000 | 321 | 654,321 |" in text
    assert "| train | 60,000 | not measured | not measured |" in text
    assert "a nRF52840" in text
    assert "at most 1,234 bytes, in a slot of 4,096 bytes" in text
    # Oracle: the compiler's own numbers of the header's names.
    listed = re.findall(r"\| `(EM_\w+)` \| (\d+) \| (.+) \|", text)
    assert {"EM_OK", "EM_CHECKSUM", "EM_FLASH"} <= {name for name, _, _ in listed}
    program = tmp_path / "names.c"
    checks = "".join(f'_Static_assert({name} == {value}, "{name}");\n' for name, value, _ in listed)
    program.write_text(f'#include "edgemoe.h"\n{checks}int f(em_status s) {{ switch (s) {{\n')
    cases = "".join(f"case {name}: return {value};\n" for name, value, _ in listed)
    with program.open("a") as file:  # -Wswitch-enum warns of a name that the table lacks
        file.write(cases + "} return -1; }\n")
    command(require("gcc"), "-Werror", "-Wswitch-enum", "-fsyntax-only", f"-I{tmp_path / 'package'}", str(program))


def test_a_package_for_a_host_says_nothing_of_boards(tmp_path: Path) -> None:
    folder = package(tmp_path / "package", "host", flash={}, costs=(Cost("recognize an image", 5_000),))
    assert not (folder / "board").exists()
    assert not (folder / "toolchain.cmake").exists()
    assert "QEMU's `mps" not in (folder / "README.md").read_text()


def test_what_is_written_compiles_everywhere_with_the_library(tmp_path: Path) -> None:
    for tool in ("gcc", "clang", "arm-none-eabi-gcc"):
        require(tool)
    folder = package(tmp_path / "package", "cortex-m4")
    compile_everywhere([*folder.glob("em_*.c"), folder / "example" / "main.c"], [folder])


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    with pytest.raises(EdgemoeError, match=r"test vectors: 5 images, but labels \(4,\)"):
        package(folder, "host", labels=expected(9)[:4])
    with pytest.raises(EdgemoeError, match="test vectors: images of 784 bytes each, not float32"):
        package(folder, "host", images=IMAGES.astype(np.float32))
    (folder / "edgemoe_model.h").unlink()
    with pytest.raises(EdgemoeError, match=r"edgemoe_model\.h: cannot be read"):
        write_packaging(folder, facts("host"))
    with pytest.raises(EdgemoeError, match=r"empty: holds no em_\*\.c"):
        write_packaging(tmp_path / "empty", facts("host"))


FUSED = r"\tv?fn?m(?:add|sub|la|ls|a|s)\w*\b"  # of ARM, AArch64 and x86 assembly
IDE_COMPILERS = {
    "Arduino's C": ["arm-none-eabi-gcc", "-std=gnu11", *TARGETS["cortex-m4"].flags[:-1]],
    "as C++": ["arm-none-eabi-gcc", "-x", "c++", "-std=c++17", *TARGETS["cortex-m4"].flags[:-1]],
    "clang": ["clang", "-std=gnu11", "-mfma"],
    "aarch64": ["aarch64-linux-gnu-gcc", "-std=gnu11"],
}


@pytest.mark.parametrize("compiler", IDE_COMPILERS)
def test_no_multiplication_is_fused_where_nobody_passes_the_flag(compiler: str, tmp_path: Path) -> None:
    compile_ = [require(IDE_COMPILERS[compiler][0]), *IDE_COMPILERS[compiler][1:], "-O2", "-S", "-o", "-"]
    plain = tmp_path / "plain.c"
    plain.write_text("float f(float a, float b, float c);\nfloat f(float a, float b, float c) { return a * b + c; }\n")
    assert re.search(FUSED, command(*compile_, str(plain)))  # else nothing is shown below
    sources = [source for source in Expert.small().write(tmp_path) if source.parent == C_SOURCES]
    assert {"em_math.c", "em_mixture.c", "em_strokes.c"} <= {source.name for source in sources}
    for source in sources:
        assembly = command(*compile_, str(source), f"-I{tmp_path}", f"-I{C_SOURCES}")
        assert not re.search(FUSED, assembly), source.name
