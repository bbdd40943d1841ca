"""Reading and setting a network's shared weights: {shared name: array}.

Shared names are dotted attribute paths; shared arrays are float32, OIHW
kernels, (out, in) dense, batch norm as weight, bias, running_mean, running_var.
These are PyTorch's own names and layouts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def get_weights(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Return copies of all arrays of `network` under their shared names.

    bfloat16, which NumPy lacks, is returned as float32.
    """
    return {name: _to_numpy(tensor).copy() for name, tensor in _arrays(network).items()}


def set_weights(network: nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy `weights` into `network`, which must be exactly the network's arrays.

    Raises:
        ValueError: names every array that is missing, unexpected, of the wrong
            shape, not floating point, or not finite. Nothing is loaded then.
    """
    arrays = _arrays(network)
    require_match(weights, {name: tuple(tensor.shape) for name, tensor in arrays.items()})
    with torch.no_grad():
        for name, tensor in arrays.items():
            tensor.copy_(torch.from_numpy(np.array(weights[name])))


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


def _arrays(network: nn.Module) -> dict[str, Tensor]:
    """Return the live tensors; the count of batches seen is not a weight."""
    state = network.state_dict(keep_vars=True)
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def _to_numpy(tensor: Tensor) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
