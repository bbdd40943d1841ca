"""Layouts of activations: the shared one is (N, C, H, W) or (N, features).

Kernels change layout in each package's `weights.py`, next to the layers they
belong to; activations change here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def nhwc_to_shared(array: NDArray[Any]) -> NDArray[Any]:
    """(N, H, W, C) -> (N, C, H, W); anything else stays as it is."""
    return np.moveaxis(array, -1, 1) if array.ndim == 4 else array


def shared_to_nhwc(array: NDArray[Any]) -> NDArray[Any]:
    """(N, C, H, W) -> (N, H, W, C); anything else stays as it is."""
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array
