"""The C library's training as a shared library, for the shipped expert's sizes, beside Python's own.

The network is a stub: what stands for an image are the codes of its features and its logits, one after the other.
"""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from firmware_mixture import STUB, UNDEFINED, CMixture, Status

from edgemoe import MixtureOfExperts
from edgemoe.device.profile import Profile
from edgemoe.device.support import Own
from edgemoe.device.training import SIZES, train
from firmware_export.emit_model import emit_model
from firmware_export.targets import TARGETS
from firmware_export.toolchain import WARNINGS, build

C = Path(__file__).resolve().parents[1] / "firmware_export" / "c"
BUDGET, CONFIDENCE = 0.002, 0.9
CLOSE = 2e-3  # of the largest weight: what 32 bits leave of some ten thousand steps, in another order of summation

PROBE = """
#include "em_train.h"
const float *probe_local(em *moe) { return em_workshop_of(moe)->parts.local[0]; }
const float *probe_gate(em *moe) { return em_workshop_of(moe)->parts.gate; }
size_t probe_arena(void) { return EM_ARENA_TRAIN; }
"""


def write_sources(expert, folder):
    """Write the expert's model, the stub and the probe; return the C files to compile with them."""
    files = emit_model(expert, 4)
    for name in ("edgemoe_model.h", "em_model.c"):
        (folder / name).write_text(files[name])
    (folder / "stub.c").write_text(STUB)
    (folder / "probe.c").write_text(PROBE)
    return [*sorted(C.glob("em_*.c")), folder / "em_model.c", folder / "stub.c", folder / "probe.c"]


def build_trainer(expert, folder):
    """Build the shared library, with every undefined operation an abort, and load it."""
    sources, flags = write_sources(expert, folder), (*WARNINGS, *UNDEFINED)
    library = ctypes.CDLL(str(build(TARGETS["host"], sources, [folder, C], folder / "train.so", flags=flags)))
    library.probe_local.restype = library.probe_gate.restype = ctypes.POINTER(ctypes.c_float)
    library.probe_arena.restype = ctypes.c_size_t
    return library


def codes_of(expert, taps):
    """The network's codes ``(n, F + C)`` of taps."""
    network = expert.network
    logits = np.rint(taps.logits / np.float32(network.logit_step)) + network.dense[-1].zero
    return np.concatenate([np.rint(taps.features / np.float32(network.feature_step)), logits], axis=1).astype(np.uint8)


def samples_of(codes, targets):
    """The bytes of an array of `em_sample`."""
    return np.ascontiguousarray(np.concatenate([np.asarray(targets, np.uint8)[:, None], codes], axis=1))


def train_in_python(expert, taps, targets, size="compact", symbols=""):
    """Profile and weights before rounding, trained without distorted copies."""
    own = Own(taps, taps[:0], np.asarray(targets, np.int64), len(symbols))
    return train(expert, own, SIZES[size], BUDGET, CONFIDENCE, 0, symbols)


class CTrainer(CMixture):
    """An `em` in an arena that serves training."""

    def __init__(self, library, arena_bytes=None):
        super().__init__(library, (arena_bytes or library.probe_arena() + 7) // 8 * 8)

    def train(self, codes, targets, bits=2):
        """`em_train`."""
        samples = samples_of(codes, targets)
        at = samples.ctypes.data_as(ctypes.c_void_p)
        return Status(self.library.em_train(self.moe, at, ctypes.c_size_t(len(samples)), bits))

    def learn(self, codes, target):
        """`em_learn`, of one image's codes ``(F + C,)``."""
        return Status(self.library.em_learn(self.moe, codes.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint16(target)))

    def profile(self):
        """The profile as Python reads it."""
        status, content = self.save()
        assert status == Status.OK
        return Profile.from_bytes(content)

    def parts(self, profile):
        """Weights before rounding, in the shapes of a profile's: the local expert's and the gate's."""
        local, gate = profile.local.weights.codes, profile.gate.weights.codes
        weights = np.ctypeslib.as_array(self.library.probe_local(self.moe), (local.size,)).reshape(local.shape)
        return weights.copy(), np.ctypeslib.as_array(self.library.probe_gate(self.moe), (gate.size,)).copy()

    def labels(self, codes):
        """The mixture's class indices of codes ``(n, F + C)``."""
        return np.array([self.predict(row).label for row in codes])


def near(found, expected, close):
    return np.abs(found - expected).max() <= close * np.abs(expected).max()


def assert_same(trainer, expert, profile, weights, taps, close=CLOSE, apart=0.0):
    """A trained mixture is Python's: before rounding, as a profile, in its verdict, and in 99.5 % of its answers."""
    made = trainer.profile()
    local, gate = trainer.parts(profile)
    assert near(local, weights.local, close)
    assert near(gate, weights.gate, close)
    for name in ("local", "gate"):
        codes, expected = (getattr(of, name).weights.codes.astype(int) for of in (made, profile))
        assert (codes != expected).mean() <= 0.01
        assert np.abs(codes - expected).max() <= 2
    found, said = made.verdict, profile.verdict
    assert (found.accepted, found.wanted) == (said.accepted, said.wanted)
    assert abs(found.threshold - said.threshold) <= apart
    assert found.generic_loss == pytest.approx(said.generic_loss, abs=1e-6)
    assert found.user_gain == pytest.approx(said.user_gain, abs=0.5 / max(made.samples, 20))
    assert found.confidence == pytest.approx(said.confidence, abs=1e-5)
    assert (made.samples, made.budget, made.symbols) == (profile.samples, np.float32(BUDGET), profile.symbols)
    assert made.gate.bias == pytest.approx(profile.gate.bias, rel=CLOSE)
    answers = MixtureOfExperts(expert, profile)
    expected = answers.explain_taps(taps).probabilities.argmax(axis=1)
    assert (trainer.labels(codes_of(expert, taps)) == expected).mean() >= 0.995
