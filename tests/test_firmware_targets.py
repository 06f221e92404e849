"""Every target builds and runs the same programs; instructions, stack and memory agree with independent counts."""

import ctypes
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from firmware_tools import require, require_target

from edgemoe import EdgemoeError
from firmware_export.emulator import Run, run
from firmware_export.memory import Memory, image_memory, library_memory, refuse_over_budget
from firmware_export.targets import TARGETS, target_named
from firmware_export.toolchain import BOARDS, WARNINGS, build, compile_everywhere

BOARD_TARGETS = [name for name, target in TARGETS.items() if target.board is not None]

# Loops of two instructions a turn, `subs` and `bne`: what stands around them is the same in each call.
LOOPS = """
#include "em_board.h"
__attribute__((noinline)) static void loop(uint32_t turns) {
    __asm volatile("1: subs %0, %0, #1\\n\\tbne 1b" : "+r"(turns) : : "cc");
}
__attribute__((noinline)) static int64_t counted(uint32_t turns) {
    const uint64_t start = em_board_ticks();
    loop(turns);
    return (int64_t)(em_board_ticks() - start);
}
static void check(uint32_t turns, int64_t around) {
    em_board_report("loop", counted(turns) - around - 2 * (int64_t)turns);
}
int main(void) {
    const int64_t around = counted(1) - 2;
    for (uint32_t turns = 2; turns < 40; turns += 3) check(turns, around);
    for (uint32_t turns = 999999; turns > 3; turns /= 10) check(turns, around);
    const uint64_t now = em_board_ticks();
    em_board_report("reading", (int64_t)(em_board_ticks() - now));
    return 0;
}
"""

STACK = """
#include "em_board.h"
__attribute__((noinline)) static void frame(void) { /* 2000 bytes, touched at the far end, and nothing else */
    __asm volatile("sub sp, #2000\\n\\tmovs r0, #0\\n\\tstr r0, [sp]\\n\\tadd sp, #2000" : : : "r0", "memory");
}
int main(void) {
    em_board_stack_mark();
    frame();
    em_board_report("stack", em_board_stack_peak());
    return 0;
}
"""

# In PORTABLE, (1 + 2**-12)**2 - 1 is 2**-11 where the product is rounded, and 2**-11 + 2**-24 where it is fused.
PORTABLE = """
#include "em_board.h"
#include <string.h>
static volatile float kept[2] = {1.000244140625f, -1.0f};
static volatile uint32_t zeroed[4];
int main(void) {
    const float unfused = kept[0] * kept[0] + kept[1];
    uint32_t bits;
    memcpy(&bits, &unfused, sizeof bits);
    em_board_report("bits", bits);
    em_board_report("zeroed", (int64_t)(zeroed[0] | zeroed[1] | zeroed[2] | zeroed[3]));
    em_board_report("least", INT64_MIN);
    em_board_report("most", INT64_MAX);
    em_board_report("two words", 10);
    em_board_report("nothing", 0);
    em_board_print("no number\\n");
    return 7;
}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_source(text: str) -> Path:
        path = tmp_path / "main.c"
        path.write_text(text)
        return path

    return write_source


def program_run(name: str, source: Path, **options: Any) -> tuple[Run, Path]:
    target = require_target(name)
    program = build(target, [source], [], source.with_suffix(f".{name}"), flags=WARNINGS, **options)
    return run(target, program), program


@pytest.mark.parametrize("name", TARGETS)
def test_one_program_says_the_same_on_every_target(name: str, write: Callable[[str], Path]) -> None:
    done, _ = program_run(name, write(PORTABLE))
    assert done.code == 7
    assert done.lines[-1] == "no number"
    assert done.numbers == {
        "bits": struct.unpack("<I", struct.pack("<f", 2.0**-11))[0],
        "zeroed": 0,
        "least": -(2**63),
        "most": 2**63 - 1,
        "two words": 10,
        "nothing": 0,
    }


@pytest.mark.parametrize("name", BOARD_TARGETS)
@pytest.mark.parametrize("optimize", ["-O0", "-O2"])
def test_instructions_are_counted_exactly_and_repeatably(
    name: str, optimize: str, write: Callable[[str], Path]
) -> None:
    first, program = program_run(name, write(LOOPS), optimize=optimize)
    assert first.code == 0
    assert [line for line in first.lines if line.startswith("loop")] == ["loop 0"] * 19
    assert first.numbers["reading"] < 12  # what the compiler puts between two calls
    assert run(TARGETS[name], program) == first


@pytest.mark.parametrize("name", BOARD_TARGETS)
def test_the_stack_peak_is_what_a_frame_of_known_size_takes(name: str, write: Callable[[str], Path]) -> None:
    done, _ = program_run(name, write(STACK))
    assert done.numbers == {"stack": 2000}


@pytest.mark.parametrize("name", BOARD_TARGETS)
def test_memory_beyond_an_empty_program_is_what_the_program_declares(name: str, write: Callable[[str], Path]) -> None:
    sizes = {}
    for table, arena in ((1000, 4000), (3000, 10000)):
        source = write(
            f'#include "em_board.h"\nstatic const uint8_t table[{table}] = {{1, 2}};\n'
            f"static volatile uint8_t arena[{arena}], start[100] = {{1}};\n"
            "int main(void) {\n    volatile uint32_t at = 1;\n    arena[at] = (uint8_t)(table[at] + start[at]);\n"
            "    return arena[at];\n}\n"
        )
        done, program = program_run(name, source)
        assert done.code == 2
        sizes[table] = library_memory(TARGETS[name], program)
        # Oracle: the segments that a flashing tool would write.
        headers = subprocess.run([require("arm-none-eabi-readelf"), "-lW", program], capture_output=True, text=True)
        loaded = re.findall(r"LOAD +\S+ \S+ \S+ (0x\w+) (0x\w+)", headers.stdout)
        padding = 16
        assert 0 <= sum(int(size, 16) for size, _ in loaded) - image_memory(TARGETS[name], program).flash < padding
    assert sizes[3000].flash - sizes[1000].flash == 2000
    assert sizes[3000].ram - sizes[1000].ram == 6000
    assert abs(sizes[1000].ram - 4100) < 16


@pytest.mark.parametrize("name", BOARD_TARGETS)
def test_an_empty_program_takes_nothing(name: str, tmp_path: Path) -> None:
    target = require_target(name)
    empty = build(target, [BOARDS / "em_board_empty.c"], [], tmp_path / "empty.elf")
    assert library_memory(target, empty) == Memory(0, 0)


def test_a_fault_ends_the_program_and_says_which(write: Callable[[str], Path]) -> None:
    done, _ = program_run("cortex-m4", write("int main(void) { return *(volatile int *)0xF0000000; }\n"))
    assert done.code == 125
    assert done.numbers == {"fault: exception": 3, "fault: configurable fault status": 0x8200}  # bus, address valid


def test_a_stack_that_overflows_is_no_success(write: Callable[[str], Path]) -> None:
    text = "int deep(int n);\nint deep(int n) { volatile char a[4096] = {1}; return n ? deep(n - 1) + a[n] : 0; }\n"
    done, _ = program_run("cortex-m33", write(text + "int main(void) { return deep(100) - deep(100); }\n"))
    assert done.code != 0


def test_a_program_that_does_not_end_is_stopped(write: Callable[[str], Path]) -> None:
    target, source = require_target("cortex-m4"), write("int main(void) { for (;;) { } }\n")
    program = build(target, [source], [], source.with_suffix(".elf"))
    with pytest.raises(EdgemoeError, match=r"main\.elf: did not end within 0\.2 s on cortex-m4"):
        run(target, program, timeout=0.2)


def test_a_host_library_is_callable(write: Callable[[str], Path]) -> None:
    source = write("int times(int x);\nint times(int x) { return FACTOR * x; }\n")
    library = build(require_target("host"), [source], [], source.with_suffix(".so"), {"FACTOR": 2})
    assert ctypes.CDLL(str(library)).times(21) == 42


def test_errors_say_what_is_wrong(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source = write("int main(void) { return missing; }\n")
    out = source.with_suffix(".so")
    with pytest.raises(EdgemoeError, match=r"(?s)^gcc: failed:\n.*main\.c:1:\d+: error: .*missing"):
        build(TARGETS["host"], [source], [], out)
    with pytest.raises(EdgemoeError, match=r"main\.so: cortex-m7 has no shared libraries"):
        build(TARGETS["cortex-m7"], [source], [], out)
    with pytest.raises(EdgemoeError, match=r"target 'm4': there is none; choose from cortex-m3, cortex-m4"):
        target_named("m4")
    with pytest.raises(EdgemoeError, match="target host: a host's image"):
        image_memory(TARGETS["host"], out)
    require("arm-none-eabi-size")
    with pytest.raises(EdgemoeError, match=r"main\.so: arm-none-eabi-size cannot read it"):
        image_memory(TARGETS["cortex-m3"], out)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EdgemoeError, match=r"arm-none-eabi-gcc: not installed; .*gcc-arm-none-eabi"):
        build(TARGETS["cortex-m3"], [source], [], source.with_suffix(".elf"))
    with pytest.raises(EdgemoeError, match=r"qemu-system-arm: not installed; on Debian the package qemu-system-arm"):
        run(TARGETS["cortex-m3"], out)


def test_what_does_not_fit_the_part_is_refused_with_the_numbers() -> None:
    refuse_over_budget(TARGETS["cortex-m3"], 524_288, 65_536)
    refuse_over_budget(TARGETS["host"], 10**12, 10**12)
    with pytest.raises(EdgemoeError, match=r"cortex-m3: a STM32F103RE .* 65,537 bytes of RAM of its 65,536$"):
        refuse_over_budget(TARGETS["cortex-m3"], 524_288, 65_537)
    with pytest.raises(EdgemoeError, match=r"600,000 bytes of flash of its 524,288 and 70,000 bytes of RAM"):
        refuse_over_budget(TARGETS["cortex-m3"], 600_000, 70_000)


@pytest.mark.parametrize(
    "body",
    ["return (1.5f + *(const float *)p) > 1.0;", "const int *q = p; return *q;", "return ((const char *)p)[0] << 33;"],
    ids=["a double in float code", "what is C but no C++", "too wide a shift"],
)
def test_compile_everywhere_refuses_what_some_compiler_warns_of(body: str, write: Callable[[str], Path]) -> None:
    for tool in ("gcc", "clang", "arm-none-eabi-gcc"):
        require(tool)
    declaration = "int f(const void *p);\nint f(const void *p) { "
    compile_everywhere([write(declaration + "return *(const int *)p; }\n")], [])
    with pytest.raises(EdgemoeError, match="failed"):
        compile_everywhere([write(declaration + body + " }\n")], [])
