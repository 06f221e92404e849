"""Writes a global expert, and what recognizes, learns and keeps with it, as a C99 package for one target."""

import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.device.global_expert import GlobalExpert
from edgemoe.device.profile import Profile
from edgemoe.errors import EdgemoeError
from edgemoe.files import write_atomic
from firmware_export.emit_model import emit_model, room_for_symbols
from firmware_export.expert import IntegerExpert
from firmware_export.memory import Memory, library_memory, refuse_over_budget
from firmware_export.network import read_network
from firmware_export.packaging import Cost, PackageFacts, write_packaging
from firmware_export.retention import samples_that_fit
from firmware_export.targets import Target
from firmware_export.toolchain import build, compile_objects

__all__ = ["HARNESS", "LIBRARY", "Compiled", "Sizes", "compile_library", "write_library", "write_package"]

LIBRARY = Path(__file__).parent / "c"
HARNESS = Path(__file__).parent / "harness"
MARK = "edgemoe_model.h"  # a folder with this file is a package, and may be written again
LICENCE = "Apache-2.0"
FLASH_UNIT = 32  # EM_FLASH_UNIT of edgemoe.h: what flash is programmed in
LEAST_RETAINED = 1000  # with fewer, seven eighths of them cannot show at confidence 0.9 that no 0.2 points are lost
RETAINED_SHARE = 0.3  # of the flash of the target's common part


@dataclass(frozen=True)
class Sizes:
    """What the linked library takes on a target, beside the empty program.

    Attributes
    ----------
    recognize, whole : Memory
        Of a program that recognizes alone, and of one that calls every function; RAM is the arena, without the stack.
    """

    recognize: Memory
    whole: Memory


def write_library(folder: Path, expert: IntegerExpert, spare: int) -> None:
    """Put headers and C files of the library for an expert into a folder."""
    for name, text in emit_model(expert, spare).items():
        write_atomic(folder / name, text.encode())
    for source in sorted([*LIBRARY.glob("*.c"), *LIBRARY.glob("*.h")]):
        write_atomic(folder / source.name, source.read_bytes())


@dataclass(frozen=True)
class Compiled:
    """The library of a folder, compiled for a target."""

    target: Target
    folder: Path
    optimize: str
    objects: list[Path]

    def link(self, program: Path, out: Path, include: tuple[Path, ...] = ()) -> Path:
        """Compile a program and link it with the library."""
        includes = [self.folder, *include]
        return build(self.target, [program, *self.objects], includes, out, optimize=self.optimize)

    def sizes(self) -> Sizes:
        """Count flash and RAM.

        Raises
        ------
        EdgemoeError
            If the target is a host.
        """
        with tempfile.TemporaryDirectory() as scratch:
            found = [
                library_memory(self.target, self.link(HARNESS / f"{name}.c", Path(scratch) / name), self.optimize)
                for name in ("predict", "whole")
            ]
        return Sizes(*found)


def compile_library(target: Target, folder: Path, objects: Path, optimize: str = "-O2") -> Compiled:
    """Compile the library of a folder into another one, which is made.

    Raises
    ------
    EdgemoeError
        If the compiler is missing, or fails.
    """
    objects.mkdir()
    sources = sorted(folder.glob("em_*.c"))
    return Compiled(target, folder, optimize, compile_objects(target, sources, [folder], objects, optimize))


def write_package(
    out: Path,
    expert: GlobalExpert,
    target: Target,
    images: npt.NDArray[np.uint8],
    profile: Profile | None = None,
    retained: int | None = None,
    spare: int | None = None,
) -> dict[str, Any]:
    """Write the package; a folder that is there stays as it is if anything fails.

    Parameters
    ----------
    out : Path
        The folder to make, or one that holds a package already.
    expert : GlobalExpert
    target : Target
    images : ndarray of uint8, shape (n, 28, 28), n at least 1
        What the example recognizes.
    profile : Profile, optional
        Of a user, that the example loads.
    retained : int, optional
        Samples of the retention set to take along; None takes what `retained_for` says.
    spare : int, optional
        Spare symbols that there is room for; None takes what `emit_model.room_for_symbols` says.

    Returns
    -------
    dict
        ``{"folder", "target", "expert", "retained", "flash", "ram", "budget"}``; sizes in bytes, None on a host.

    Raises
    ------
    EdgemoeError
        If the folder holds something else, the network has no form in integers, or flash or RAM of the target's common
        part do not suffice: then with the numbers.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARK).is_file())):
        raise EdgemoeError(f"{out}: is there, and is no package of edgemoe's; choose another --out")
    symbols = 0 if profile is None else len(profile.symbols)
    spare = room_for_symbols(len(expert.classes), symbols) if spare is None else spare
    if symbols > spare:
        raise EdgemoeError(f"the profile has {symbols} spare symbols, and there is room for {spare}")
    integer = IntegerExpert(expert, retained_for(expert, target) if retained is None else retained)
    answers = integer.answers(images, profile)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        write_library(folder, integer, spare)
        host = target.board is None
        sizes = None if host else compile_library(target, folder, Path(scratch) / "objects").sizes()
        if sizes is not None:
            refuse_over_budget(target, sizes.whole.flash, sizes.whole.ram)
        facts = PackageFacts(
            target,
            expert.name,
            expert.fingerprint.hex(),
            version("edgemoe"),
            LICENCE,
            len(expert.classes),
            profile_bytes=profile_most(integer, spare),
            slot_bytes=-(-(16 + profile_most(integer, spare)) // FLASH_UNIT) * FLASH_UNIT,
            images=images,
            labels=answers,
            profile=b"" if profile is None else profile.to_bytes(),
            **({} if sizes is None else _report(sizes)),
        )
        write_packaging(folder, facts)
        _replace(out, folder, Path(scratch) / "old")
    return {
        "folder": str(out),
        "target": target.name,
        "expert": expert.name,
        "retained": len(integer.retention),
        "flash": None if sizes is None else {"recognize": sizes.recognize.flash, "whole": sizes.whole.flash},
        "ram": None if sizes is None else {"recognize": sizes.recognize.ram, "whole": sizes.whole.ram},
        "budget": None if target.budget is None else vars(target.budget),
    }


def _report(sizes: Sizes) -> dict[str, Any]:
    """What the README says of flash and RAM."""
    return {
        "flash": {
            "recognition": sizes.recognize.flash,
            "training, profiles, strokes": sizes.whole.flash - sizes.recognize.flash,
        },
        "costs": (
            Cost("recognize an image, load a profile", sizes.recognize.ram),
            Cost("train, learn from a correction", sizes.whole.ram),
        ),
    }


def _replace(out: Path, folder: Path, old: Path) -> None:
    """Put a folder in the place of another one, which is moved away, and back if that fails."""
    if not out.exists():
        os.rename(folder, out)
        return
    os.rename(out, old)
    try:
        os.rename(folder, out)
    except BaseException:
        os.rename(old, out)
        raise


def retained_for(expert: GlobalExpert, target: Target) -> int:
    """Return how many retention samples a device keeps: what fits into its share of flash, and enough to judge by."""
    if target.budget is None:
        return len(expert.retention)
    fitting = samples_that_fit(read_network(expert.graph), int(RETAINED_SHARE * target.budget.flash))
    return min(len(expert.retention), max(fitting, LEAST_RETAINED))


def profile_most(expert: IntegerExpert, spare: int) -> int:
    """Return the bytes of the largest profile: all weights in 8 bits (EM_PROFILE_MOST of edgemoe.h)."""
    rows, pooled = len(expert.classes) + spare, len(expert.standardizer.pooled_mean)
    return 60 + 4 * spare + 2 + len(expert.standardizer.feature_mean) + rows * (pooled + 3) + 4
