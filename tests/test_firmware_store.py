"""The flash store: power lost at any write or erase leaves the old profile or the new one."""

import ctypes

import numpy as np
import pytest
from firmware_mixture import SMALL as EXPERT
from firmware_mixture import CMixture, Expert, Status, build_library, small_library

ERASED = 0xFF
PAGE = 64

ERASE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
PROGRAM = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t
)
READ = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)


class Driver(ctypes.Structure):
    """`em_flash`."""

    _fields_ = (
        ("context", ctypes.c_void_p), ("slot_bytes", ctypes.c_size_t),
        ("erase", ERASE), ("program", PROGRAM), ("read", READ),
    )  # fmt: skip


class Flash:
    """Two slots of NOR flash: an erase sets all bits, programming clears some, and power may fail on the way.

    Attributes
    ----------
    slots : list of ctypes arrays
    power : float
        How many more bytes may be erased or programmed before power is lost.
    calls : list of tuple
        What was asked: ("erase", slot) or ("program", slot, offset, count).
    """

    def __init__(self, library, pages=6):
        self.slots = [(ctypes.c_uint8 * (PAGE * pages))(*[ERASED] * (PAGE * pages)) for _ in range(2)]
        self.library, self.power, self.calls = library, np.inf, []
        self.backwards = False  # pages are erased from the last to the first
        self.driver = Driver(None, PAGE * pages, ERASE(self._erase), PROGRAM(self._program), READ(self._read))

    def _spend(self):
        self.power -= 1
        return self.power >= 0

    def _erase(self, _, slot):
        self.calls.append(("erase", slot))
        places = range(len(self.slots[slot]))
        for place in reversed(places) if self.backwards else places:
            if not self._spend():
                return -1
            self.slots[slot][place] = ERASED
        return 0

    def _program(self, _, slot, offset, content, count):
        self.calls.append(("program", slot, offset, count))
        for i in range(count):
            if not self._spend():
                return -1
            self.slots[slot][offset + i] &= content[i]
        return 0

    def _read(self, _, slot):
        return ctypes.addressof(self.slots[slot])

    def save(self, moe, capacity=4096):
        buffer = (ctypes.c_uint8 * capacity)()
        return Status(self.library.em_store_save(moe.moe, ctypes.byref(self.driver), buffer, ctypes.c_size_t(capacity)))

    def load(self):
        """`em_store_load` after a restart: the status and the profile, None if there is none."""
        moe = CMixture(self.library)
        status = Status(self.library.em_store_load(moe.moe, ctypes.byref(self.driver)))
        return status, moe.save()[1] or None

    def contents(self):
        return [bytes(slot) for slot in self.slots]

    def restore(self, contents):
        for slot, content in zip(self.slots, contents, strict=True):
            slot[:] = content
        self.power = np.inf


@pytest.fixture(scope="module")
def library():
    return small_library()


@pytest.fixture
def flash(library):
    return Flash(library)


def mixture(library, seed, expert=EXPERT):
    """A mixture with a profile of its own, and the profile."""
    content = expert.random_profile(np.random.default_rng(seed)).to_bytes()
    moe = CMixture(library)
    assert moe.load(content) == Status.OK
    return moe, content


def sequence(slot):
    return int.from_bytes(bytes(slot[4:8]), "little")


def test_nothing_saved_is_empty(flash):
    assert flash.load() == (Status.EMPTY, None)
    flash.restore([bytes(len(slot)) for slot in flash.slots])
    assert flash.load() == (Status.EMPTY, None)


def test_each_save_is_loaded_and_wears_both_slots_alike(library, flash):
    for seed in range(6):
        moe, content = mixture(library, seed)
        flash.calls.clear()
        assert flash.save(moe) == Status.OK
        assert flash.load() == (Status.OK, content)
        slot, count = seed % 2, -(-(16 + len(content)) // 32) * 32
        assert flash.calls == [("erase", slot), ("program", slot, 0, count)]
        assert bytes(flash.slots[slot])[16 : 16 + len(content)] == content


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("saved_before", [0, 1, 2])
def test_power_lost_after_any_byte_leaves_the_old_or_the_new_profile(library, flash, saved_before, backwards):
    old = None
    for seed in range(saved_before):
        moe, old = mixture(library, seed)
        assert flash.save(moe) == Status.OK
    before = flash.contents()
    moe, new = mixture(library, 99)
    flash.backwards = backwards
    seen = set()
    for power in range(len(flash.slots[0]) + len(new) + 64):
        flash.restore(before)
        flash.power = power
        status = flash.save(moe)
        flash.power = np.inf
        found = flash.load()
        if status == Status.OK:
            assert found == (Status.OK, new)
        else:
            assert status == Status.FLASH
            assert found in ((Status.OK, old) if old else (Status.EMPTY, None), (Status.OK, new))
        seen.add(found[1])
        # Whatever was left, the next save works, and its own loss of power leaves that.
        assert flash.save(moe) == Status.OK
        assert flash.load() == (Status.OK, new)
    assert seen == {old, new}


def test_any_flipped_bit_falls_back_to_the_profile_before(library, flash):
    profiles = []
    for seed in range(2):
        moe, content = mixture(library, seed)
        profiles.append(content)
        assert flash.save(moe) == Status.OK
    newest = bytes(flash.slots[1])
    for place in range(16 + len(profiles[1])):
        for bit in range(8):
            flash.slots[1][place] ^= 1 << bit
            assert flash.load() == (Status.OK, profiles[0])
            flash.slots[1][:] = newest
    flash.slots[0][20] ^= 1
    assert flash.load() == (Status.OK, profiles[1])
    flash.slots[1][20] ^= 1
    assert flash.load() == (Status.EMPTY, None)


def test_the_sequence_goes_on_past_its_largest_number(library, flash):
    for seed in range(2):
        assert flash.save(mixture(library, seed)[0]) == Status.OK
    for slot, number in enumerate((2**32 - 2, 2**32 - 1)):
        flash.slots[slot][4:8] = number.to_bytes(4, "little")
        library.em_crc32.restype = ctypes.c_uint32
        flash.slots[slot][12:16] = library.em_crc32(flash.slots[slot], ctypes.c_size_t(12)).to_bytes(4, "little")
    assert flash.load()[0] == Status.OK
    for seed in range(2, 6):
        moe, content = mixture(library, seed)
        assert flash.save(moe) == Status.OK
        assert sequence(flash.slots[seed % 2]) == seed - 2
        assert flash.load() == (Status.OK, content)


def test_another_experts_profile_is_told_apart_and_makes_way_first(library, flash, tmp_path):
    other = Expert.small(seed=7)
    foreign = Flash(build_library(other, tmp_path))
    own, content = mixture(library, 0)
    assert flash.save(own) == Status.OK
    foreign.restore(flash.contents())
    assert foreign.load() == (Status.FINGERPRINT, None)
    moe, theirs = mixture(foreign.library, 1, other)
    for _ in range(4):
        assert foreign.save(moe) == Status.OK
        assert foreign.load() == (Status.OK, theirs)
    # Our own profile in one slot, in the other theirs, which is newer.
    flash.restore([flash.contents()[0], foreign.contents()[1]])
    assert sequence(flash.slots[1]) > sequence(flash.slots[0])
    assert flash.load() == (Status.OK, content)
    flash.calls.clear()
    assert flash.save(own) == Status.OK
    assert flash.calls[0] == ("erase", 1)


def test_a_driver_that_fails_is_reported_and_the_old_profile_stays(library, flash):
    old, content = mixture(library, 0)
    assert flash.save(old) == Status.OK
    moe, _ = mixture(library, 1)
    driver = flash.driver
    for name, kind in (("erase", ERASE), ("program", PROGRAM)):
        working = getattr(driver, name)
        setattr(driver, name, kind(lambda *_: 5))
        assert flash.save(moe) == Status.FLASH
        setattr(driver, name, working)
        assert flash.load() == (Status.OK, content)
    driver.program = PROGRAM(lambda *_: 0)  # it says so, and writes nothing
    assert flash.save(moe) == Status.FLASH
    driver.program = PROGRAM(flash._program)
    assert flash.load() == (Status.OK, content)
    driver.read = READ(lambda *_: None)
    assert flash.save(moe) == Status.FLASH
    assert library.em_store_load(moe.moe, ctypes.byref(driver)) == Status.FLASH


def test_what_is_too_small_or_missing_is_refused_before_anything_is_erased(library, flash):
    moe, content = mixture(library, 0)
    library.test_slot_bytes.restype = library.test_profile_most.restype = ctypes.c_size_t
    most = library.test_slot_bytes()
    assert most == -(-(16 + library.test_profile_most()) // 32) * 32
    for capacity in (0, 15, 16, 16 + len(content) - 1):
        assert flash.save(moe, capacity) == Status.CAPACITY
    rounded = -(-(16 + len(content)) // 32) * 32
    assert flash.save(moe, rounded - 1) == Status.CAPACITY
    assert flash.save(CMixture(library)) == Status.NO_PROFILE
    assert library.em_store_save(moe.moe, None, content, ctypes.c_size_t(4096)) == Status.NULL
    assert library.em_store_load(None, ctypes.byref(flash.driver)) == Status.NULL
    driver = flash.driver
    driver.slot_bytes = most - 1
    assert flash.save(moe) == Status.CAPACITY
    assert library.em_store_load(moe.moe, ctypes.byref(driver)) == Status.CAPACITY
    driver.slot_bytes, driver.erase = most, ERASE()
    assert flash.save(moe) == Status.NULL
    assert flash.calls == []
    driver.erase = ERASE(flash._erase)
    assert flash.save(moe, rounded) == Status.OK
