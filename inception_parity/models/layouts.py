"""Layouts of other people's arrays: which are channels-last, and how they look in the shared one.

The layer that returned a tensor tells whether it is channels-last; the layout is then
followed through layers that keep it, through flattening and through transposition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LAST = "last"  # (N, …, C)
FIRST = "first"  # (N, C, …), or without channels
Tag = str | tuple[int, ...] | None  # a tuple: flattened from (…, C) of these sizes


def to_first(array: Array) -> Array:
    """(N, …, C) -> (N, C, …)."""
    return np.moveaxis(array, -1, 1)


def flat_to_first(array: Array, sizes: Sequence[int]) -> Array:
    """Reorder the second axis, flattened from (…, C), as if it were flattened from (C, …)."""
    return to_first(array.reshape(len(array), *sizes)).reshape(len(array), -1)


def flat_to_last(array: Array, sizes: Sequence[int]) -> Array:
    """Undo `flat_to_first`."""
    first = array.reshape(len(array), sizes[-1], *sizes[:-1])
    return np.moveaxis(first, 1, -1).reshape(len(array), -1)


def in_shared_layout(array: Array, tag: Tag) -> Array:
    """Return an array of that layout in the shared one."""
    if isinstance(tag, tuple) and array.ndim == 2:
        return flat_to_first(array, tag)
    return to_first(array) if tag == LAST and array.ndim > 2 else array


def permuted(tag: Tag, order: Sequence[int]) -> Tag:
    """Return the layout after a transposition."""
    last = len(order) - 1
    return LAST if tag == FIRST and tuple(order) == (0, *range(2, last + 1), 1) else FIRST


def shared_axis(axis: int, axes: int, tag: Tag) -> int:
    """Return an axis of a channels-last array as one of the shared layout."""
    axis %= axes
    if tag != LAST or axes < 3 or axis == 0:
        return axis
    return 1 if axis == axes - 1 else axis + 1
