"""Pools in float64, with whatever mistake describes them."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from .arrays import kernel_of, pad, padded, window_views
from .suspect import Array, Pads, SuspectLayer


def after_ceil(layer: SuspectLayer, shape: tuple[int, ...]) -> Pads:
    """Return what is added at the end, so that ceil mode has all its windows.

    PyTorch's rule: a window has to start in the input, or in the padding before it.
    """
    if not layer.get("ceil"):
        return (0, 0), (0, 0)
    more = []
    for length, k, s, d, (before, after) in zip(
        shape[2:], layer.get("kernel"), layer.get("stride"), layer.get("dilation"),
        layer.get("pads"), strict=True,
    ):  # fmt: skip
        reach = length + before + after - d * (k - 1) - 1
        count = -(-reach // s) + 1
        if (count - 1) * s >= length + before:
            count -= 1
        more.append((0, max(0, (count - 1) * s - reach)))
    return more[0], more[1]


def max_pool(layer: SuspectLayer, x: Array) -> Array:
    """Return the largest value of each window."""
    beyond = after_ceil(layer, x.shape)
    x = pad(padded(layer, x, -np.inf), beyond, "constant", -np.inf)
    return np.array(reduce(np.maximum, (seen for _, seen in window_views(layer, x))))


def avg_pool(layer: SuspectLayer, x: Array) -> Array:
    """Return the mean of each window."""
    beyond = after_ceil(layer, x.shape)
    ones = np.ones((1, 1, *x.shape[2:]))
    counted = padded(layer.but(fill=None), ones, 1.0 if layer.get("count_include_pad") else 0.0)
    counted = pad(counted, beyond, "constant", 0.0)
    x = pad(padded(layer, x, 0.0), beyond, "constant", 0.0)
    total, count = (sum(seen for _, seen in window_views(layer, each)) for each in (x, counted))
    divisors: dict[str, Any] = {"never": 1, "window": np.prod(kernel_of(layer))}
    return np.array(total / divisors.get(layer.get("divide"), count))


def adaptive_pool(layer: SuspectLayer, x: Array) -> Array:
    """Return a pool to a given size."""
    (rows, columns), (height, width) = layer.get("output"), x.shape[2:]
    y = np.empty((*x.shape[:2], rows, columns))
    value_of = np.max if layer.get("reduce") == "max" else np.mean
    for i in range(rows):
        for j in range(columns):
            window = x[
                :, :, i * height // rows : -(-(i + 1) * height // rows),
                j * width // columns : -(-(j + 1) * width // columns),
            ]  # fmt: skip
            y[:, :, i, j] = value_of(window, axis=(2, 3))
    return y


def global_pool(layer: SuspectLayer, x: Array) -> Array:
    """Return a pool over all of the image."""
    value_of: Any = {"max": np.max, "sum": np.sum}.get(layer.get("reduce"), np.mean)
    return np.array(value_of(x, axis=(2, 3), keepdims=layer.reference.ndim == 4))
