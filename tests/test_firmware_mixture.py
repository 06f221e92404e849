"""The mixture in C answers as the Python's does, sessions and spare symbols included, and the same on every target."""

import ctypes

import numpy as np
import pytest
from firmware_mixture import SMALL as EXPERT
from firmware_mixture import C, CMixture, Expert, Status, build_library, small_library
from firmware_tools import require_target
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemoe.device.acceptance import Verdict
from edgemoe.device.gate import CLOSED
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.device.session import Session
from edgemoe.device.standardize import pool
from edgemoe.simulator import simulated_samples
from firmware_export.emulator import run
from firmware_export.targets import TARGETS
from firmware_export.toolchain import WARNINGS, build

TOLERANCE = 1e-5  # of a probability


@pytest.fixture(scope="module")
def library():
    return small_library()


@pytest.fixture(scope="module")
def shipped(ge, tmp_path_factory):
    """The shipped expert's data, and the library for it."""
    expert = Expert.of(ge)
    return expert, build_library(expert, tmp_path_factory.mktemp("shipped"))


def agree(found, answers, probabilities, classes):
    """Whether C's answers are Python's; either is right where two classes are as likely."""
    top = probabilities.max(axis=1)
    labels = np.array([answer.label for answer in found])
    chosen = probabilities[np.arange(len(found)), labels]
    closed = np.array([answer.gate == 0 for answer in found])
    of_local = np.where(closed, answers.global_labels, answers.local_labels)
    np.testing.assert_allclose([answer.gate for answer in found], answers.gate, atol=TOLERANCE)
    np.testing.assert_allclose([answer.confidence for answer in found], top, atol=TOLERANCE)
    np.testing.assert_allclose(chosen, top, atol=TOLERANCE)
    assert (labels == probabilities.argmax(axis=1))[top - np.sort(probabilities)[:, -2] > TOLERANCE].all()
    assert [classes[answer.global_label] for answer in found] == answers.global_labels.tolist()
    assert np.mean([classes[answer.local_label] for answer in found] == of_local) > 0.98


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(3, 8), st.sampled_from(["", "@", "@é", "@é𝄞"]),
    st.sampled_from([0, 0.5, 0.95]), st.booleans(),
)  # fmt: skip
def test_the_answers_are_pythons(library, seed, local_bits, gate_bits, symbols, zeros, untaught):
    rng = np.random.default_rng(seed)
    profile = EXPERT.random_profile(rng, local_bits, gate_bits, symbols, zeros)
    if untaught and symbols:
        profile.local.weights.codes[-1] = 0
    twin, moe = EXPERT.twin(profile), CMixture(library)
    assert moe.load(profile.to_bytes()) == Status.OK
    codes = EXPERT.random_codes(rng, 60)
    codes[:, EXPERT.features :] = rng.integers(90, 150, (60, len(EXPERT.classes)))  # experts that are not that sure
    answers = twin.explain_taps(EXPERT.taps(codes))
    near = np.abs(answers.gate - CLOSED) < 1e-6
    found = [moe.predict(code) for code in codes[~near]]
    assert any(answer.gate > 0 for answer in found)
    kept = twin.explain_taps(EXPERT.taps(codes[~near]))
    agree(found, kept, kept.probabilities, twin.classes_)
    assert [chr(moe.character(i)) for i in range(len(twin.classes_))] == twin.classes_.tolist()
    assert moe.character(len(twin.classes_)) == 0


def test_a_taught_symbol_is_answered_and_an_untaught_one_never(library):
    rng = np.random.default_rng(5)
    profile = EXPERT.random_profile(rng, 8, 8, "@é")
    profile.local.weights.codes[-2:] = 0
    profile.local.weights.codes[-2, -1] = 127  # "@" has a bias alone
    profile.local.weights.scales[-2] = 1
    codes = EXPERT.random_codes(rng, 200)
    moe = CMixture(library)
    assert moe.load(profile.to_bytes()) == Status.OK
    labels = {moe.character(moe.predict(code).label) for code in codes}
    assert ord("@") in labels
    assert ord("é") not in labels


def test_a_profile_that_was_declined_leaves_the_global_expert_alone(library):
    rng = np.random.default_rng(6)
    profile = EXPERT.random_profile(rng, verdict=Verdict(False, 0, 0, None))
    codes = EXPERT.random_codes(rng, 30)
    bare, declined = CMixture(library), CMixture(library)
    assert declined.load(profile.to_bytes()) == Status.OK
    expected = EXPERT.twin(profile).explain_taps(EXPERT.taps(codes))
    for moe in (bare, declined):
        for session in (False, True):
            found = [moe.predict(code, session) for code in codes]
            agree(found, expected, expected.probabilities, EXPERT.classes)
            assert {answer.gate for answer in found} == {0}


def steps(twin, taps, start=0.5):
    """A session's gate and probabilities, image by image, and its memory before each."""
    session = Session(twin)
    for i in range(len(taps)):
        one = taps[i : i + 1]
        gate = session.weigh(one)
        yield gate[0], twin._mix(one, gate)[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_session_is_pythons_step_by_step_and_forgets_when_started_anew(library, seed):
    rng = np.random.default_rng(seed)
    profile = EXPERT.random_profile(rng, 4, 5)
    twin, moe = EXPERT.twin(profile), CMixture(library)
    assert moe.load(profile.to_bytes()) == Status.OK
    codes = EXPERT.random_codes(rng, 80)
    for _ in range(2):
        moe.start()
        for code, (gate, probabilities) in zip(codes, steps(twin, EXPERT.taps(codes)), strict=True):
            answer = moe.predict(code, session=True)
            assert answer.gate == pytest.approx(gate, abs=TOLERANCE)
            assert answer.confidence == pytest.approx(probabilities.max(), abs=TOLERANCE)
    alone = [moe.predict(code).gate for code in codes]  # reads no memory and leaves none
    np.testing.assert_allclose(alone, twin.explain_taps(EXPERT.taps(codes)).gate, atol=TOLERANCE)


def test_loading_a_profile_forgets_the_session(library):
    rng = np.random.default_rng(8)
    profile, codes = EXPERT.random_profile(rng), EXPERT.random_codes(rng, 20)
    moe = CMixture(library)
    runs = []
    for _ in range(2):
        assert moe.load(profile.to_bytes()) == Status.OK
        runs.append([moe.predict(code, session=True).gate for code in codes])
    assert runs[0] == runs[1]


def test_the_shipped_expert_with_a_trained_profile_answers_as_in_python(shipped, ge, profile):
    expert, library = shipped
    moe, twin = CMixture(library), MixtureOfExperts.load(profile, ge)
    assert moe.load(twin.profile.to_bytes()) == Status.OK
    images = np.concatenate([simulated_samples(1, 3, sample_seed=1)[0], simulated_samples(2, 3)[0]])
    taps = ge.taps(images)
    codes = expert.codes(taps)
    answers = twin.explain_taps(taps)
    agree([moe.predict(code) for code in codes], answers, answers.probabilities, twin.classes_)
    for code, (gate, probabilities) in zip(codes, steps(twin, taps), strict=True):
        answer = moe.predict(code, session=True)
        assert answer.gate == pytest.approx(gate, abs=TOLERANCE)
        assert answer.confidence == pytest.approx(probabilities.max(), abs=TOLERANCE)


@pytest.mark.parametrize("feature_map", [(2, 1, 1), (3, 5, 5), (2, 7, 4)], ids=str)
def test_quarters_of_a_map_add_up_as_pythons_means(tmp_path, feature_map):
    expert = Expert.small("ab", feature_map, spare=1)
    library = build_library(expert, tmp_path)
    quarter = (feature_map[1] + 1) // 2 * ((feature_map[2] + 1) // 2)
    for code in expert.random_codes(np.random.default_rng(1), 20)[:, : expert.features]:
        sums = (ctypes.c_uint16 * (4 * feature_map[0]))()
        library.em_pool(np.ascontiguousarray(code).ctypes.data_as(ctypes.c_void_p), sums)
        means = pool(code[None].astype(np.float64), feature_map)[0]
        np.testing.assert_allclose(np.array(sums) / quarter, means, rtol=1e-12)


def test_a_sample_keeps_the_codes_and_the_label_that_there_is(library):
    rng, moe = np.random.default_rng(1), CMixture(library)
    for symbols in ("", "@é"):
        assert moe.load(EXPERT.random_profile(rng, symbols=symbols).to_bytes()) == Status.OK
        code, rows = EXPERT.random_codes(rng, 1)[0], len(EXPERT.classes + symbols)
        sample, image = (ctypes.c_uint8 * (1 + len(code)))(), code.ctypes.data_as(ctypes.c_void_p)
        assert library.em_observe(moe.moe, image, ctypes.c_uint16(rows - 1), sample) == Status.OK
        assert list(sample) == [rows - 1, *code]
        assert library.em_observe(moe.moe, image, ctypes.c_uint16(rows), sample) == Status.LABEL


def test_init_refuses_what_it_cannot_use(library):
    library.test_arena_predict.restype = ctypes.c_size_t
    least = library.test_arena_predict()
    arena, moe = (ctypes.c_uint64 * (least // 8 + 1))(), ctypes.c_void_p()
    start, size = ctypes.addressof(arena), ctypes.c_size_t(least)
    assert library.em_init(None, arena, size) == Status.NULL
    assert library.em_init(ctypes.byref(moe), None, size) == Status.NULL
    assert library.em_init(ctypes.byref(moe), ctypes.c_void_p(start + 4), size) == Status.ALIGNMENT
    assert library.em_init(ctypes.byref(moe), arena, ctypes.c_size_t(least - 1)) == Status.ARENA
    assert library.em_init(ctypes.byref(moe), arena, size) == Status.OK
    for function in (library.em_predict, library.em_session_predict):
        assert function(moe, None, arena) == function(moe, arena, None) == function(None, arena, arena) == Status.NULL
    assert library.em_observe(moe, None, 0, arena) == library.em_session_start(None) == Status.NULL


# em_math.c


def called(library, name, values, result=ctypes.c_float, argument=ctypes.c_float):
    function = getattr(library, name)
    function.restype, function.argtypes = result, [argument]
    return np.array([function(value) for value in values])


def ulps(found, exact):
    """The distance from the exact value, in units of float32's last place."""
    return np.abs(found.astype(np.float64) - exact) / np.spacing(exact.astype(np.float32)).astype(np.float64)


def test_exp_is_within_one_unit_in_the_last_place_and_saturates(library):
    rng = np.random.default_rng(0)
    parts = rng.uniform(-87.3, 88.7, 40_000), rng.normal(0, 1, 20_000), 10.0 ** rng.uniform(-12, 0, 5000)
    values = np.concatenate(parts).astype(np.float32)
    assert ulps(called(library, "em_exp", values), np.exp(values.astype(np.float64))).max() <= 1
    most = np.finfo(np.float32).max
    ends = np.array([88.73, 1e5, np.inf, -87.34, -1e5, -np.inf, 0, -0.0], np.float32)
    assert called(library, "em_exp", ends).tolist() == [most, most, most, 0, 0, 0, 1, 1]
    assert np.isfinite(called(library, "em_exp", [np.nan])).all()


def test_log_is_within_three_units_in_the_last_place_and_saturates(library):
    rng = np.random.default_rng(0)
    parts = 10.0 ** rng.uniform(-37, 38, 30_000), rng.uniform(0.3, 3, 20_000), 1 + rng.normal(0, 1e-3, 10_000)
    values = np.concatenate(parts).astype(np.float32)
    values = values[values != 1]
    assert ulps(called(library, "em_log", values), np.log(values.astype(np.float64))).max() <= 3
    info = np.finfo(np.float32)
    least, most = (np.float32(np.log(np.float64(end))) for end in (info.tiny, info.max))
    ends = [0.0, -0.0, -1.0, np.nan, -np.inf, 1e-40, info.tiny, np.inf, info.max, 1.0]
    np.testing.assert_array_max_ulp(
        called(library, "em_log", ends).astype(np.float32), np.array([least] * 7 + [most] * 2 + [0], np.float32), 1
    )


def test_half_precision_is_numpys(library):
    halves = np.arange(65536, dtype=np.uint16)
    values = halves.view(np.float16).astype(np.float32)
    found = called(library, "em_half_to_float", halves.tolist(), argument=ctypes.c_uint16)
    np.testing.assert_array_equal(found, values)
    rng = np.random.default_rng(0)
    finite = np.sort(values[np.isfinite(values)])
    ties = (finite[1:] + finite[:-1]) / 2
    bits = np.concatenate([rng.integers(0, 2**32, 20_000, np.uint32), ties.view(np.uint32), ties.view(np.uint32) + 1])
    floats = bits.view(np.float32)
    with np.errstate(over="ignore"):
        expected = floats.astype(np.float16)
    found = called(library, "em_float_to_half", floats, ctypes.c_uint16).astype(np.uint16).view(np.float16)
    np.testing.assert_array_equal(found, expected)
    assert (np.signbit(found) == np.signbit(expected)).all()


# All targets


PROGRAM = """
#include "em_board.h"
#include "em_internal.h"
#include "em_dot.h"
#include "inputs.h"
#include <string.h>
static em_word arena[EM_WORDS(EM_ARENA_PREDICT)];
static uint32_t digest;
static void add(const void *bytes, size_t count) {
    uint8_t both[64];
    memcpy(both, &digest, 4);
    memcpy(both + 4, bytes, count);
    digest = em_crc32(both, count + 4);
}
static void add_float(float value) { add(&value, sizeof value); }
static void report(const char *name) { em_board_report(name, digest); digest = 0; }
int main(void) {
    em *moe;
    em_answer answer;
    uint8_t image[EM_PIXELS];
    uint64_t start;
    size_t i;
    float x;
    for (x = -90.0f; x < 90.0f; x += 0.37f) add_float(em_exp(x));
    report("exp");
    for (x = 1e-30f; x < 1e30f; x *= 1.37f) add_float(em_log(x));
    report("log");
    for (i = 0; i < 65536; i += 37) add_float((i & 0x7c00u) == 0x7c00u ? 0.0f : em_half_to_float((uint16_t)i));
    report("half");
    if (em_init(&moe, arena, sizeof arena) != EM_OK) return 1;
    start = em_board_ticks();
    em_predict(moe, images[0], &answer);
    em_board_report("ticks alone", (int64_t)(em_board_ticks() - start));
    if (em_load(moe, profile, sizeof profile) != EM_OK) return 2;
    for (i = 0; i < sizeof images / sizeof *images; i++) {
        em_predict(moe, images[i], &answer);
        add(&answer.label, 2);
        add_float(answer.gate);
        add_float(answer.confidence);
        em_session_predict(moe, images[i], &answer);
        add_float(answer.gate);
        add_float(answer.confidence);
    }
    report("answers");
    em_board_report("open", (int64_t)(answer.gate > 0));
    start = em_board_ticks();
    em_predict(moe, images[0], &answer);
    em_board_report("ticks mixture", (int64_t)(em_board_ticks() - start));
    em_board_report("open", answer.gate > 0.0f);
    if (em_render(points, strokes, 2, image) != EM_OK) return 3;
    digest = em_crc32(image, sizeof image);
    report("strokes");
    return 0;
}
"""


def array(kind, name, values):
    return f"static const {kind} {name} = {{{', '.join(map(str, values))}}};\n"


def run_on(target, expert, profile, codes, folder):
    """The numbers that the program prints on a target."""
    rng = np.random.default_rng(0)
    rows = ["{" + ", ".join(map(str, code)) + "}" for code in codes]
    text = array("uint8_t", "profile[]", profile.to_bytes()) + array("uint8_t", f"images[][{codes.shape[1]}]", rows)
    text += array("float", "points[]", [f"{value:.9e}f" for value in rng.normal(0, 40, 40).astype(np.float32)])
    text += array("uint16_t", "strokes[]", [13, 7])
    (folder / "inputs.h").write_text("#include <stdint.h>\n" + text)
    (folder / "program.c").write_text(PROGRAM)
    program = folder / f"{target.name}.elf"
    build(target, [*expert.write(folder), folder / "program.c"], [folder, C], program, flags=WARNINGS)
    done = run(target, program)
    assert done.code == 0, done.lines
    return done.numbers


@pytest.fixture(scope="module")
def case(ge, profile):
    expert, twin = Expert.of(ge, spare=0), MixtureOfExperts.load(profile, ge)
    images = np.concatenate([simulated_samples(1, 1, sample_seed=1)[0], simulated_samples(2, 1)[0]])
    taps = ge.taps(images)
    order = np.argsort(-twin.explain_taps(taps).gate)  # the first image opens the gate
    return expert, twin.profile, expert.codes(taps)[order]


@pytest.fixture(scope="module")
def on_host(case, tmp_path_factory):
    return run_on(TARGETS["host"], *case, tmp_path_factory.mktemp("host"))


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "host"])
def test_every_target_computes_the_same_bits_and_the_mixture_adds_few_instructions(tmp_path, case, on_host, name):
    found = run_on(require_target(name), *case, tmp_path)
    digests = {key: number for key, number in found.items() if not key.startswith("ticks")}
    assert digests == {key: number for key, number in on_host.items() if not key.startswith("ticks")}
    assert digests["open"] == 1
    most = {"cortex-m3": 40_000, "aarch64": 1}.get(name, 14_000)  # no DSP extension and no floats; not counted
    assert found["ticks mixture"] - found["ticks alone"] < most
