"""Reading and setting a network's shared weights: {shared name: array}.

Shared names are dotted attribute paths; shared arrays are float32, OIHW
kernels, (out, in) dense, batch norm as weight, bias, running_mean, running_var.
These are Gluon's own layouts; only its batch norm names its arrays differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._mxnet import gluon, mxnet

_SHARED_NAMES = {"gamma": "weight", "beta": "bias"}  # the other names are the same


def get_weights(network: gluon.Block) -> dict[str, NDArray[Any]]:
    """Return copies of all arrays of `network` under their shared names."""
    return {name: parameter.data().asnumpy() for name, parameter in _arrays(network).items()}


def set_weights(network: gluon.Block, weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy `weights` into `network`, which must be exactly the network's arrays.

    Parameters that aren't initialised yet are initialised on the CPU.

    Raises:
        ValueError: names every array that is missing, unexpected, of the wrong
            shape, not floating point, or not finite. Nothing is loaded then.
    """
    arrays = _arrays(network)
    require_match(weights, {name: parameter.shape for name, parameter in arrays.items()})
    for name, parameter in arrays.items():
        if parameter._data is None:
            parameter.initialize(mxnet.init.Zero())
        parameter.set_data(mxnet.np.array(weights[name], dtype=parameter.dtype))


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


def _arrays(network: gluon.Block) -> dict[str, gluon.Parameter]:
    found = {}
    for name, parameter in network._collect_params_with_prefix().items():
        path, _, last = name.rpartition(".")
        if last == "gamma" and not parameter._differentiable:
            continue  # Gluon's batch norm without a weight still keeps one, of ones
        found[f"{path}.{_SHARED_NAMES.get(last, last)}"] = parameter
    return found
