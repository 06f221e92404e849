"""Writes CMake, Arduino, Zephyr and PlatformIO files, an example and a README around exported C files."""

import io
import re
import string
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded, write_atomic
from firmware_export.emulator import runner
from firmware_export.packaging.facts import PackageFacts
from firmware_export.targets import Target
from firmware_export.toolchain import BOARD_SOURCES, BOARDS, board_defines, board_link_flags

__all__ = ["write_packaging"]

_TEMPLATES = Path(__file__).parent / "templates"
_PIXELS = 28 * 28
_MOST_BYTES = 64 << 20  # of one exported file
_ERASURES = 10_000  # endurance of NOR flash: nRF52840 and STM32F746 data sheets
_SAVES_A_YEAR = 10 * 365

# Where each template goes. What the Arduino library alone holds is packed into its archive.
_FILES = {
    "CMakeLists.txt": "CMakeLists.txt",
    "library.json": "library.json",
    "README.md": "README.md",
    "main.c": "example/main.c",
    "module.yml": "zephyr/module.yml",
    "zephyr_CMakeLists.txt": "zephyr/CMakeLists.txt",
    "Kconfig": "zephyr/Kconfig",
}


class _Template(string.Template):
    """`@{name}`, since CMake has its own use of `$`."""

    delimiter = "@"


def write_packaging(folder: Path, facts: PackageFacts) -> None:
    """Put everything but the library around the library.

    Written are `README.md`, `CMakeLists.txt`, `toolchain.cmake` (where compiler and machine differ), `library.json`
    (PlatformIO), `zephyr/`, `example/` with the test vectors, `board/` (what runs the example on an emulated board) and
    `edgemoe-arduino.zip`.

    Parameters
    ----------
    folder : Path
        Holds `edgemoe.h`, `edgemoe_model.h` and `em_*.c`, `em_*.h` already.
    facts : PackageFacts

    Raises
    ------
    EdgemoeError
        If a file of the library is missing or one cannot be written, or the test vectors do not fit together.
    """
    headers = [folder / "edgemoe.h", folder / "edgemoe_model.h", *sorted(folder.glob("em_*.h"))]
    sources = sorted(folder.glob("em_*.c"))
    if not sources:
        raise EdgemoeError(f"{folder}: holds no em_*.c")
    library = {path.name: read_bounded(path, _MOST_BYTES) for path in [*headers, *sources]}
    values = _values(facts, [path.name for path in sources], library["edgemoe.h"].decode())
    files = {place: _filled(name, values) for name, place in _FILES.items()}
    files["example/vectors.h"] = _vectors(facts).encode()
    if facts.target.prefix:
        files["toolchain.cmake"] = _filled("toolchain.cmake", values)
    if facts.target.board is not None:
        for name in (*BOARD_SOURCES, "em_board.h", "em_board_cortex.h", "board.ld"):
            files[f"board/{name}"] = (BOARDS / name).read_bytes()
    for place, content in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / place, content)
    arduino = {
        "library.properties": _filled("library.properties", values),
        "examples/Recognize/Recognize.ino": _filled("Recognize.ino", values),
        "examples/Recognize/vectors.h": files["example/vectors.h"],
        "README.md": files["README.md"],
        **{f"src/{name}": content for name, content in library.items()},
    }
    write_atomic(folder / "edgemoe-arduino.zip", _packed(arduino))


def _filled(name: str, values: dict[str, str]) -> bytes:
    return _Template((_TEMPLATES / name).read_text()).substitute(values).encode()


def _packed(files: dict[str, bytes]) -> bytes:
    """An archive of one folder `edgemoe`; without dates, so that the same package gives the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, file in files.items():
            member = zipfile.ZipInfo(f"edgemoe/{place}")
            member.external_attr = 0o644 << 16
            archive.writestr(member, file, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _values(facts: PackageFacts, sources: list[str], header: str) -> dict[str, str]:
    """What stands in the templates."""
    target = facts.target
    cross, board = bool(target.prefix), target.board is not None
    return {
        "target": target.name,
        "expert": facts.expert,
        "fingerprint": facts.fingerprint,
        "version": facts.version,
        "licence": facts.licence,
        "classes": str(facts.classes),
        "measured_with": facts.measured_with,
        "vectors": str(len(facts.images)),
        "profile_bytes": f"{facts.profile_bytes:,}",
        "slot_bytes": f"{facts.slot_bytes:,}",
        "wear_years": f"{2 * _ERASURES / _SAVES_A_YEAR:.0f}",
        "flash": f"{sum(facts.flash.values()):,}" if facts.flash else "not measured",
        "flash_rows": _rows((part, f"{size:,}") for part, size in facts.flash.items()),
        "cost_rows": _rows(
            (cost.what, *(_number(value) for value in (cost.arena, cost.stack, cost.instructions)))
            for cost in facts.costs
        ),
        "error_rows": _rows(_errors(header)),
        "budget": _budget(facts),
        "check": _check(target),
        "toolchain_option": " --toolchain toolchain.cmake" if cross else "",
        "cmake_sources": "\n".join(f"  {name}" for name in sources),
        "zephyr_sources": "\n".join(f"    ${{EDGEMOE_DIR}}/{name}" for name in sources),
        "cmake_board": _cmake_board(facts),
        "cmake_system": "Generic" if board else "Linux",
        "cmake_processor": "arm" if board else target.name,
        "compiler": f"{target.prefix}gcc",
        "compiler_flags": " ".join(target.flags),
        "emulator": ";".join(runner(target)),
    }


def _budget(facts: PackageFacts) -> str:
    budget = facts.target.budget
    if budget is None:
        return ""
    sizes = f"{budget.flash:,} bytes of flash and {budget.ram:,} bytes of RAM"
    return f"For comparison: a {budget.part}, a common part with this core, has {sizes}.\n\n"


def _check(target: Target) -> str:
    if target.board is None:
        return "`ctest` runs it."
    return (
        f"`ctest` runs it on QEMU's `{target.board.machine}`, with the startup in `board/`. On your own board, link\n"
        "it with that board's startup and linker script, and with a C library that prints somewhere."
    )


def _cmake_board(facts: PackageFacts) -> str:
    """What the example needs to run on the emulated board; without a board, what a static host program needs."""
    board = facts.target.board
    if board is None:
        return "  target_link_options(edgemoe_example PRIVATE -static)" if facts.target.runner else ""
    lines = [
        "  # The board that QEMU emulates; for your own, put its startup and linker script here.",
        "  target_sources(edgemoe_example PRIVATE",
        *(f"    board/{name}" for name in BOARD_SOURCES),
        "  )",
        "  target_include_directories(edgemoe_example PRIVATE board)",
        "  target_compile_definitions(edgemoe_example PRIVATE EM_BOARD=1",
        *(f"    {name}={value}" for name, value in board_defines(board).items()),
        "  )",
        "  target_link_options(edgemoe_example PRIVATE",
        *(f"    {flag}" for flag in board_link_flags(board, "${CMAKE_CURRENT_SOURCE_DIR}/board/board.ld")),
        "  )",
    ]
    return "\n".join(lines)


def _number(value: int | None) -> str:
    return "not measured" if value is None else f"{value:,}"


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _errors(header: str) -> list[tuple[str, ...]]:
    """Name, value and meaning of each em_status, from the comments of edgemoe.h."""
    listed = re.search(r"typedef enum \{(.*?)\} em_status;", header, re.DOTALL)
    names = re.findall(r"(EM_\w+)(?: = 0)?,?(?:\s*/\* (.*?) \*/)?", listed[1]) if listed else []
    return [(f"`{name}`", str(value), meaning or "done") for value, (name, meaning) in enumerate(names)]


def _vectors(facts: PackageFacts) -> str:
    """The example's images, the answers to expect and the profile, as C."""
    images, labels = np.asarray(facts.images), np.asarray(facts.labels)
    if images.dtype != np.uint8 or images.size == 0 or images.size != len(images) * _PIXELS:
        raise EdgemoeError(f"test vectors: images of {_PIXELS} bytes each, not {images.dtype} {images.shape}")
    if labels.shape != (len(images),) or labels.min() < 0 or labels.max() > 0xFFFF:
        raise EdgemoeError(f"test vectors: {len(images)} images, but labels {labels.shape}")
    rows = ",\n".join("    {" + ",".join(map(str, image.ravel())) + "}" for image in images)
    text = [
        "/* Generated: images, and the class index that the Python side answered to each. */",
        "#ifndef EM_VECTORS_H",
        "#define EM_VECTORS_H",
        "",
        '#include "edgemoe.h"',
        "",
        f"#define EM_VECTORS {len(images)}",
        f"#define EM_VECTOR_PROFILE_BYTES {len(facts.profile)} /* loaded first; 0: the global expert answers alone */",
        "",
        f"static const uint16_t em_vector_label[EM_VECTORS] = {{{', '.join(map(str, labels))}}};",
    ]
    if facts.profile:
        profile = ",".join(map(str, facts.profile))
        text.append(f"static const uint8_t em_vector_profile[EM_VECTOR_PROFILE_BYTES] = {{{profile}}};")
    text += [f"static const uint8_t em_vector_image[EM_VECTORS][EM_PIXELS] = {{\n{rows}}};", "", "#endif", ""]
    return "\n".join(text)
