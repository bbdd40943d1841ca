"""Parts that layers' computations share: padding, windows, channels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .suspect import Array, Pads, SuspectLayer

Channels = Sequence[int] | None  # those wanted of the output; None: all


class CannotComputeError(Exception):
    """With this mistake the layer is impossible: a window larger than its input, say."""


def take(array: Array, channels: Channels) -> Array:
    """Return some channels, or all."""
    return array if channels is None or array.ndim < 2 else array[:, list(channels)]


def pad(x: Array, pads: Pads, mode: str, fill: float) -> Array:
    """Pad (N, C, H, W); negative pads crop."""
    (top, bottom), (left, right) = pads
    height, width = x.shape[2:]
    x = x[:, :, max(0, -top) : height - max(0, -bottom), max(0, -left) : width - max(0, -right)]
    sides = [(0, 0), (0, 0), (max(0, top), max(0, bottom)), (max(0, left), max(0, right))]
    if not any(sides[2] + sides[3]):
        return x
    if mode == "constant":
        return np.pad(x, sides, constant_values=fill)
    padding_mode: Any = mode
    return np.pad(x, sides, mode=padding_mode)


def same_pads(size: Sequence[int], kernel: Any, stride: Any, dilation: Any = (1, 1)) -> Any:
    """Return TensorFlow's SAME padding along any number of axes; the odd zero goes to the end."""
    pads = []
    for length, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        zeros = max((math.ceil(length / s) - 1) * s + (k - 1) * d + 1 - length, 0)
        pads.append((zeros // 2, zeros - zeros // 2))
    return tuple(pads)


def padded(layer: SuspectLayer, x: Array, fill: float) -> Array:
    """Return a window layer's input, padded, without the rows and columns it skips."""
    fill = fill if layer.get("fill") is None else layer.get("fill")
    x = pad(x, layer.get("pads"), layer.get("pad_mode"), fill)
    down, right = layer.get("offset")
    return x[:, :, down:, right:]


def out_side(length: int, kernel: int, stride: int, dilation: int) -> int:
    """Return how many windows fit along an axis."""
    size = (length - dilation * (kernel - 1) - 1) // stride + 1
    if length <= 0 or size <= 0:
        raise CannotComputeError("the window is larger than the input")
    return size


def kernel_of(layer: SuspectLayer) -> tuple[int, int]:
    """Return (height, width) of the window."""
    if layer.kind == "conv":
        return layer.weights["weight"].shape[2], layer.weights["weight"].shape[3]
    height, width = layer.get("kernel")
    return int(height), int(width)


def window_views(layer: SuspectLayer, x: Array) -> Iterator[tuple[tuple[int, int], Array]]:
    """Yield ((u, v), view): for each element of the window, what it sees at all positions."""
    kernel, stride, dilation = kernel_of(layer), layer.get("stride"), layer.get("dilation")
    height = out_side(x.shape[2], kernel[0], stride[0], dilation[0])
    width = out_side(x.shape[3], kernel[1], stride[1], dilation[1])
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            top, left = u * dilation[0], v * dilation[1]
            yield (u, v), x[
                :, :, top : top + (height - 1) * stride[0] + 1 : stride[0],
                left : left + (width - 1) * stride[1] + 1 : stride[1],
            ]  # fmt: skip


def per_channel(array: Any, ndim: int) -> Any:
    """Shape (C,) so that it multiplies (N, C, …)."""
    return np.reshape(array, (-1,) + (1,) * (ndim - 2)) if np.ndim(array) else array
