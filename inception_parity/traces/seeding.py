"""Weights that depend only on a seed and the arrays' names: for checks, and to train from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..networks import catalogue
from ..numerics import raw_integers
from .weights import SharedWeights, shapes


def seeded(network: str, options: Mapping[str, Any], seed: int) -> SharedWeights:
    """Return weights that depend only on `seed` and the names, on every machine.

    Raw integers of PCG64, one stream per array, are scaled exactly, so that no
    library's idea of a distribution matters:

    - kernels are uniform in ±5/4 sqrt(6 / fan-in), and every filter sums to
      zero, so that the network responds to differences within an image and
      between images, and not to the mean that all of them share; the 5/4
      makes up for what the signal loses by that;
    - biases and batch norm's means are uniform in ±1/64: larger ones add the
      same logits to every image, and all photographs get one class;
    - batch norm's weight is uniform in 3/4 … 5/4, its variance in 1/2 … 3/2.

    Raises:
        InputError: no such network or option, or a negative seed.
    """
    return _drawn(network, options, seed, f"seed {seed}", _seeded)


def xavier(network: str, options: Mapping[str, Any], seed: int) -> SharedWeights:
    """Return weights to start a training from, as d2l's networks do.

    Source: Glorot and Bengio 2010, as in d2l: kernels are uniform in ±sqrt(6 / (fan-in + fan-out)),
    where a fan is channels times the kernel's area. Biases and batch norm's means are 0, its
    weights and variances 1. Values come from raw integers, as those of `seeded` do.

    Raises:
        InputError: no such network or option, or a negative seed.
    """
    return _drawn(network, options, seed, f"xavier, seed {seed}", _xavier)


def _drawn(
    network: str,
    options: Mapping[str, Any],
    seed: int,
    provenance: str,
    draw: Callable[[str, tuple[int, ...], int], NDArray[np.float64]],
) -> SharedWeights:
    if seed < 0:
        raise InputError(f"seed {seed}, but should be 0 or more")
    options = catalogue.network(network).resolve(options)
    arrays = {
        name: draw(name, shape, seed).astype(np.float32)
        for name, shape in shapes(network, options).items()
    }
    return SharedWeights(network, options, provenance, arrays)


def _odd_integers(text: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return odd integers between -2^23 and 2^23 that depend only on `text`."""
    raw = raw_integers(text, math.prod(shape)).reshape(shape)
    return 2 * (raw >> np.uint64(41)).astype(np.int64) + 1 - (1 << 23)


def _xavier(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    if len(shape) == 1:
        return np.full(shape, float(name.endswith((".weight", ".running_var"))))
    fans = (shape[0] + shape[1]) * math.prod(shape[2:])
    return _odd_integers(f"xavier {seed} {name}", shape) / (1 << 23) * np.sqrt(6.0 / fans)


def _seeded(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    odd = _odd_integers(f"{seed} {name}", shape)
    unit = odd / (1 << 23)  # in (-1, 1), exact
    if len(shape) > 1:
        fan_in = math.prod(shape[1:])
        rows = odd.reshape(shape[0], fan_in)
        total = rows.sum(axis=1, keepdims=True)  # whole numbers: the same in any order
        centred = (rows * fan_in - total) / (fan_in << 23) if fan_in > 1 else rows / (1 << 23)
        return centred.reshape(shape) * (1.25 * np.sqrt(6.0 / fan_in))
    if name.endswith(".running_var"):
        return 1 + unit / 2
    return 1 + unit / 4 if name.endswith(".weight") else unit / 64
