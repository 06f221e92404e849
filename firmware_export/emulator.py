"""Run a compiled program: on an emulated board, an emulated host, or this one."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

from edgemoe.errors import EdgemoeError
from firmware_export.targets import Target

__all__ = ["INSTRUCTION_NS", "Run", "run", "runner"]

# QEMU's clock advances by 2**shift ns an instruction (-icount shift=6; system/invocation.rst of QEMU 7.2): more than a
# tick of a 20 MHz timer, so that a count of ticks tells the count of instructions.
_SHIFT: Final = 6
INSTRUCTION_NS: Final = 1 << _SHIFT


@dataclass(frozen=True)
class Run:
    """What a program printed, line by line, and its exit code (0: success; 125: it faulted on a board)."""

    lines: tuple[str, ...]
    code: int

    @property
    def numbers(self) -> dict[str, int]:
        """The numbers of the lines "name number", by name, as `em_board_report` prints them."""
        found = (re.fullmatch(r"(.*\S) (-?\d+)", line) for line in self.lines)
        return {match[1]: int(match[2]) for match in found if match}

    def all(self, name: str) -> list[int]:
        """The numbers of every line of a name, in order."""
        found = (re.fullmatch(r"(.*\S) (-?\d+)", line) for line in self.lines)
        return [int(match[2]) for match in found if match and match[1] == name]


def runner(target: Target) -> list[str]:
    """The command that a program's path is put behind, to run it; empty on a host that needs none."""
    if target.board is None:
        return list(target.runner)
    return [
        *target.runner,
        *("-machine", target.board.machine, "-icount", f"shift={_SHIFT}"),
        *("-display", "none", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native", "-kernel"),
    ]


def run(target: Target, program: str | os.PathLike[str], timeout: float = 60.0) -> Run:
    """Run a program that `toolchain.build` made.

    Parameters
    ----------
    target : Target
        What it was built for.
    program : path-like
    timeout : float
        Seconds that it may take.

    Raises
    ------
    EdgemoeError
        If the emulator is missing, or time ran out.
    """
    command = [*runner(target), os.path.abspath(program)]
    if shutil.which(command[0]) is None:
        package = {"qemu-system-arm": "qemu-system-arm", "qemu-aarch64": "qemu-user"}.get(command[0])
        raise EdgemoeError(
            f"{command[0]}: not installed; on Debian the package {package} brings it"
            if package
            else f"{command[0]}: there is no such program"
        )
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # semihosting prints there
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EdgemoeError(f"{os.fspath(program)}: did not end within {timeout:g} s on {target.name}") from error
    return Run(tuple(done.stdout.splitlines()), done.returncode)
