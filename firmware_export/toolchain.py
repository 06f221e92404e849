"""Compile C for a target: a program with the board's startup, or a shared library of a host."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

from edgemoe.errors import EdgemoeError
from firmware_export.emulator import INSTRUCTION_NS
from firmware_export.targets import TARGETS, Board, Target

__all__ = [
    "BOARDS",
    "BOARD_SOURCES",
    "HOST_SOURCES",
    "WARNINGS",
    "board_defines",
    "board_link_flags",
    "build",
    "compile_everywhere",
    "compile_objects",
]

BOARDS = Path(__file__).parent / "boards"
BOARD_SOURCES = ("em_board_start.c", "em_board_clock.c", "em_board_cortex.c", "em_board_number.c")
HOST_SOURCES = ("em_board_host.c", "em_board_number.c")
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Werror")

_STACK = 128 << 10  # bytes; what is used of them is measured, not this
_ERROR_LINES = 12


def build(
    target: Target,
    sources: Iterable[str | os.PathLike[str]],
    include_dirs: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    defines: Mapping[str, object] | None = None,
    optimize: str = "-O2",
    flags: Iterable[str] = (),
) -> Path:
    """Compile and link C files, with the board's own where there is a board.

    Parameters
    ----------
    target : Target
    sources, include_dirs : iterable of path-like
        C files, or objects from `compile_objects`, one of which has `int main(void)` unless a shared library is built;
        `em_board.h` is found without.
    out : path-like
        What is made. A name that ends with `.so` is a shared library, which only hosts have.
    defines : mapping, optional
        Macros and their values. `EM_BOARD` is always defined.
    optimize : str
    flags : iterable of str
        More of the compiler's flags, such as `-fsanitize=undefined`.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    EdgemoeError
        If the compiler is missing, or fails: with the first lines that it printed.
    """
    shared = os.fspath(out).endswith(".so")
    if shared and target.board is not None:
        raise EdgemoeError(f"{os.fspath(out)}: {target.name} has no shared libraries")
    command = _compiler(target, include_dirs, optimize)
    command += [f"-D{name}={value}" for name, value in (defines or {}).items()]
    command += ["-Wl,--gc-sections", *flags]
    files = [os.fspath(source) for source in sources]
    if target.board is not None:
        command += [f"-D{name}={value}" for name, value in board_defines(target.board).items()]
        command += board_link_flags(target.board, str(BOARDS / "board.ld"))
        files += [str(BOARDS / name) for name in BOARD_SOURCES]
    elif shared:
        command += ["-shared", "-fPIC"]
    else:
        files += [str(BOARDS / name) for name in HOST_SOURCES]
        if target.runner:
            command.append("-static")  # the emulated machine has no libraries of its own
    _compile([*command, *files, "-o", os.fspath(out)], target.packages)
    return Path(out)


def compile_objects(
    target: Target,
    sources: Iterable[str | os.PathLike[str]],
    include_dirs: Iterable[str | os.PathLike[str]],
    folder: Path,
    optimize: str = "-O2",
) -> list[Path]:
    """Compile C files for several programs that `build` links: one object file each, in a folder that is there.

    Raises
    ------
    EdgemoeError
        As `build` does.
    """
    files = [os.path.abspath(source) for source in sources]
    includes = [os.path.abspath(include) for include in include_dirs]
    _compile([*_compiler(target, includes, optimize), "-c", *files], target.packages, os.fspath(folder))
    return [folder / f"{Path(file).stem}.o" for file in files]


def _compiler(target: Target, include_dirs: Iterable[str | os.PathLike[str]], optimize: str) -> list[str]:
    includes = [f"-I{os.fspath(folder)}" for folder in (*include_dirs, BOARDS)]
    command = [f"{target.prefix}gcc", "-std=c99", optimize, *target.flags, "-g", *includes, "-DEM_BOARD=1"]
    return [*command, "-ffunction-sections", "-fdata-sections"]


def board_defines(board: Board) -> dict[str, str]:
    """The macros that the board's C files read, and their values: its timers, and instructions a tick as a ratio."""
    ratio = Fraction(10**9, INSTRUCTION_NS * board.clock)
    values = board.timers | {
        "EM_BOARD_RATIO": ratio.numerator,
        "EM_BOARD_RATIO_SHIFT": ratio.denominator.bit_length() - 1,
    }
    return {name: f"{value:#x}u" for name, value in values.items()}


def board_link_flags(board: Board, script: str) -> list[str]:
    """The linker's flags for the board, with the path of `board.ld`."""
    symbols = {"em_stack_size": _STACK}
    for name in ("vectors", "flash", "ram"):
        region = getattr(board, name)
        symbols |= {f"em_{name}_origin": region.origin, f"em_{name}_size": region.size}
    return [
        *(f"-Wl,--defsym={name}={value:#x}" for name, value in symbols.items()),
        *("-nostartfiles", "--specs=nano.specs", f"-T{script}"),
        *("-Wl,--gc-sections", "-Wl,-z,noexecstack,--no-warn-rwx-segments"),
    ]


def _compile(command: list[str], packages: str, folder: str | None = None) -> None:
    if shutil.which(command[0]) is None:
        raise EdgemoeError(f"{command[0]}: not installed; on Debian the packages {packages} bring it")
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, cwd=folder)
    if done.returncode != 0:
        lines = "\n".join(done.stderr.strip().splitlines()[:_ERROR_LINES])
        raise EdgemoeError(f"{command[0]}: failed:\n{lines}")


def compile_everywhere(
    sources: Iterable[str | os.PathLike[str]], include_dirs: Iterable[str | os.PathLike[str]]
) -> None:
    """Compile C files by gcc, clang and arm-none-eabi-gcc, as C99 and as C++17, with all warnings as errors.

    The compilers for ARM work for the Cortex-M3 (no FPU), M4 (DSP extension) and M55 (Helium), whose kernels differ.
    C++ is only parsed: what optimizing shows, C99 has shown.

    Parameters
    ----------
    sources, include_dirs : iterable of path-like

    Raises
    ------
    EdgemoeError
        If a compiler is missing, or warns.
    """
    files = [os.path.abspath(source) for source in sources]
    includes = [f"-I{os.path.abspath(folder)}" for folder in include_dirs]
    compilers = [(TARGETS["host"], "gcc"), (TARGETS["host"], "clang")]
    compilers += [(TARGETS[name], "arm-none-eabi-gcc") for name in ("cortex-m3", "cortex-m4", "cortex-m55")]
    languages = {"c": ("-std=c99", "-Wstrict-prototypes", "-O2", "-c"), "c++": ("-std=c++17", "-fsyntax-only")}
    for target, compiler in compilers:
        for language, options in languages.items():
            command = [compiler, "-x", language, *options, *target.flags, *WARNINGS, *includes, *files]
            with tempfile.TemporaryDirectory() as objects:
                _compile(command, "clang" if compiler == "clang" else target.packages, objects)
