"""Layouts of other people's arrays: which are channels-last, and how they look in the shared one.

What made a tensor tells whether it is channels-last; the layout is then followed
through layers that keep it, through flattening and through transposition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class Layouts:
    """What is known of the tensors of one run.

    Args:
        default: of tensors with (N, H, W, C)'s number of axes about which nothing is known.
    """

    def __init__(self, default: Tag) -> None:
        self.default = default
        self._tags: dict[int, tuple[Any, Tag]] = {}

    def set(self, tensor: Any, tag: Tag) -> None:
        """Note a tensor's layout; the tensor is kept, so that its id isn't given away."""
        self._tags[id(tensor)] = (tensor, tag)

    def of(self, tensor: Any) -> Tag:
        """Return what is known of a tensor."""
        known = self._tags.get(id(tensor))
        if known is not None:
            return known[1]
        return self.default if len(tensor.shape) == 4 else None

    def shared(self, array: Array, tag: Tag) -> Array:
        """Return an array in the shared layout."""
        if isinstance(tag, tuple) and array.ndim == 2:
            return flat_to_first(array, tag)
        return to_first(array) if tag == LAST and array.ndim > 2 else array

    def follow(
        self, output: Any, kind: str, settings: Mapping[str, Any], fed: Sequence[Any],
        data_format: Any,
    ) -> None:  # fmt: skip
        """Note the layout of what a layer gave."""
        tag = self.of(fed[0]) if fed else None
        axes = len(output.shape)
        if axes < 2 or (axes == 2 and kind not in ("flatten", "reshape") and tag == LAST):
            self.set(output, None)
        elif data_format is not None and axes > 2:
            text = data_format.decode() if isinstance(data_format, bytes) else str(data_format)
            self.set(output, LAST if text in ("channels_last", "NHWC", "NDHWC") else FIRST)
        elif kind in ("flatten", "reshape") and axes == 2 and len(fed[0].shape) > 2:
            self.set(output, tuple(fed[0].shape[1:]) if tag == LAST else None)
        elif kind == "permute":
            self.set(output, _permuted(tag, tuple(settings.get("order", ()))))
        elif kind == "reshape" and axes != len(fed[0].shape):
            self.set(output, self.default if axes == 4 else None)
        elif isinstance(tag, tuple) and output.shape != fed[0].shape:
            self.set(output, None)  # a dense layer: features, in no order
        else:
            self.set(output, tag)


def _permuted(tag: Tag, order: tuple[int, ...]) -> Tag:
    last = len(order) - 1
    if tag == LAST and order == (0, last, *range(1, last)):
        return FIRST
    if tag == FIRST and order == (0, *range(2, last + 1), 1):
        return LAST
    return FIRST


def shared_axis(axis: int, axes: int, tag: Tag) -> int:
    """Return an axis of a channels-last array as one of the shared layout."""
    axis %= axes
    if tag != LAST or axes < 3 or axis == 0:
        return axis
    return 1 if axis == axes - 1 else axis + 1
