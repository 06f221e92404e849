"""Profiles in C: the Python's bytes, all of its checks, and nothing changed by what is refused."""

import ctypes
import dataclasses
import struct
import unicodedata
import zlib

import numpy as np
import pytest
from firmware_mixture import SMALL as EXPERT
from firmware_mixture import CMixture, Status, small_library
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemoe.device.acceptance import Verdict
from edgemoe.device.profile import Profile
from edgemoe.errors import EdgemoeError

SYMBOLS = "@é𝄞"

float32, share = st.floats(-100, 100, width=32), st.floats(0, 1, width=32)
verdicts = st.builds(
    Verdict, st.booleans(), float32, float32, st.none() | float32, share, st.none() | st.integers(0, 65535)
)


@pytest.fixture(scope="module")
def library():
    return small_library()


def make(seed=0, **changes):
    return EXPERT.random_profile(np.random.default_rng(seed), **changes)


def python_takes(content):
    """Whether the Python side loads these bytes for the same expert."""
    try:
        EXPERT.twin(Profile.from_bytes(content))
    except EdgemoeError:
        return False
    return True


def sealed(body):
    return bytes(body) + zlib.crc32(bytes(body)).to_bytes(4, "little")


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(3, 8), st.integers(0, 3),
    st.sampled_from([0, 0.5, 0.9, 1]), verdicts, st.integers(0, 70_000), share,
)  # fmt: skip
def test_what_python_writes_is_what_c_loads_and_writes(
    library, seed, local_bits, gate_bits, spare, zeros, verdict, samples, budget
):
    made = make(
        seed, local_bits=local_bits, gate_bits=gate_bits, symbols=SYMBOLS[:spare], zeros=zeros,
        verdict=verdict, samples=samples, budget=budget,
    )  # fmt: skip
    moe = CMixture(library)
    assert moe.load(made.to_bytes()) == Status.OK
    assert moe.save() == (Status.OK, made.to_bytes())
    assert moe.save(len(made.to_bytes()))[0] == Status.OK
    assert moe.save(len(made.to_bytes()) - 1)[0] == Status.CAPACITY
    status, found = moe.verdict()
    assert (status, found.accepted, found.gain_known) == (Status.OK, verdict.accepted, verdict.user_gain is not None)
    assert (found.threshold, found.generic_loss, found.confidence) == (
        verdict.threshold, verdict.generic_loss, verdict.confidence,
    )  # fmt: skip
    assert found.user_gain == (verdict.user_gain or 0)


def test_the_most_that_a_profile_takes_is_what_one_of_8_bits_with_all_spare_symbols_takes(library):
    library.test_profile_most.restype = ctypes.c_size_t
    assert len(make(local_bits=8, gate_bits=8, symbols=SYMBOLS).to_bytes()) == library.test_profile_most()


def test_every_byte_of_damage_is_refused_and_changes_nothing(library):
    moe, content = CMixture(library), make(symbols="@").to_bytes()
    assert moe.load(content) == Status.OK
    for position in range(len(content)):
        for change in (1, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= change
            expected = Status.NO_PROFILE if position < 4 else Status.VERSION if position == 4 else Status.CHECKSUM
            assert moe.load(bytes(damaged)) == expected
    for damaged in [content[:n] for n in range(len(content))] + [content + b"\0", content + content]:
        assert moe.load(damaged) == (Status.NO_PROFILE if len(damaged) < 64 else Status.CHECKSUM)
    assert moe.save() == (Status.OK, content)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_damage_under_a_checksum_that_matches_is_judged_as_python_judges_it(library, bits):
    moe, content = CMixture(library), make(local_bits=bits, symbols="@é").to_bytes()
    taken = 0
    for position in range(len(content) - 4):
        for change in (1, 2, 0x10, 0x80, 0xFF):
            body = bytearray(content[:-4])
            body[position] ^= change
            forged = sealed(body)
            assert (moe.load(forged) == Status.OK) == python_takes(forged), (position, change)
            if moe.load(forged) == Status.OK:
                taken += 1
                assert moe.save() == (Status.OK, Profile.from_bytes(forged).to_bytes())
    assert taken


@pytest.mark.parametrize("bits", [2, 5])
def test_sizes_and_lengths_under_a_checksum_that_matches_are_judged_as_python_judges_them(library, bits):
    moe, content = CMixture(library), make(local_bits=bits).to_bytes()
    body = content[:-4]
    for candidate in [body[:n] for n in range(60, len(body))] + [body + bytes(n) for n in range(1, 20)]:
        more = bits == 2 and len(candidate) > len(body)  # runs that hold more than the matrix
        assert moe.load(sealed(candidate)) == (Status.FIELD if more else Status.NO_PROFILE)
        assert not python_takes(sealed(candidate))


@pytest.mark.parametrize(
    ("offset", "field", "status"),
    [
        (0, b"EDGX", Status.NO_PROFILE),
        (4, b"\x02", Status.VERSION),
        (4, b"\x04", Status.VERSION),
        (6, b"\x01", Status.FIELD),
        (6, b"\x09", Status.FIELD),
        (7, b"\x02", Status.FIELD),
        (7, b"\x09", Status.FIELD),
        (8, b"another's", Status.FINGERPRINT),
        (24, b"\x04\x00", Status.SHAPE),
        (26, b"\x07\x00", Status.SHAPE),
        (28, b"\xff\xff", Status.SHAPE),
        (34, b"\xff\xff", Status.FIELD),
        (34, b"\x02\x00", Status.SHAPE),
        (36, struct.pack("<f", float("nan")), Status.FIELD),
        (40, struct.pack("<f", float("inf")), Status.FIELD),
        (44, struct.pack("<f", float("-inf")), Status.FIELD),
        (52, struct.pack("<f", 1.5), Status.FIELD),
        (56, struct.pack("<f", -0.5), Status.FIELD),
        (60, b"\x00\x7c", Status.FIELD),
    ],
)
def test_a_forged_field_has_its_own_error(library, offset, field, status):
    body = bytearray(make().to_bytes()[:-4])
    body[offset : offset + len(field)] = field
    assert CMixture(library).load(sealed(body)) == status
    assert not python_takes(sealed(body))


def test_more_spare_symbols_than_there_is_room_for_are_refused(library):
    assert CMixture(library).load(make(symbols=SYMBOLS + "€").to_bytes()) == Status.SHAPE
    assert CMixture(library).load(make(symbols=SYMBOLS).to_bytes()) == Status.OK


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=20) | st.binary(max_size=12).map(lambda tail: b"\x03" + tail))
def test_any_runs_are_read_as_python_reads_them(library, runs):
    start = len(make(zeros=1).to_bytes()) - 4 - len(make(zeros=1).local.weights.to_bytes()) + 2
    forged = sealed(make(zeros=1).to_bytes()[:start] + runs)
    moe = CMixture(library)
    assert (moe.load(forged) == Status.OK) == python_takes(forged)
    if python_takes(forged):
        assert moe.save() == (Status.OK, Profile.from_bytes(forged).to_bytes())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120) | st.binary(max_size=100).map(lambda tail: b"EDGM\x03" + tail))
def test_any_bytes_get_an_answer(library, content):
    assert CMixture(library).load(content) != Status.OK
    assert CMixture(library).load(sealed(content)) != Status.OK


def test_the_symbols_that_can_be_taught_are_those_that_python_takes(library):
    borders = [0x20, 0x7F, 0xA0, 0xAD, 0x606, 0x1680, 0x2010, 0x3000, 0xD7FF, 0xD800, 0xF900, 0xFEFF, 0xE0100, 0x10FFFF]
    drawn = np.random.default_rng(0).integers(0x3000, 0x110000, 3000).tolist()
    for symbol in {*range(0x3001), *drawn, *(border + step for border in borders for step in (-1, 0, 1))}:
        known = symbol > 0x10FFFF or unicodedata.category(chr(symbol)) != "Cn"  # not assigned: it may be some day
        python = symbol <= 0x10FFFF and chr(symbol).isprintable() and not chr(symbol).isspace()
        if known:
            expected = python and chr(symbol) not in EXPERT.classes
            assert library.em_can_be_taught(symbol.to_bytes(4, "little"), ctypes.c_size_t(0)) == expected, hex(symbol)


@pytest.mark.parametrize("symbols", ["@@", "a@", "@\n", "@\ud800"], ids=ascii)
def test_symbols_that_cannot_be_are_refused(library, symbols):
    body = bytearray(make(symbols="@é").to_bytes()[:-4])
    body[60:68] = b"".join(ord(symbol).to_bytes(4, "little") for symbol in symbols)
    assert CMixture(library).load(sealed(body)) == Status.FIELD
    assert not python_takes(sealed(body))


def test_without_a_profile_there_is_none_to_save(library):
    moe = CMixture(library)
    assert moe.save() == (Status.NO_PROFILE, b"")
    assert moe.verdict()[0] == Status.NO_PROFILE


def test_null_is_an_error(library):
    moe, content = CMixture(library), make().to_bytes()
    size = ctypes.c_size_t(len(content))
    assert library.em_load(None, content, size) == library.em_load(moe.moe, None, size) == Status.NULL
    assert library.em_save(moe.moe, None, size, ctypes.byref(size)) == Status.NULL
    assert library.em_save(moe.moe, ctypes.create_string_buffer(9), size, None) == Status.NULL
    assert library.em_verdict_of(moe.moe, None) == Status.NULL


def test_the_flags_that_nobody_knows_are_not_kept(library):
    content = make(verdict=dataclasses.replace(make().verdict, user_gain=None)).to_bytes()
    body = bytearray(content[:-4])
    body[5] |= 0xF8
    body[48:52] = struct.pack("<f", 0.5)  # a gain that is not known
    moe = CMixture(library)
    assert moe.load(sealed(body)) == Status.OK
    assert moe.save() == (Status.OK, content)
