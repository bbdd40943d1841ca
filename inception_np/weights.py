"""Reading and setting a network's shared weights: {shared name: array}.

Shared names are dotted attribute paths; shared arrays are float32, OIHW
kernels, (out, in) dense, batch norm as weight, bias, running_mean, running_var.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import Module


def get_weights(network: Module) -> dict[str, NDArray[Any]]:
    """Return copies of all arrays of `network` under their shared names."""
    return {name: array.copy() for name, array in _arrays(network).items()}


def set_weights(network: Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy `weights` into `network`, which must be exactly the network's arrays.

    Raises:
        ValueError: names every array that is missing, unexpected, of the wrong
            shape, not floating point, or not finite. Nothing is loaded then.
    """
    arrays = _arrays(network)
    require_match(weights, {name: array.shape for name, array in arrays.items()})
    for name, array in arrays.items():
        array[...] = weights[name]


def require_match(
    weights: Mapping[str, NDArray[Any]],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Raise ValueError, listing everything that is wrong, unless `weights` fit `shapes`."""
    wrong = [f"{name}: missing" for name in shapes if name not in weights]
    for name, array in weights.items():
        if name not in shapes:
            wrong.append(f"{name}: unexpected")
        elif array.shape != shapes[name]:
            wrong.append(f"{name}: shape {array.shape}, but should be {shapes[name]}")
        elif array.dtype.kind != "f":
            wrong.append(f"{name}: dtype {array.dtype}, but should be floating point")
        elif not np.isfinite(array).all():
            wrong.append(f"{name}: has NaN or infinite values")
    if wrong:
        raise ValueError("the weights don't fit the network:\n  " + "\n  ".join(wrong))


def _arrays(network: Module) -> dict[str, NDArray[Any]]:
    return {
        f"{path}.{name}": array
        for path, module in network.named_modules()
        for name, array in module.arrays().items()
    }
