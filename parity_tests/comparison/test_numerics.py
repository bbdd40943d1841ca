"""Formats and layouts: rounding against exact fractions, axes against indices."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inception_parity import numerics
from inception_parity.traces import layout

SHORT = settings(max_examples=300, deadline=None, derandomize=True, database=None)
BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}  # of the significand


def slow_round(value, bits):
    """Round to a significand of `bits` bits, to nearest, ties to even, in fractions."""
    if value == 0:
        return 0.0
    unit = Fraction(2) ** (math.frexp(value)[1] - bits)
    return float(round(Fraction(value) / unit) * unit)


@pytest.mark.parametrize("dtype", BITS)
def test_unit_roundoff_is_half_a_step_above_one(dtype):
    assert numerics.UNIT_ROUNDOFF[dtype] == 2.0 ** -BITS[dtype]


@SHORT
@given(value=st.floats(2.0**-100, 2.0**100, width=32), negative=st.booleans())
def test_bfloat16_is_the_nearest_value_with_ties_to_even(value, negative):
    value = -value if negative else value
    assert numerics.to_dtype(np.float32([value]), "bfloat16")[0] == slow_round(value, 8)


@pytest.mark.parametrize("last", range(4))
def test_bfloat16_ties_go_to_even(last):
    tie = 1 + last / 128 + 1 / 256  # halfway between two of its values
    expected = 1 + (last + last % 2) / 128
    assert numerics.to_dtype(np.float32([tie]), "bfloat16").tolist() == [expected]


@SHORT
@given(value=st.floats(2.0**-10, 2.0**10))
def test_float32_and_float16_are_the_nearest_values(value):
    for dtype in ("float32", "float16"):
        found = numerics.to_dtype(np.array([value]), dtype)
        assert found.dtype == dtype
        assert found[0] == slow_round(value, BITS[dtype])


def test_bfloat16_keeps_what_is_not_finite():
    found = numerics.to_dtype(np.float32([np.inf, -np.inf, np.nan, -0.0]), "bfloat16")
    np.testing.assert_array_equal(found, np.float32([np.inf, -np.inf, np.nan, -0.0]))
    assert np.signbit(found[3])


def test_bfloat16_comes_as_float32_and_leaves_its_argument_alone():
    array = np.float32([1 / 3])
    assert numerics.to_dtype(array, "bfloat16").dtype == np.float32
    assert array[0] == np.float32(1 / 3)


def test_layouts_move_the_channels():
    array = np.arange(120).reshape(2, 3, 4, 5)
    found = layout.shared_to_nhwc(array)
    assert found.shape == (2, 4, 5, 3)
    for n, c, i, j in np.ndindex(array.shape):
        assert found[n, i, j, c] == array[n, c, i, j]
    np.testing.assert_array_equal(layout.nhwc_to_shared(found), array)


@pytest.mark.parametrize("convert", [layout.shared_to_nhwc, layout.nhwc_to_shared])
def test_layouts_leave_features_alone(convert):
    array = np.arange(6).reshape(2, 3)
    assert convert(array) is array
