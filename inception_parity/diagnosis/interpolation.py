"""Rules by which images are resized: which pixels make one of the result, and how much of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .suspect import Array

# name -> what it is called
RULES = {
    "corners": "TensorFlow 1's bilinear rule, in which a pixel's position is that of its corner",
    "centres": "a bilinear rule with half-pixel centres",
    "aligned": "a bilinear rule with aligned corners",
    "antialiased": "an antialiased bilinear rule",
    "nearest": "the nearest pixel, by corners",
    "nearest-centres": "the nearest pixel, by half-pixel centres",
    "bicubic": "a bicubic rule (a = -0.75, as PyTorch's)",
    "bicubic-table": "a bicubic rule (a = -0.5, positions in 1024ths, as TensorFlow 2's)",
    "bicubic-antialiased": "an antialiased bicubic rule",
    "area": "the mean over the area of a pixel",
}


def resized(x: Array, rule: str, size: Sequence[int], single: bool = False) -> Array:
    """Return images (N, C, H, W) resized to (height, width) by a rule; see `resize_weights`."""
    rows, columns = (
        resize_weights(rule, wanted, have, single)
        for wanted, have in zip(size, x.shape[2:], strict=True)
    )
    return np.array(rows @ x @ columns.T)


def resize_weights(rule: str, size: int, have: int, single: bool = False) -> Array:
    """Return the weight of each of `have` pixels in each of `size`, of shape (size, have).

    Args:
        rule: one of `RULES`.
        size: pixels of the result along one axis.
        have: pixels of the image along it.
        single: whether the first three rules compute positions in float32.

    Raises:
        KeyError: there is no such rule.
    """
    dtype: Any = np.float32 if single else np.float64
    i, step, half = np.arange(size, dtype=dtype), dtype(have) / dtype(size), dtype(0.5)
    centres: Any = (i + half) * step - half
    wide = max(float(step), 1.0)  # one pixel of the result, or of the image if that is larger
    rules: dict[str, Callable[[], Array]] = {
        "corners": lambda: _linear(i * step, have),
        "centres": lambda: _linear(centres, have),
        "aligned": lambda: _linear(i * (dtype(have - 1) / dtype(max(1, size - 1))), have),
        "antialiased": lambda: _normalised(_triangle, centres, have, wide),
        "nearest": lambda: _nearest(np.floor(i * step), have),
        "nearest-centres": lambda: _nearest(np.floor(centres + 0.5), have),
        "bicubic": lambda: _cubic_at_edges(centres, have),
        "bicubic-table": lambda: _normalised(_cubic, _in_table(size, have), have, 1.0),
        "bicubic-antialiased": lambda: _normalised(_cubic, centres, have, wide),
        "area": lambda: _area(size, have),
    }
    return rules[rule]()


def _linear(source: NDArray[Any], have: int) -> Array:
    """Weights of the two pixels around each position, in the position's dtype."""
    source = np.clip(source, 0, have - 1)
    first = np.floor(source).astype(int)
    share = source - first.astype(source.dtype)
    weights = np.zeros((len(source), have))
    at = np.arange(len(source))
    weights[at, first] = 1 - share
    weights[at, np.minimum(first + 1, have - 1)] += share
    return weights


def _nearest(source: Array, have: int) -> Array:
    return (np.clip(source, 0, have - 1)[:, None] == np.arange(have)).astype(np.float64)


def _normalised(kernel: Callable[[Array], Array], source: Array, have: int, wide: float) -> Array:
    """Weights of a kernel stretched to `wide` pixels; what lies beyond the edge has none."""
    weights = kernel((source[:, None] - np.arange(have)) / wide)
    return np.array(weights / weights.sum(axis=1, keepdims=True))


def _in_table(size: int, have: int) -> Array:
    """Half-pixel centres as TensorFlow has them: in float32, then in 1024ths of a pixel."""
    step = np.float32(have) / np.float32(size)
    source = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * step - np.float32(0.5)
    return np.array(np.round(source.astype(np.float64) * 1024) / 1024)


def _triangle(distance: Array) -> Array:
    return np.maximum(1 - np.abs(distance), 0)


def _cubic(distance: Array, a: float = -0.5) -> Array:
    """Keys' cubic convolution: 1 at 0, 0 at other whole numbers and beyond 2."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d**2 + 1
    far = (((d - 5) * d + 8) * d - 4) * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _cubic_at_edges(source: Array, have: int) -> Array:
    """Four taps each, of which those beyond the edge are the pixel at the edge."""
    weights = np.zeros((len(source), have))
    first = np.floor(source).astype(int)
    for tap in range(-1, 3):
        at = np.clip(first + tap, 0, have - 1)
        np.add.at(weights, (np.arange(len(source)), at), _cubic(source - first - tap, -0.75))
    return weights


def _area(size: int, have: int) -> Array:
    """The share of each pixel in the interval that one of the result covers."""
    u, edges = np.arange(have), np.arange(size + 1)[:, None] * have / size
    low, high = edges[:-1], edges[1:]
    overlap = np.clip(np.minimum(high, u + 1) - np.maximum(low, u), 0, None)
    return np.array(overlap / overlap.sum(axis=1, keepdims=True))
