"""Flash and RAM of the library, from linked images: what a program holds beyond an empty one on the same board."""

import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgemoe.errors import EdgemoeError
from firmware_export.targets import TARGETS, Target
from firmware_export.toolchain import BOARDS, build

__all__ = ["Memory", "image_memory", "library_memory", "refuse_over_budget"]

# The sections that boards/board.ld makes. .data is in both: its initial values lie in flash. .stack is not counted,
# since only what a program uses of it matters, and that is measured.
_FLASH = {".vectors", ".text", ".rodata", ".ARM.exidx", ".data"}
_RAM = {".data", ".bss"}


@dataclass(frozen=True)
class Memory:
    """Bytes of flash, and of RAM for variables; the stack comes on top of those."""

    flash: int
    ram: int


def image_memory(target: Target, program: str | os.PathLike[str]) -> Memory:
    """What a whole linked image takes, by `size -A`.

    Parameters
    ----------
    target : Target
        One with a board: a host's image says nothing of a device.
    program : path-like
        Made by `toolchain.build`.

    Raises
    ------
    EdgemoeError
        If the target is a host, or the tool is missing or cannot read the file.
    """
    if target.board is None:
        raise EdgemoeError(f"target {target.name}: a host's image has no flash to count")
    command = [f"{target.prefix}size", "-A", os.fspath(program)]
    if shutil.which(command[0]) is None:
        raise EdgemoeError(f"{command[0]}: not installed; on Debian the packages {target.packages} bring it")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EdgemoeError(f"{os.fspath(program)}: {command[0]} cannot read it: {done.stderr.strip()}")
    rows = [line.split() for line in done.stdout.splitlines()]
    sizes = {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit()}
    return Memory(sum(sizes.get(name, 0) for name in _FLASH), sum(sizes.get(name, 0) for name in _RAM))


@functools.cache
def _empty_memory(target_name: str, optimize: str) -> Memory:
    target = TARGETS[target_name]
    with tempfile.TemporaryDirectory() as folder:
        empty = build(target, [BOARDS / "em_board_empty.c"], [], Path(folder) / "empty.elf", optimize=optimize)
        return image_memory(target, empty)


def library_memory(target: Target, program: str | os.PathLike[str], optimize: str = "-O2") -> Memory:
    """What a linked image takes beyond the empty program with the same board files: the library and its caller.

    Parameters
    ----------
    target : Target
    program : path-like
        Made by `toolchain.build` with the same `optimize`.
    optimize : str

    Raises
    ------
    EdgemoeError
        As `image_memory` and `toolchain.build` do.
    """
    whole, empty = image_memory(target, program), _empty_memory(target.name, optimize)
    return Memory(whole.flash - empty.flash, whole.ram - empty.ram)


def refuse_over_budget(target: Target, flash: int, ram: int) -> None:
    """Refuse what does not fit the target's common part.

    Parameters
    ----------
    target : Target
    flash, ram : int
        Bytes needed; `ram` includes the stack.

    Raises
    ------
    EdgemoeError
        If either is more than the part has: with the numbers.
    """
    if target.budget is None:
        return
    needs = {"flash": (flash, target.budget.flash), "RAM": (ram, target.budget.ram)}
    over = [f"{need:,} bytes of {kind} of its {have:,}" for kind, (need, have) in needs.items() if need > have]
    if over:
        raise EdgemoeError(f"target {target.name}: a {target.budget.part} would need {' and '.join(over)}")
