"""Transposed convolutions, rearranged channels and normalised lengths, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import CannotComputeError
from .suspect import Array, SuspectLayer


def transposed(layer: SuspectLayer, x: Array) -> Array:
    """Return a transposed convolution: every value spread over its window, then cut.

    The kernel is (out / groups, in, height, width). `pads` says what is cut off the whole on each
    side; less than nothing adds zeros.
    """
    weight, groups = layer.weights["weight"], int(layer.get("groups"))
    if x.ndim != 4 or weight.shape[1] != x.shape[1] or x.shape[1] % groups:
        raise CannotComputeError("the kernel has other channels than the input")
    (down, right), (apart, aside) = layer.get("stride"), layer.get("dilation")
    out, channels, rows, columns = weight.shape
    height, width = x.shape[2:]
    whole = ((height - 1) * down + apart * (rows - 1) + 1,
             (width - 1) * right + aside * (columns - 1) + 1)  # fmt: skip
    each = channels // groups
    y = np.zeros((len(x), groups * out, *whole))
    for g in range(groups):
        part, taps = x[:, g * each : (g + 1) * each], weight[:, g * each : (g + 1) * each]
        for u in range(rows):
            for v in range(columns):
                top, left = u * apart, v * aside
                y[
                    :, g * out : (g + 1) * out, top : top + (height - 1) * down + 1 : down,
                    left : left + (width - 1) * right + 1 : right,
                ] += np.einsum("oi,nihw->nohw", taps[:, :, u, v], part)  # fmt: skip
    y = _cut(y, layer.get("pads"))
    bias = layer.weights.get("bias")
    return y if bias is None else y + bias.reshape(-1, 1, 1)


def _cut(y: Array, pads: tuple[tuple[int, int], ...]) -> Array:
    for axis, (before, after) in enumerate(pads, start=2):
        size = y.shape[axis]
        if before + after >= size:
            raise CannotComputeError("nothing is left of it")
        part = [slice(None)] * y.ndim
        part[axis] = slice(max(0, before), size - max(0, after))
        y = y[tuple(part)]
        more = [(0, 0)] * y.ndim
        more[axis] = (max(0, -before), max(0, -after))
        y = np.pad(y, more)
    return y


def to_space(layer: SuspectLayer, x: Array) -> Array:
    """Return channels moved into the image, counted channel (`CRD`) or block (`DCR`) first."""
    n, channels, height, width = x.shape
    b = int(layer.get("block"))
    if layer.get("order") == "DCR":
        parts = x.reshape(n, b, b, channels // b**2, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, channels // b**2, b, b, height, width).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, channels // b**2, height * b, width * b)


def to_depth(layer: SuspectLayer, x: Array) -> Array:
    """Return blocks of the image moved into the channels; orders as in `to_space`."""
    n, channels, height, width = x.shape
    b = int(layer.get("block"))
    parts = x.reshape(n, channels, height // b, b, width // b, b)
    order = (0, 3, 5, 1, 2, 4) if layer.get("order") == "DCR" else (0, 1, 3, 5, 2, 4)
    return parts.transpose(order).reshape(n, channels * b**2, height // b, width // b)


def unit_length(layer: SuspectLayer, x: Array) -> Array:
    """Return values divided by their length, which eps keeps from being 0.

    Rule: `length`, the length is at least eps; `square`, its square is; `added`, eps is added
    to the square.
    """
    axes = tuple(int(axis) for axis in layer.get("axes") or (1,))
    eps = float(layer.get("eps") or 0.0)
    square = (x**2).sum(axis=axes, keepdims=True)
    rule = layer.get("rule")
    if rule == "square":
        length = np.sqrt(np.maximum(square, eps))
    elif rule == "added":
        length = np.sqrt(square + eps)
    else:
        length = np.maximum(np.sqrt(square), eps)
    return np.array(x / length)


def reduced(layer: SuspectLayer, x: Array) -> Array:
    """Return the mean, maximum or sum over some axes."""
    function = {"max": np.max, "sum": np.sum}.get(layer.get("reduce") or layer.kind, np.mean)
    axes = tuple(int(axis) for axis in layer.get("axes"))
    return np.array(function(x, axis=axes, keepdims=bool(layer.get("keep"))))  # type: ignore[operator]


def padded_image(layer: SuspectLayer, x: Array) -> Array:
    """Return an input padded along its last axes."""
    pads = layer.get("pads")
    every = [(0, 0)] * (x.ndim - len(pads)) + [tuple(pair) for pair in pads]
    mode = layer.get("mode") or "constant"
    if mode == "constant":
        y = np.pad(x, [(max(0, a), max(0, b)) for a, b in every], constant_values=layer.get("fill"))
    else:
        way: Any = mode
        y = np.pad(x, every, mode=way)
    cut = tuple(slice(max(0, -a), y.shape[i] - max(0, -b)) for i, (a, b) in enumerate(every))
    return np.array(y[cut])
