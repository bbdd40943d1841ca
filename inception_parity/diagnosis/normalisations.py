"""Layer, group, instance and RMS norm in float64, with whatever mistake describes them."""

from __future__ import annotations

import math

import numpy as np

from .suspect import Array, SuspectLayer

KINDS = ("layer_norm", "group_norm", "instance_norm", "rms_norm")


def axes_of(layer: SuspectLayer, ndim: int) -> tuple[int, ...]:
    """Return the axes that a layer or RMS norm goes over; the last by default."""
    return tuple(int(axis) % ndim for axis in layer.get("axes") or (-1,))


def gathered(layer: SuspectLayer, x: Array) -> Array:
    """Return an array as (…, values), with what is normalised together along the last axis."""
    if layer.kind in ("layer_norm", "rms_norm"):
        axes = axes_of(layer, x.ndim)
        rest = [axis for axis in range(x.ndim) if axis not in axes]
        return x.transpose(*rest, *axes).reshape(*(x.shape[a] for a in rest), -1)
    count = x.shape[1] if layer.kind == "instance_norm" else int(layer.get("groups"))
    parts = x.reshape(len(x), count, -1)
    if layer.get("interleaved"):
        parts = x.reshape(len(x), x.shape[1] // count, count, -1).swapaxes(1, 2)
        parts = parts.reshape(len(x), count, -1)
    return parts


def _back(layer: SuspectLayer, parts: Array, shape: tuple[int, ...]) -> Array:
    """Undo `gathered`."""
    if layer.kind in ("layer_norm", "rms_norm"):
        axes = axes_of(layer, len(shape))
        order = [*(axis for axis in range(len(shape)) if axis not in axes), *axes]
        return parts.reshape([shape[a] for a in order]).transpose(np.argsort(order))
    if layer.get("interleaved"):
        count = parts.shape[1]
        apart = parts.reshape(len(parts), count, shape[1] // count, -1)
        return apart.swapaxes(1, 2).reshape(shape)
    return parts.reshape(shape)


def spread(layer: SuspectLayer, array: Array, ndim: int) -> Array:
    """Return a weight or bias shaped so that it multiplies the input."""
    if layer.kind in ("layer_norm", "rms_norm"):
        axes = axes_of(layer, ndim)
        shape = [1] * ndim
        sizes = array.shape if array.ndim == len(axes) else (array.size,)
        for axis, size in zip(axes[-len(sizes) :], sizes, strict=True):
            shape[axis] = size
        return array.reshape(shape)
    return array.reshape(-1, *(1,) * (ndim - 2))


def normalised(layer: SuspectLayer, x: Array) -> Array:
    """Return what the layer gives."""
    parts = gathered(layer, x)
    centred = layer.kind != "rms_norm" if layer.get("centred") is None else layer.get("centred")
    mean = parts.mean(axis=-1, keepdims=True)
    count = parts.shape[-1]
    square = ((parts - mean if centred else parts) ** 2).sum(axis=-1, keepdims=True)
    var = square / (max(1, count - 1) if layer.get("unbiased") else count)
    eps = float(layer.get("eps") or 0.0)
    outside = layer.get("eps_outside")
    root = np.sqrt(var) + eps if outside else np.sqrt(var + eps)
    y = _back(layer, (parts - mean if centred else parts) / root, x.shape)
    for role in ("weight", "bias"):
        if role in layer.weights:
            array = spread(layer, layer.weights[role], x.ndim)
            y = y * array if role == "weight" else y + array
    return np.array(y)


def most_groups(channels: int) -> list[int]:
    """Return the numbers of groups that so many channels may be in."""
    return [n for n in range(1, channels + 1) if channels % n == 0]


def standard_eps(fitted: float) -> dict[float, int]:
    """Return values for an eps of which an estimate is known, with their costs."""
    if not math.isfinite(fitted) or fitted <= 0:
        return {}
    return {float(f"{fitted:.0e}"): 1, float(f"{fitted:.2e}"): 2, fitted: 3}
