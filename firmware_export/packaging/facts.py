"""What the files around the exported C files say about them."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from firmware_export.targets import Target

__all__ = ["Cost", "PackageFacts"]


@dataclass(frozen=True)
class Cost:
    """What one use of the library takes, beside flash.

    Attributes
    ----------
    what : str
        Such as "recognize an image".
    arena : int
        Bytes that the caller provides.
    stack, instructions : int or None
        Peak in bytes, and instructions executed; None where the target does not tell (a host).
    """

    what: str
    arena: int
    stack: int | None = None
    instructions: int | None = None


@dataclass(frozen=True)
class PackageFacts:
    """What is true of an exported package.

    Attributes
    ----------
    target : Target
    expert, fingerprint, version, licence : str
        The global expert's name, its fingerprint as hexadecimal, edgemoe's version and an SPDX licence.
    classes : int
    flash : dict of str to int
        Bytes of the linked image by part ("weights", "retention set", "code" or so); empty if not measured.
    costs : tuple of Cost
    measured_with : str
        Compiler and optimization of those figures, such as "GCC 12.2.1 with -O2".
    profile_bytes, slot_bytes : int
        Of the largest profile, and the smallest flash slot.
    images, labels : arrays of uint8 (n, 28, 28) or (n, 784), and of class indices (n,)
        The example's test vectors; n at least 1. The labels are the reference's answers.
    profile : bytes
        What the example loads before; empty: nothing, the global expert answers alone.
    """

    target: Target
    expert: str
    fingerprint: str
    version: str
    licence: str
    classes: int
    profile_bytes: int
    slot_bytes: int
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.integer]
    profile: bytes = b""
    flash: dict[str, int] = field(default_factory=dict)
    costs: tuple[Cost, ...] = ()
    measured_with: str = "GCC with -O2"
