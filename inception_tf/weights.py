"""Reading and setting a network's shared weights: {shared name: array}.

Shared names are dotted attribute paths; shared arrays are float32, OIHW
kernels, (out, in) dense, batch norm as weight, bias, running_mean, running_var.
Keras has HWIO kernels, (in, out) dense, and its own name for every array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

# shared name -> Keras' name
_NAMES: dict[type, dict[str, str]] = {
    layers.Conv2D: {"weight": "kernel", "bias": "bias"},
    layers.Dense: {"weight": "kernel", "bias": "bias"},
    layers.BatchNormalization: {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    },
}


def get_weights(network: layers.Layer) -> dict[str, NDArray[Any]]:
    """Return copies of all arrays of `network` under their shared names.

    bfloat16, which NumPy lacks, is returned as float32.
    """
    return {
        name: _to_shared(keras.ops.convert_to_numpy(variable)).copy()
        for name, variable in _arrays(network).items()
    }


def set_weights(network: layers.Layer, weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy `weights` into `network`, which must be exactly the network's arrays.

    Raises:
        ValueError: names every array that is missing, unexpected, of the wrong
            shape, not floating point, or not finite. Nothing is loaded then.
    """
    arrays = _arrays(network)
    require_match(
        weights, {name: _shared_shape(variable.shape) for name, variable in arrays.items()}
    )
    for name, variable in arrays.items():
        variable.assign(_from_shared(np.asarray(weights[name])))


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


def named_layers(layer: layers.Layer, prefix: str = "") -> Iterator[tuple[str, layers.Layer]]:
    """Yield (dotted path, layer) for `layer` and all below it, in order of assignment."""
    yield prefix, layer
    for name, child in _children(layer):
        yield from named_layers(child, f"{prefix}.{name}" if prefix else name)


def _children(layer: layers.Layer) -> Iterator[tuple[str, layers.Layer]]:
    for name, value in vars(layer).items():
        if name.startswith("_"):
            continue
        if isinstance(value, layers.Layer):
            yield name, value
        elif name == "layers":  # a Sequential's, named by position
            yield from ((str(index), child) for index, child in enumerate(value))


def _arrays(network: layers.Layer) -> dict[str, keras.Variable]:
    """Return the live variables; a missing bias or gamma is left out."""
    found = {}
    for path, layer in named_layers(network):
        for kind, names in _NAMES.items():
            if isinstance(layer, kind):
                for shared, native in names.items():
                    variable = getattr(layer, native)
                    if variable is not None:
                        found[f"{path}.{shared}"] = variable
    return found


# Axes of a kernel by its number of dimensions: HWIO <-> OIHW, (in, out) <-> (out, in).
_TO_SHARED = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
_FROM_SHARED = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}


def _to_shared(array: NDArray[Any]) -> NDArray[Any]:
    return array.transpose(_TO_SHARED[array.ndim])


def _from_shared(array: NDArray[Any]) -> NDArray[Any]:
    return array.transpose(_FROM_SHARED[array.ndim])


def _shared_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in _TO_SHARED[len(shape)])
