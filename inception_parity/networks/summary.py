"""Every layer of a network with its shape, parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import catalogue


@dataclass(frozen=True)
class Layer:
    """One layer, or a block, whose numbers are the sums over the layers inside."""

    name: str
    kind: str
    leaf: bool
    shape: tuple[int, ...]  # of the output, with the batch
    parameters: int  # trainable
    multiply_adds: int  # of convolutions and dense layers, for the batch


def layers(
    network: str, options: Mapping[str, Any], size: tuple[int, int], batch: int
) -> list[Layer]:
    """Return the layers and blocks in execution order, blocks after what is inside.

    Shapes come from an empty batch sent through the oracle, so they cost nothing.

    Raises:
        ValueError: the network doesn't take images of this size.
    """
    net = catalogue.network(network).build("inception_np", options)
    shapes: dict[str, tuple[int, ...]] = {}
    for path, module in net.named_modules():

        def record(_: Any, args: Any, output: Any, path: str = path) -> None:
            if not isinstance(output, tuple):
                shapes[path] = (batch, *output.shape[1:])

        module.hooks.append(record)
    net(np.zeros((0, int(options["in_channels"]), *size)))
    modules = dict(net.named_modules())
    found = []
    for path, shape in shapes.items():
        if path:
            module = modules[path]
            below = [(p, m) for p, m in module.named_modules(path) if p in shapes]
            found.append(
                Layer(
                    path,
                    module.describe(),
                    next(module.children(), None) is None,
                    shape,
                    sum(_parameters(m) for _, m in below),
                    sum(_multiply_adds(m, shapes[p]) for p, m in below),
                )
            )
    return found


def _parameters(module: Any) -> int:
    return sum(a.size for name, a in module.arrays().items() if name not in module.buffers)


def _multiply_adds(module: Any, shape: tuple[int, ...]) -> int:
    """A kernel is applied once per output position: its elements times the positions."""
    weight = module.arrays().get("weight")
    if weight is None or weight.ndim < 2:
        return 0
    return int(weight.size * shape[0] * np.prod(shape[2:]))
