"""Every layer of a network with its shape, parameters and multiply-adds.

Shapes come from an empty batch sent through the oracle: all of the geometry, no arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from . import catalogue
from .empty_batch import calls_of, is_leaf, with_heads


@dataclass(frozen=True)
class LayerSummary:
    """One layer, or a block, whose numbers are the sums over the layers inside."""

    name: str
    kind: str
    leaf: bool
    shape: tuple[int, ...]  # of the output, with the batch
    parameters: int  # trainable
    multiply_adds: int  # of convolutions and dense layers, for the batch


def layers(
    network: str, options: Mapping[str, Any], size: tuple[int, int], batch: int
) -> list[LayerSummary]:
    """Return the layers and blocks in execution order, blocks after what is inside.

    Raises:
        ValueError: the network doesn't take images of this size.
    """
    net = catalogue.network(network).build("inception_np", options)
    shapes = output_shapes(net, int(options["in_channels"]), size, batch)
    modules = dict(net.named_modules())
    found = []
    for path, shape in shapes.items():
        if path:
            module = modules[path]
            below = [(p, m) for p, m in module.named_modules(path) if p in shapes]
            found.append(
                LayerSummary(
                    path,
                    module.describe(),
                    is_leaf(module),
                    shape,
                    sum(parameters(m) for _, m in below),
                    sum(multiply_adds(m, shapes[p]) for p, m in below),
                )
            )
    return found


def values_per_channel(
    network: str, options: Mapping[str, Any], size: tuple[int, int], batch: int
) -> dict[str, int]:
    """Return how many values each batch norm of a network averages over in training.

    Raises:
        InputError: the network doesn't take images of this size in training, or a
            batch norm gets a single value.
    """
    net = with_heads(catalogue.network(network), options)
    try:
        shapes = output_shapes(net, int(options["in_channels"]), size, batch)
    except ValueError as error:
        raise InputError(
            f"{network} can't be trained on images of {size[0]}x{size[1]} ({error}); give a "
            f"larger --size{', or --set use_aux=false' if options.get('use_aux') else ''}"
        ) from error
    norms = {path for path, module in net.named_modules() if "running_var" in module.buffers}
    counts = {p: batch * shape[2] * shape[3] for p, shape in shapes.items() if p in norms}
    single = next((path for path, n in counts.items() if n < 2), None)
    if single is not None:
        raise InputError(
            f"{network} can't be trained on {batch} image of {size[0]}x{size[1]}: batch norm "
            f"{single} gets one value per channel; give a larger --size or --batch"
        )
    return counts


def output_shapes(
    net: Any, channels: int, size: tuple[int, int], batch: int = 1
) -> dict[str, tuple[int, ...]]:
    """Return the shape of what each module of an oracle's network returns, in execution order.

    Raises:
        ValueError: the network doesn't take images of this size.
    """
    return {
        call.path: (batch, *call.output.shape[1:])
        for call in calls_of(net, (channels, *size))
        if not isinstance(call.output, tuple)
    }


def parameters(module: Any) -> int:
    """Return the number of a module's own trainable parameters."""
    return sum(a.size for name, a in module.arrays().items() if name not in module.buffers)


def multiply_adds(module: Any, shape: tuple[int, ...]) -> int:
    """Return those of a module with outputs of `shape`: a kernel is applied at every position."""
    weight = module.arrays().get("weight")
    if weight is None or weight.ndim < 2:
        return 0
    return int(weight.size * shape[0] * np.prod(shape[2:]))
