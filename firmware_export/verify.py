"""Builds the package of an expert and a profile for a target, runs it there, and compares it with the Python side."""

import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.device.global_expert import GlobalExpert
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.device.personalizer import Personalizer
from edgemoe.device.profile import Profile
from edgemoe.device.quantized import QuantizedMatrix
from edgemoe.errors import EdgemoeError
from firmware_export.emit_model import room_for_symbols
from firmware_export.emulator import Run, run
from firmware_export.expert import IntegerExpert
from firmware_export.package import HARNESS, Sizes, compile_library, retained_for, write_library
from firmware_export.targets import Target
from firmware_export.toolchain import BOARDS

__all__ = ["Vectors", "image_array", "verify"]

TIMEOUT = 900.0  # seconds on the emulator
MILLION = 1e6  # probabilities are printed in millionths
AGREEING = 0.995  # of inputs, on which the profile trained in C and Python's predict the same


@dataclass(frozen=True)
class Vectors:
    """What is run on the target.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, 28, 28)
        To recognize.
    samples : ndarray of uint8, shape (m, 28, 28)
        To learn from.
    labels : sequence of str, length m
    """

    images: npt.NDArray[np.uint8]
    samples: npt.NDArray[np.uint8]
    labels: Sequence[str]


def verify(
    ge: GlobalExpert,
    target: Target,
    vectors: Vectors,
    profile: Profile | None = None,
    size: str = "compact",
    retained: int | None = None,
    optimize: str = "-O2",
) -> dict[str, Any]:
    """Run the firmware and compare.

    Parameters
    ----------
    ge : GlobalExpert
    target : Target
    vectors : Vectors
    profile : Profile, optional
        That recognizes; None takes the one that Python trains on the samples.
    size : {"compact", "full"}
        Of the profile that is trained.
    retained : int, optional
        Samples of the retention set on the device; None takes as many as `package.retained_for` says.
    optimize : str

    Returns
    -------
    dict
        ``target``, ``samples`` (images recognized), ``instructions_per_inference`` (of the mixture; None on a host, as
        all counts), ``instructions_train`` (all samples observed, trained on, and tried), ``flash_bytes`` (the whole
        library), ``ram_bytes`` (arena and stack, in training), ``stack_bytes``, ``mismatches`` (images whose codes or
        label differ) and ``max_abs_difference`` (of confidence and gate), beside what follows from these:
        ``recognition_flash_bytes`` and ``recognition_ram_bytes`` (of a device that does not train), ``overhead``
        (instructions that local expert and gate add, as a share), ``observe_instructions``, ``learn_instructions``,
        ``trained_agreement`` (share of images on which both trained profiles predict the same), ``trained_alike`` (the
        share of equal codes of the local expert's weights) and ``passed``.

    Raises
    ------
    EdgemoeError
        If a tool is missing, something does not fit, or the program ends with an error.
    """
    kept = retained_for(ge, target) if retained is None else retained
    expert = IntegerExpert(ge, kept)
    ours = Personalizer(expert, size=size, copies=0).fit(vectors.samples, vectors.labels)
    asked = ours.profile if profile is None else profile
    targets = [ge.classes.index(str(label)) for label in ours.support.labels]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_library(folder, expert, room_for_symbols(len(expert.classes), len(asked.symbols)))
        (folder / "vectors.h").write_text(
            _vectors(vectors.images, ours.support.images, targets, asked.to_bytes(), ours.profile.local.weights.bits)
        )
        library = compile_library(target, folder, folder / "objects", optimize)
        program = library.link(HARNESS / "verify.c", folder / "verify.elf", (BOARDS,))
        done = run(target, program, TIMEOUT)
        if done.code != 0 or "DONE" not in done.lines:
            raise EdgemoeError(f"{target.name}: the firmware ended with code {done.code}: {' '.join(done.lines[-3:])}")
        sizes = None if target.board is None else library.sizes()
    return _compared(expert, target, vectors, asked, ours, done, sizes)


def _compared(
    expert: IntegerExpert,
    target: Target,
    vectors: Vectors,
    asked: Profile,
    ours: Personalizer,
    done: Run,
    sizes: Sizes | None,
) -> dict[str, Any]:
    features, logits = expert.codes(vectors.images)
    answers = MixtureOfExperts(expert, asked).explain(vectors.images)
    labels = answers.probabilities.argmax(axis=1)
    codes = np.array([_crc(a) ^ _crc(b) for a, b in zip(features, logits, strict=True)], np.uint32).astype(np.int32)
    found = {name: np.array(done.all(name)) for name in ("codes", "label", "confidence", "gate", "byte")}
    wrong = (found["codes"] != codes) | (found["label"] != labels)
    difference = max(
        np.abs(found["confidence"] / MILLION - answers.probabilities.max(axis=1)).max(),
        np.abs(found["gate"] / MILLION - answers.gate).max(),
    )
    theirs = Profile.from_bytes(bytes(found["byte"].tolist()), f"{target.name}'s profile")
    agreement = float((MixtureOfExperts(expert, theirs).predict(vectors.images) == ours.predict(vectors.images)).mean())
    n, numbers, counted = len(vectors.images), done.numbers, target.board is not None
    stack = max(numbers["predict stack"], numbers["train stack"]) if counted else None
    passed = not wrong.any() and difference < 1e-4 and agreement >= AGREEING
    return {
        "target": target.name,
        "samples": n,
        "instructions_per_inference": round(numbers["mixture ticks"] / n) if counted else None,
        "instructions_train": numbers["observe ticks"] + numbers["train ticks"] if counted else None,
        "flash_bytes": None if sizes is None else sizes.whole.flash,
        "ram_bytes": numbers["arena"] + stack if stack is not None else None,
        "stack_bytes": stack,
        "mismatches": int(wrong.sum()),
        "max_abs_difference": float(difference),
        "recognition_flash_bytes": None if sizes is None else sizes.recognize.flash,
        "recognition_ram_bytes": None if sizes is None else sizes.recognize.ram + numbers["predict stack"],
        "overhead": numbers["mixture ticks"] / numbers["global ticks"] - 1 if counted else None,
        "observe_instructions": numbers["observe ticks"] if counted else None,
        "learn_instructions": numbers["train ticks"] if counted else None,
        "trained_agreement": agreement,
        "trained_alike": _alike(theirs.local.weights, ours.profile.local.weights),
        "accepted": theirs.verdict.accepted,
        "retained": len(expert.retention),
        "passed": bool(passed and theirs.verdict.accepted == ours.profile.verdict.accepted),
    }


def _alike(first: QuantizedMatrix, second: QuantizedMatrix) -> float:
    return float((first.codes == second.codes).mean())


def _crc(values: npt.NDArray[np.uint8]) -> int:
    return zlib.crc32(values.tobytes())


def image_array(name: str, images: npt.NDArray[np.uint8]) -> str:
    """Return the C of images ``(n, 28, 28)``."""
    rows = ",\n".join("{" + ",".join(map(str, image.ravel().tolist())) + "}" for image in images)
    return f"static const uint8_t {name}[{len(images)}][EM_PIXELS] = {{\n{rows}\n}};\n"


def _vectors(
    images: npt.NDArray[np.uint8], samples: npt.NDArray[np.uint8], targets: Sequence[int], profile: bytes, bits: int
) -> str:
    return (
        f"#define EM_VECTOR_IMAGES {len(images)}\n#define EM_VECTOR_SAMPLES {len(samples)}\n"
        f"#define EM_VECTOR_BITS {bits}\n"
        + image_array("em_vector_image", images)
        + image_array("em_vector_sample", samples)
        + f"static const uint16_t em_vector_target[] = {{{','.join(map(str, targets))}}};\n"
        + f"static const uint8_t em_vector_profile[] = {{{','.join(map(str, profile))}}};\n"
    )
