"""A network's layers and their connections, from a batch without images.

Such a batch has all shapes and costs no arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .catalogue import Network

if TYPE_CHECKING:
    from inception_np.module import Array, Module


@dataclass(frozen=True)
class Call:
    """A layer or block that ran.

    Args:
        path: its dotted path.
        module: the module.
        leaf: whether it is a layer, with no modules inside.
        inputs: what it was called with; the same tensor is the same object.
        output: what it returned, likewise.
    """

    path: str
    module: Module
    leaf: bool
    inputs: tuple[Array, ...]
    output: Array


def calls_of(net: Module, shape: tuple[int, int, int]) -> list[Call]:
    """Send an empty batch through a network of the oracle.

    Args:
        net: the network, in inference mode.
        shape: (channels, height, width) of an image.

    Returns:
        Its layers and blocks in execution order, each block after what is inside it; the
        network itself, whose path is empty and whose output may be a tuple, comes last.

    Raises:
        ValueError: the network doesn't take images of this shape.
    """
    calls: list[Call] = []
    for path, module in net.named_modules():

        def hook(module: Module, inputs: Any, output: Any, path: str = path) -> None:
            calls.append(Call(path, module, is_leaf(module), inputs, output))

        module.hooks.append(hook)
    try:
        net(np.zeros((0, *shape)))
    finally:
        for _, module in net.named_modules():
            module.hooks.pop()
    return calls


def with_heads(network: Network, options: Mapping[str, Any]) -> Module:
    """Build the oracle's network in inference mode, with its auxiliary heads as in training."""
    heads = {"return_aux": True} if options.get("use_aux") else {}
    net: Module = network.build("inception_np", {**options, **heads})
    return net


def is_leaf(module: Module) -> bool:
    """Return whether a module of the oracle has no modules inside."""
    return next(module.children(), None) is None


def require_size(network: Network, options: dict[str, Any], size: tuple[int, int]) -> None:
    """Raise InputError unless the network takes images of this (height, width)."""
    net = network.build("inception_np", options)
    try:
        net(np.zeros((0, int(options["in_channels"]), *size)))
    except ValueError as error:
        raise InputError(
            f"{network.name} doesn't take images of {size[0]}x{size[1]} ({error}); "
            "give a larger --size"
        ) from error
