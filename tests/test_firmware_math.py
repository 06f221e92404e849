"""The C library's exponential, logarithm and half precision are numpy's, to three units in the last place at most."""

import ctypes

import numpy as np
import pytest
from firmware_mixture import small_library


@pytest.fixture(scope="module")
def library():
    return small_library()


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
