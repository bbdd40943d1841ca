"""Biases that do nothing in training: batch norm subtracts them again, with the mean."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from .empty_batch import Call, calls_of

if TYPE_CHECKING:
    from inception_np.module import Module


def idle_biases(
    net: Module, shape: tuple[int, int, int], resting: Collection[str] = ()
) -> list[str]:
    """Return the convolutions' biases whose gradients are 0 in theory, and in practice rounding.

    A bias shifts each channel by a constant. So does what an addition, a pool, or a convolution
    without padding makes of it, until batch norm subtracts the channel's mean.

    Args:
        net: a network of the oracle, in inference mode, with its auxiliary heads.
        shape: (channels, height, width) of an image.
        resting: the paths of batch norms that use their running statistics even in training.

    Raises:
        ValueError: the network doesn't take images of this shape.
    """
    calls = [call for call in calls_of(net, shape) if call.leaf]
    return [
        f"{call.path}.bias"
        for number, call in enumerate(calls)
        if getattr(call.module, "bias", None) is not None
        and hasattr(call.module, "kernel_size")
        and _is_subtracted(call, calls[number + 1 :], resting)
    ]


def _is_subtracted(call: Call, later: list[Call], resting: Collection[str]) -> bool:
    """Return whether what a layer adds to each channel reaches nothing but batch norm."""
    shifted, used = {id(call.output)}, set[int]()
    for one in later:
        reached = shifted.intersection(map(id, one.inputs))
        if not reached:
            continue
        used |= reached
        if type(one.module).__name__ == "BatchNorm2d" and one.path not in resting:
            continue
        if not _keeps_constants(one.module):
            return False
        shifted.add(id(one.output))
    return used == shifted  # anything else isn't done by a layer, or is the network's output


def _keeps_constants(module: Any) -> bool:
    """Return whether a constant added to a channel becomes constants added to channels."""
    kind = type(module).__name__
    if kind == "Conv2d":
        return not any(module.padding)
    if kind == "AvgPool":
        return not (module.count_include_pad and any(module.padding))
    return kind in ("MaxPool", "AdaptiveAvgPool", "GlobalAvgPool", "Concat", "ScaledAdd")
