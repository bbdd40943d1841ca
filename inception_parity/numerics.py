"""Floating-point formats, rounding to them, sums over large arrays, raw random integers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Half the distance from 1 to the next larger number: the largest relative
# error of rounding to nearest.
UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def to_dtype(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Round `array` to nearest, ties to even; bfloat16 values come as float32."""
    if dtype != "bfloat16":
        return array.astype(dtype)
    bits = array.astype(np.float32).view(np.uint32)
    bits = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    rounded: NDArray[Any] = (bits & np.uint32(0xFFFF0000)).view(np.float32)
    return rounded


def raw_integers(text: str, count: int) -> NDArray[np.uint64]:
    """Return raw integers of PCG64 that depend only on `text`, not on NumPy's version."""
    entropy = int.from_bytes(hashlib.sha256(text.encode()).digest(), "little")
    raw: NDArray[np.uint64] = np.random.PCG64(entropy).random_raw(count)
    return raw


BLOCK = 1 << 15  # elements; what is computed from a block never leaves the cache


def blocks(*arrays: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield the same part of arrays of one size, flat, block by block."""
    flat = [np.asarray(array).reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, BLOCK):
        yield tuple(part[start : start + BLOCK] for part in flat)


def dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the scalar product of two blocks, without BLAS, whose threads cost more than it."""
    return float(np.einsum("i,i->", a, b))


def relative_l2(array: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return |array - reference| / |reference| in float64; 0 where both are 0, else infinity."""
    noise = norm = 0.0
    for part, truth in blocks(array, reference):
        truth = truth.astype(np.float64, copy=False)
        difference = np.subtract(part, truth, dtype=np.float64)
        noise += dot(difference, difference)
        norm += dot(truth, truth)
    return float(np.sqrt(noise / norm)) if norm else (np.inf if noise else 0.0)
