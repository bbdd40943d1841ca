"""Floating-point formats: their unit roundoff, and rounding to them."""

from __future__ import annotations

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
