"""Weights that depend only on a seed and the arrays' names: for checks, and to train from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..networks import catalogue
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
    if seed < 0:
        raise InputError(f"seed {seed}, but should be 0 or more")
    options = catalogue.network(network).resolve(options)
    arrays = {name: _draw(name, shape, seed) for name, shape in shapes(network, options).items()}
    return SharedWeights(network, options, f"seed {seed}", arrays)


def xavier(network: str, options: Mapping[str, Any], seed: int) -> SharedWeights:
    """Return weights to start a training from, as d2l's networks do.

    Source: Glorot and Bengio 2010, as in d2l: kernels are uniform in ±sqrt(6 / (fan-in + fan-out)),
    where a fan is channels times the kernel's area. Biases and batch norm's means are 0, its
    weights and variances 1. Values come from raw integers, as those of `seeded` do.

    Raises:
        InputError: no such network or option, or a negative seed.
    """
    if seed < 0:
        raise InputError(f"seed {seed}, but should be 0 or more")
    options = catalogue.network(network).resolve(options)
    arrays = {}
    for name, shape in shapes(network, options).items():
        last = name.rpartition(".")[2]
        if len(shape) > 1:
            fans = (shape[0] + shape[1]) * int(np.prod(shape[2:]))
            odd = _odd_integers(f"xavier {seed} {name}", int(np.prod(shape)))
            values = (odd / (1 << 23)).reshape(shape) * np.sqrt(6.0 / fans)
            arrays[name] = values.astype(np.float32)
        else:
            arrays[name] = np.full(shape, float(last in ("weight", "running_var")), np.float32)
    return SharedWeights(network, options, f"xavier, seed {seed}", arrays)


def _odd_integers(text: str, count: int) -> NDArray[np.int64]:
    """Return odd integers between -2^23 and 2^23 that depend only on `text`."""
    entropy = int.from_bytes(hashlib.sha256(text.encode()).digest(), "little")
    raw = np.random.PCG64(entropy).random_raw(count)
    return 2 * (raw >> np.uint64(41)).astype(np.int64) + 1 - (1 << 23)


def _draw(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    odd = _odd_integers(f"{seed} {name}", int(np.prod(shape)))
    unit = (odd / (1 << 23)).reshape(shape)  # in (-1, 1), exact
    last = name.rpartition(".")[2]
    if len(shape) > 1:
        fan_in = int(np.prod(shape[1:]))
        rows = odd.reshape(shape[0], fan_in)
        total = rows.sum(axis=1, keepdims=True)  # whole numbers: the same in any order
        centred = (rows * fan_in - total) / (fan_in << 23) if fan_in > 1 else rows / (1 << 23)
        values = centred.reshape(shape) * (1.25 * np.sqrt(6.0 / fan_in))
    elif last == "running_var":
        values = 1 + unit / 2
    elif last == "weight":
        values = 1 + unit / 4
    else:
        values = unit / 64
    return values.astype(np.float32)
