"""Layouts of other people's arrays: which are channels-last, and how they look in the shared one.

The layer that returned a tensor tells whether it is channels-last; the layout is then
followed through layers that keep it, through flattening and through transposition.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int | None, ...]  # None: any size

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


def in_own_layout(array: Array, tag: Tag) -> Array:
    """Undo `in_shared_layout`."""
    if isinstance(tag, tuple) and array.ndim == 2:
        return flat_to_last(array, tag)
    return np.moveaxis(array, 1, -1) if tag == LAST and array.ndim > 2 else array


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


def possible_turns(
    arrays: Sequence[Array],
    stated: Sequence[Shape | None],
    last: Container[int],
    layout: str | None,
) -> list[tuple[bool, ...]]:
    """Return which of a model's inputs to give it channels-last, the likeliest first.

    Args:
        arrays: the inputs, (N, C, …).
        stated: the shapes that the model states for them.
        last: how many axes those inputs have that it takes channels-last.
        layout: what the user says, NCHW or NHWC, if anything.
    """
    can = [array.ndim > 2 and array.dtype.kind in "fu" for array in arrays]
    if layout is not None:
        return [tuple(layout == "NHWC" and each for each in can)]
    sure: list[bool | None] = []
    for array, shape, able in zip(arrays, stated, can, strict=True):
        as_is = fits(array.shape, shape)
        turned = able and fits(np.moveaxis(array, 1, -1).shape, shape)
        sure.append(turned if as_is != turned else None)
    first = tuple(
        able and array.ndim in last if known is None else known
        for known, able, array in zip(sure, can, arrays, strict=True)
    )
    other = tuple(
        able and not mine if known is None else known
        for known, able, mine in zip(sure, can, first, strict=True)
    )
    return [first] if other == first else [first, other]


def fits(shape: Sequence[int], stated: Shape | None) -> bool:
    """Return whether an array of a shape is one that a model says it takes."""
    return stated is None or (
        len(stated) == len(shape)
        and all(own is None or own == side for own, side in zip(stated, shape, strict=True))
    )
