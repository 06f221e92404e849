"""The mixture in C answers as the Python's does, sessions and spare symbols included."""

import ctypes

import numpy as np
import pytest
from firmware_mixture import SMALL as EXPERT
from firmware_mixture import CMixture, Expert, Status, build_library, small_library
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemoe.device.acceptance import Verdict
from edgemoe.device.gate import CLOSED
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.device.session import Session
from edgemoe.device.standardize import pool
from edgemoe.simulator import simulated_samples

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
