"""The C library's mixture as a shared library, for an expert of any sizes, beside its Python twin.

The network is a stub: what stands for an image are the codes of its features and its logits, one after the other, so
that tests choose them. The model's data are written here as `edgemoe_model.h` and `em_model.c` hold them.
"""

import ctypes
import enum
import functools
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgemoe import MixtureOfExperts
from edgemoe.device.acceptance import Verdict
from edgemoe.device.gate import Gate
from edgemoe.device.local_expert import LocalExpert
from edgemoe.device.profile import Profile
from edgemoe.device.quantized import QuantizedMatrix
from edgemoe.device.retention import Taps
from firmware_export.network import read_network
from firmware_export.targets import TARGETS
from firmware_export.toolchain import WARNINGS, build

C = Path(__file__).resolve().parents[1] / "firmware_export" / "c"
SOURCES = [C / f"em_{part}.c" for part in ("math", "mixture", "pack", "profile", "store", "strokes", "symbols")]
UNDEFINED = ("-fsanitize=undefined", "-fno-sanitize-recover=undefined")

STUB = """
#include "em_internal.h"
#include <string.h>
void em_network(const uint8_t *image, uint8_t *features, uint8_t *logits, void *scratch) {
    memset(scratch, 0xa5, EM_NETWORK_SCRATCH);
    memcpy(features, image, EM_FEATURES);
    memcpy(logits, image + EM_FEATURES, EM_CLASSES);
}
size_t test_profile_most(void) { return EM_PROFILE_MOST; }
size_t test_arena_predict(void) { return EM_ARENA_PREDICT; }
size_t test_slot_bytes(void) { return EM_SLOT_BYTES; }
"""


class Status(enum.IntEnum):
    """`em_status`."""

    OK, NULL, ALIGNMENT, ARENA, NO_PROFILE, VERSION, CHECKSUM, FINGERPRINT, SHAPE, FIELD, STROKES, SAMPLES, LABEL, \
        CAPACITY, FLASH, EMPTY = range(16)  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """The constants of a `Standardizer`."""

    feature_map: tuple[int, int, int]
    feature_mean: np.ndarray
    pooled_mean: np.ndarray
    feature_scale: float
    pooled_scale: float


@dataclass(frozen=True)
class Expert:
    """What the C library knows of a global expert, the network apart.

    Attributes
    ----------
    classes : str
    fingerprint : bytes
        At least 16.
    standardizer : Scale or Standardizer
    feature_step, logit_step : float
    logit_zero : int
    spare : int
        Room for spare symbols.
    """

    classes: str
    fingerprint: bytes
    standardizer: Scale
    feature_step: float
    logit_step: float
    logit_zero: int
    spare: int

    @classmethod
    def of(cls, ge, spare=4):
        """The data of a global expert as it ships."""
        network = read_network(ge.graph)
        return cls(
            ge.classes, ge.fingerprint, ge.standardizer,
            network.feature_step, network.logit_step, int(network.dense[-1].zero), spare,
        )  # fmt: skip

    @classmethod
    def small(cls, classes="ab0", feature_map=(2, 3, 5), spare=3, seed=0):
        """An expert of few sizes, with the constants that a retention set might have given."""
        rng = np.random.default_rng(seed)
        features, pooled = int(np.prod(feature_map)), 4 * feature_map[0]
        mean = rng.uniform(0.1, 2, features).astype(np.float32)
        scale = Scale(feature_map, mean, rng.uniform(0.1, 2, pooled).astype(np.float32), 0.7, 0.4)
        return cls(classes, rng.bytes(32), scale, 0.0125, 0.07, 120, spare)

    @property
    def features(self):
        return len(self.standardizer.feature_mean)

    @property
    def pooled(self):
        return len(self.standardizer.pooled_mean)

    def taps(self, codes):
        """The values of codes ``(n, F + C)``."""
        features, logits = codes[:, : self.features], codes[:, self.features :]
        return Taps(
            np.float32(self.logit_step) * (logits.astype(np.float32) - self.logit_zero),
            np.float32(self.feature_step) * features.astype(np.float32),
        )

    def codes(self, taps):
        """The codes ``(n, F + C)`` of values."""
        logits = np.rint(taps.logits / np.float32(self.logit_step)) + self.logit_zero
        return np.concatenate([np.rint(taps.features / np.float32(self.feature_step)), logits], axis=1).astype(np.uint8)

    # What a `GlobalExpert` has that a `MixtureOfExperts` asks for.
    name = "small"

    def label(self, scores):
        return np.array(list(self.classes))[scores.argmax(axis=1)]

    def twin(self, profile):
        """The mixture in Python."""
        return MixtureOfExperts(self, profile)

    def random_codes(self, rng, n):
        """Codes ``(n, F + C)`` of features and logits."""
        return rng.integers(0, 256, (n, self.features + len(self.classes))).astype(np.uint8)

    def random_profile(self, rng, local_bits=2, gate_bits=3, symbols="", zeros=0.5, **changes):
        """A profile whose gate opens for about every second image of random codes."""

        def matrix(rows, columns, bits, scale):
            top = 2 ** (bits - 1) - 1
            codes = rng.integers(-top, top + 1, (rows, columns)) * (rng.random((rows, columns)) >= zeros)
            scales = rng.uniform(0.5, 1.5, 1 if bits == 2 else rows) * scale / top
            return QuantizedMatrix(codes.astype(np.int8), scales.astype(np.float16), bits)

        local = LocalExpert(matrix(len(self.classes) + len(symbols), self.pooled + 1, local_bits, 0.8), len(symbols))
        gate = Gate(matrix(1, self.features, gate_bits, 0.3), 0.0)
        fields = {"verdict": Verdict(True, 0.5, -0.5, 0.25, 0.75, 9), "samples": 17, "budget": 0.125} | changes
        profile = Profile(self.fingerprint[:16], local, gate, **fields, symbols=symbols)
        odds = self.twin(profile)._folded().log_odds(self.taps(self.random_codes(rng, 50)))
        return replace(profile, gate=replace(gate, bias=float(np.float32(-np.median(odds)))))

    def header(self):
        """`edgemoe_model.h`."""
        channels, rows, columns = self.standardizer.feature_map
        sizes = {
            "CLASSES": len(self.classes), "SPARE": self.spare, "CHANNELS": channels, "MAP_ROWS": rows,
            "MAP_COLUMNS": columns, "FEATURES": self.features, "POOLED": self.pooled,
            "QUARTER": (rows + 1) // 2 * ((columns + 1) // 2), "LOGIT_ZERO": self.logit_zero,
            "NETWORK_SCRATCH": 64, "SAMPLES_MOST": 100, "RETAINED": 1, "RETAINED_TRAINING": 1,
        }  # fmt: skip
        reals = {
            "FEATURE_STEP": self.feature_step, "LOGIT_STEP": self.logit_step,
            "FEATURE_SCALE": self.standardizer.feature_scale / self.feature_step,
            "POOLED_SCALE": self.standardizer.pooled_scale / self.feature_step,
        }  # fmt: skip
        lines = [f"#define EM_{name} {value}" for name, value in sizes.items()]
        return "\n".join(lines + [f"#define EM_{name} {np.float32(value)!s}f" for name, value in reals.items()]) + "\n"

    def model(self):
        """`em_model.c`."""

        def array(kind, name, values):
            return f"const {kind} {name}[{len(values)}] = {{{', '.join(values)}}};\n"

        means = self.standardizer.feature_mean, self.standardizer.pooled_mean
        return '#include "em_internal.h"\n' + "".join([
            array("uint8_t", "em_fingerprint", [str(byte) for byte in self.fingerprint[:16]]),
            array("uint32_t", "em_codepoints", [str(ord(name)) for name in self.classes]),
            *(
                array("float", name, [f"{value / np.float32(self.feature_step):.9e}f" for value in mean])
                for name, mean in zip(("em_feature_mean", "em_pooled_mean"), means, strict=True)
            ),
        ])  # fmt: skip

    def write(self, folder):
        """Write header, model and stub; return the C files to compile with them."""
        (folder / "edgemoe_model.h").write_text(self.header())
        (folder / "em_model.c").write_text(self.model())
        (folder / "stub.c").write_text(STUB)
        return [*SOURCES, folder / "em_model.c", folder / "stub.c"]


def build_library(expert, folder):
    """Build the shared library, with every undefined operation an abort, and load it."""
    path = build(
        TARGETS["host"], expert.write(folder), [folder, C], folder / "mixture.so", flags=(*WARNINGS, *UNDEFINED)
    )
    return ctypes.CDLL(str(path))


SMALL = Expert.small("abcdefg")


@functools.cache
def small_library():
    """The library for `SMALL`, built once for all tests."""
    with tempfile.TemporaryDirectory() as folder:
        return build_library(SMALL, Path(folder))


class Answer(ctypes.Structure):
    """`em_answer`."""

    _fields_ = (
        ("label", ctypes.c_uint16), ("global_label", ctypes.c_uint16), ("local_label", ctypes.c_uint16),
        ("confidence", ctypes.c_float), ("gate", ctypes.c_float),
    )  # fmt: skip


class CVerdict(ctypes.Structure):
    """`em_verdict`."""

    _fields_ = (
        ("accepted", ctypes.c_uint8), ("gain_known", ctypes.c_uint8), ("threshold", ctypes.c_float),
        ("generic_loss", ctypes.c_float), ("user_gain", ctypes.c_float), ("confidence", ctypes.c_float),
    )  # fmt: skip


class CMixture:
    """An `em` in an arena of its own."""

    def __init__(self, library, arena_bytes=65536):
        self.library = library
        self.arena = (ctypes.c_uint64 * (arena_bytes // 8))()
        self.moe = ctypes.c_void_p()
        assert library.em_init(ctypes.byref(self.moe), self.arena, ctypes.c_size_t(arena_bytes)) == Status.OK

    def load(self, content):
        """`em_load`; the bytes lie in a buffer of exactly their size."""
        buffer = (ctypes.c_uint8 * max(len(content), 1))(*content)
        return Status(self.library.em_load(self.moe, buffer, ctypes.c_size_t(len(content))))

    def save(self, capacity=1 << 16):
        """`em_save`: the status and the bytes."""
        buffer, size = (ctypes.c_uint8 * capacity)(), ctypes.c_size_t(0)
        status = Status(self.library.em_save(self.moe, buffer, ctypes.c_size_t(capacity), ctypes.byref(size)))
        return status, bytes(buffer[: size.value])

    def predict(self, codes, session=False):
        """`em_predict` or `em_session_predict` of one image's codes ``(F + C,)``."""
        answer = Answer()
        function = self.library.em_session_predict if session else self.library.em_predict
        assert function(self.moe, codes.ctypes.data_as(ctypes.c_void_p), ctypes.byref(answer)) == Status.OK
        return answer

    def start(self):
        assert self.library.em_session_start(self.moe) == Status.OK

    def verdict(self):
        """`em_verdict_of`: the status and what it found."""
        verdict = CVerdict()
        return Status(self.library.em_verdict_of(self.moe, ctypes.byref(verdict))), verdict

    def character(self, label):
        function = self.library.em_character
        function.restype = ctypes.c_uint32
        return function(self.moe, ctypes.c_uint16(label))
