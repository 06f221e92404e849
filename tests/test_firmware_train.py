"""What the C library learns is what Python learns: weights, verdicts, answers, and the same bits on every target."""

import ctypes
import math
from fractions import Fraction

import numpy as np
import pytest
from firmware_mixture import Status
from firmware_tools import require_target
from firmware_training import (
    BUDGET,
    CLOSE,
    C,
    CTrainer,
    assert_same,
    build_trainer,
    codes_of,
    near,
    samples_of,
    train_in_python,
    write_sources,
)

from edgemoe import MixtureOfExperts
from edgemoe.classes import merge_labels
from edgemoe.data import draw_shots, load_samples
from edgemoe.device.acceptance import confidence_within, samples_wanted, sign_test
from edgemoe.device.quantized import quantize
from edgemoe.device.training import SIZES, untrained
from edgemoe.simulator import generic_samples, simulated_samples
from firmware_export.emulator import run
from firmware_export.expert import IntegerExpert
from firmware_export.toolchain import build, compile_everywhere

RETAINED = 1500  # fewer could not show that the budget is kept
PARTS = ("accept", "gate", "learn", "length", "lesson", "moment", "round", "settle", "train")
ODD = 5e-3  # the same where nothing is to be learnt, and the weights go on moving to the last step
STEP = 0.25  # between two thresholds: by so much may they differ where an answer lies on the edge of two


@pytest.fixture(scope="module")
def expert(ge):
    return IntegerExpert(ge, RETAINED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trainer")


@pytest.fixture(scope="module")
def library(expert, folder):
    return build_trainer(expert, folder)


@pytest.fixture(scope="module")
def given(ge, writer):
    """Taps and class indices of what a simulated writer gives."""
    images, labels = writer
    return ge.taps(images), np.array([ge.classes.index(label) for label in labels])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", [3, 4])
def test_c_learns_what_python_learns(ge, expert, library, size, seed):
    images, labels = simulated_samples(seed=seed, per_class=5)
    taps, targets = ge.taps(images), np.array([ge.classes.index(label) for label in labels])
    profile, weights = train_in_python(expert, taps, targets, size)
    trainer = CTrainer(library)
    assert trainer.train(codes_of(expert, taps), targets, SIZES[size].local_bits) == Status.OK
    assert profile.verdict.accepted
    fresh = np.concatenate([simulated_samples(seed, 3, sample_seed=1)[0], generic_samples(1, 2)[0]])
    assert_same(trainer, expert, profile, weights, ge.taps(fresh))


def test_real_writers_gain_the_same_in_c_as_in_python(ge, expert, library, shared_data):
    images, labels, owners = load_samples(shared_data / "unipen" / "writers_small.npz")
    labels = merge_labels(labels, ge.classes)
    for owner in np.unique(owners)[:3]:
        own = np.flatnonzero(owners == owner)
        chosen, rest = (own[rows] for rows in draw_shots(labels[own], 5, seed=0))
        targets = np.array([ge.classes.index(label) for label in labels[chosen]])
        taps = ge.taps(images[chosen])
        profile, weights = train_in_python(expert, taps, targets)
        trainer = CTrainer(library)
        assert trainer.train(codes_of(expert, taps), targets) == Status.OK
        assert_same(trainer, expert, profile, weights, ge.taps(images[rest]))


def test_spare_symbols_are_taught(ge, expert, library, given):
    taps, targets = given
    taught = np.where(targets == ge.classes.index("A"), 48, targets)  # what looks like A is the second of two symbols
    before = untrained(expert, SIZES["compact"], BUDGET, "@é")
    trainer = CTrainer(library)
    assert trainer.load(before.to_bytes()) == Status.OK
    profile, weights = train_in_python(expert, taps, taught, symbols="@é")
    assert trainer.train(codes_of(expert, taps), taught) == Status.OK
    assert trainer.profile().symbols == "@é"
    assert_same(trainer, expert, profile, weights, taps)
    assert (trainer.labels(codes_of(expert, taps))[taught == 48] == 48).mean() > 0.5


CASES = {
    "one sample": lambda taps, targets, rng: (taps[:1], targets[:1]),
    "two samples": lambda taps, targets, rng: (taps[np.array([0, 7])], targets[[0, 7]]),
    "one class": lambda taps, targets, rng: (taps[:5], targets[:5] * 0 + targets[0]),
    "contradicting labels": lambda taps, targets, rng: (
        taps[np.tile(np.arange(60), 2)], np.concatenate([targets[:60], (targets[:60] + 1) % 47]),
    ),
    "labels at random": lambda taps, targets, rng: (taps, rng.permutation(targets)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_odd_samples_end_as_in_python(expert, library, given, case):
    taps, targets = CASES[case](*given, np.random.default_rng(0))
    profile, weights = train_in_python(expert, taps, targets)
    trainer = CTrainer(library)
    assert trainer.train(codes_of(expert, taps), targets) == Status.OK
    assert_same(trainer, expert, profile, weights, given[0], ODD, STEP)
    if case == "labels at random":
        assert not trainer.profile().verdict.accepted


def test_corrections_are_learnt_as_python_learns_them(ge, expert, library, given, fresh):
    taps, targets = given
    trainer = CTrainer(library)
    assert trainer.train(codes_of(expert, taps), targets) == Status.OK
    mixture = MixtureOfExperts(expert, trainer.profile())
    assert trainer.load(mixture.profile.to_bytes()) == Status.OK  # both go on from the rounded weights
    images, labels = fresh
    moved = 0
    for row in range(0, 30, 3):
        new = ge.taps(images[row : row + 1])
        target = (ge.classes.index(labels[row]) + row % 2) % 47  # every other one contradicts
        before = mixture.profile
        mixture._learn_alone(new, target)
        assert trainer.learn(codes_of(expert, new)[0], target) == Status.OK
        made, expected = trainer.profile(), mixture.profile
        moved += (expected.local.weights.codes != before.local.weights.codes).sum()
        assert (made.local.weights.codes != expected.local.weights.codes).mean() <= 0.02
        assert np.abs(made.gate.weights.codes.astype(int) - expected.gate.weights.codes).max() <= 1
        assert made.verdict.threshold == expected.verdict.threshold
        assert made.samples == expected.samples
    assert moved > 0
    weights = mixture._weights
    local, gate = trainer.parts(mixture.profile)
    assert near(local, weights.local, CLOSE)
    assert near(gate, weights.gate, CLOSE)


def test_what_cannot_be_learnt_from_is_refused_and_changes_nothing(expert, library, given):
    taps, targets = given
    codes = codes_of(expert, taps)
    trainer = CTrainer(library)
    assert trainer.learn(codes[0], 0) == Status.NO_PROFILE
    assert trainer.train(codes[:60], targets[:60]) == Status.OK
    _, before = trainer.save()
    assert trainer.train(codes[:0], targets[:0]) == Status.SAMPLES
    many = np.arange(501) % 60
    assert trainer.train(codes[many], targets[many]) == Status.SAMPLES
    assert trainer.train(codes[:2], [0, 47]) == Status.LABEL
    for bits in (-1, 0, 1, 3, 7, 9, 16):
        assert trainer.train(codes[:2], [0, 1], bits) == Status.FIELD
    assert trainer.learn(codes[0], 47) == Status.LABEL
    one = samples_of(codes[:1], [0]).ctypes.data_as(ctypes.c_void_p)
    assert library.em_train(None, one, ctypes.c_size_t(1), 2) == Status.NULL
    assert library.em_train(trainer.moe, None, ctypes.c_size_t(1), 2) == Status.NULL
    assert library.em_learn(trainer.moe, None, 0) == library.em_learn(None, one, 0) == Status.NULL
    assert trainer.save()[1] == before
    small = CTrainer(library, library.probe_arena() // 8 * 8 - 8)
    assert small.train(codes[:2], targets[:2]) == Status.ARENA
    assert small.load(before) == Status.OK
    assert small.learn(codes[0], 0) == Status.ARENA


def test_training_anew_forgets_what_was_learnt_before(expert, library, given):
    taps, targets = given
    codes = codes_of(expert, taps)
    once, again = CTrainer(library), CTrainer(library)
    assert once.train(codes, targets) == Status.OK
    assert again.train(codes[::2], targets[::2], 8) == again.learn(codes[1], targets[1]) == Status.OK
    assert again.train(codes, targets) == Status.OK
    assert once.save() == again.save()


@pytest.mark.parametrize("budget", [0.0, 0.002, 0.05])
def test_the_acceptance_tests_statistics_are_pythons(library, budget):
    library.em_confidence_within.restype = library.em_sign_test.restype = ctypes.c_float
    size, real = ctypes.c_size_t, ctypes.c_float
    turns = [0, 1, 2, 3, 5, 9, 20, 41, 80]
    for wrong in turns:
        for right in turns:
            for n in (160, 612, 1313, 3000):
                found = library.em_confidence_within(size(wrong), size(right), size(n), real(budget))
                assert found == pytest.approx(confidence_within(wrong, right, n, budget), abs=2e-6)
                wanted = library.em_samples_wanted(size(wrong), size(right), size(n))
                rate = Fraction(right + 1, n + 2) - Fraction(wrong, n)
                assert wanted == (max(1, math.ceil(2 / rate) - n) if rate > 0 else 0)
                assert abs(wanted - (samples_wanted(wrong, right, n) or 0)) <= 1  # Python rounds
            assert library.em_sign_test(size(wrong), size(right)) == pytest.approx(sign_test(wrong, right), abs=2e-6)
    assert library.em_sign_test(size(240), size(260)) == pytest.approx(sign_test(240, 260), abs=1e-5)


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_weights_are_rounded_as_python_rounds_them(library, expert, bits):
    rng = np.random.default_rng(bits)
    columns = len(expert.standardizer.pooled_mean) + 1
    weights = (rng.normal(0, 1, (47, columns)) ** 3).astype(np.float32)
    weights[5] = 0
    weights[6] *= 1e-6
    expected = quantize(weights, bits)
    codes, scales = np.ones((47, columns), np.int8), np.zeros(47, np.uint16)
    at = [array.ctypes.data for array in (weights, codes, scales)]
    if bits == 2:
        library.em_sparsify(ctypes.c_void_p(at[0]), ctypes.c_size_t(47), ctypes.c_void_p(at[1]), ctypes.c_void_p(at[2]))
    else:
        for row in range(47):
            pointers = [ctypes.c_void_p(start + row * array.strides[0]) for start, array in
                        zip(at, (weights, codes, scales), strict=True)]  # fmt: skip
            library.em_quantize(pointers[0], ctypes.c_size_t(columns), bits, *pointers[1:])
    assert (codes == expected.codes).all()
    assert (scales[: len(expected.scales)].view(np.float16) == expected.scales).all()


MAIN = """
#include "em_train.h"
#include "em_board.h"
#include "samples.h"
static em_word arena[EM_WORDS(EM_ARENA_TRAIN)];
static uint8_t profile[EM_PROFILE_MOST];
int main(void) {
    em *moe;
    size_t bytes;
    uint64_t start;
    em_board_stack_mark();
    if (em_init(&moe, arena, sizeof arena) != EM_OK) return 1;
    start = em_board_ticks();
    if (em_train(moe, (const em_sample *)(const void *)samples, COUNT, 2) != EM_OK) return 2;
    em_board_report("train", (int64_t)(em_board_ticks() - start));
    em_board_report("parts", em_crc32((const uint8_t *)&em_workshop_of(moe)->parts, sizeof(em_parts)));
    if (em_learn(moe, samples + 1, samples[1 + EM_FEATURES + EM_CLASSES]) != EM_OK) return 3;
    em_board_report("learnt", em_crc32((const uint8_t *)&em_workshop_of(moe)->parts, sizeof(em_parts)));
    if (em_save(moe, profile, sizeof profile, &bytes) != EM_OK) return 4;
    em_board_report("profile", em_crc32(profile, bytes));
    em_board_report("ram", (int64_t)sizeof arena + em_board_stack_peak());
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(expert, library, folder, given):  # the library: its sources are written
    """Trains on 24 samples and reports checksums of all that it learnt."""
    taps, targets = given
    samples = samples_of(codes_of(expert, taps)[:24], targets[:24]).ravel()
    text = f"#define COUNT 24\nstatic const uint8_t samples[] = {{{', '.join(map(str, samples))}}};\n"
    (folder / "samples.h").write_text(text)
    (folder / "main.c").write_text(MAIN)
    sources = [path for path in write_sources(expert, folder) if path.name != "probe.c"]

    def on(name):
        target = require_target(name)
        made = build(target, [*sources, folder / "main.c"], [folder, C], folder / f"train-{name}")
        done = run(target, made)
        assert done.code == 0
        return done.numbers

    return on


@pytest.mark.parametrize("name", ["cortex-m3", "cortex-m4"])
def test_training_gives_the_same_bits_on_every_target(program, name):
    expected, found = program("host"), program(name)
    for what in ("parts", "learnt", "profile"):
        assert found[what] == expected[what]


def test_training_keeps_to_64_kb_with_its_stack(program):
    assert program("cortex-m4")["ram"] <= 64 << 10


def test_training_compiles_without_a_warning_everywhere(library, folder):
    for tool in ("cortex-m3", "host"):
        require_target(tool)
    compile_everywhere([C / f"em_{part}.c" for part in PARTS], [folder, C])
