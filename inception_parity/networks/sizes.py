"""How large networks are: parameters, multiply-adds, and what their layers leave in memory.

The networks of the family are measured on the oracle, fed with no images at
all, which gives every shape for nothing. AlexNet, VGG-11 and NiN, for
comparison, are tables of layers and no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from . import catalogue


@dataclass(frozen=True)
class Row:
    """The size of one network; counts are per image."""

    title: str
    shape: tuple[int, int, int]  # of the input: channels, height, width
    parameters: int  # trained ones, without auxiliary heads
    dense: int  # those of them that are in fully connected layers
    heads: int  # further parameters, in auxiliary heads
    multiply_adds: int  # of convolutions and fully connected layers, in inference
    activations: int  # values that the layers leave, in inference

    @property
    def activation_bytes(self) -> int:
        """What the layers leave takes in float32, if all of it is kept."""
        return 4 * self.activations


@dataclass(frozen=True)
class Conv:
    """A square convolution with bias, and the ReLU after it."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class Pool:
    """A square pool; without a kernel, over the whole grid."""

    kernel: int = 0
    stride: int = 1


@dataclass(frozen=True)
class Dense:
    """A fully connected layer; a ReLU follows unless it is the last."""

    features: int


Layer = Conv | Pool | Dense


def _nin(channels: int, kernel: int, stride: int, padding: int) -> tuple[Layer, ...]:
    return Conv(channels, kernel, stride, padding), Conv(channels, 1), Conv(channels, 1)


def _vgg(convolutions: int, channels: int) -> tuple[Layer, ...]:
    return (*[Conv(channels, 3, 1, 1)] * convolutions, Pool(2, 2))


def tables(num_classes: int) -> dict[str, tuple[Layer, ...]]:
    """Return d2l's versions of AlexNet, VGG-11 and NiN (sections 8.1 to 8.3), layer by layer."""
    classifier = (Dense(4096), Dense(4096), Dense(num_classes))
    return {
        "AlexNet": (
            *(Conv(96, 11, 4, 1), Pool(3, 2)),
            *(Conv(256, 5, 1, 2), Pool(3, 2)),
            *(Conv(384, 3, 1, 1), Conv(384, 3, 1, 1), Conv(256, 3, 1, 1), Pool(3, 2)),
            *classifier,
        ),
        "VGG-11": (
            *(*_vgg(1, 64), *_vgg(1, 128), *_vgg(2, 256), *_vgg(2, 512), *_vgg(2, 512)),
            *classifier,
        ),
        "NiN": (
            *(*_nin(96, 11, 4, 0), Pool(3, 2)),
            *(*_nin(256, 5, 1, 2), Pool(3, 2)),
            *(*_nin(384, 3, 1, 1), Pool(3, 2)),
            *(*_nin(num_classes, 3, 1, 1), Pool()),
        ),
    }


def rows(
    in_channels: int = 1,
    num_classes: int = 10,
    size: tuple[int, int] | None = (224, 224),
) -> list[Row]:
    """Return the sizes of d2l's predecessors and of every network of the catalogue.

    Args:
        in_channels: channels of the images.
        num_classes: number of classes.
        size: (height, width) of the images; None for each network's own.

    Raises:
        InputError: an image of that size is too small for one of them.
    """
    predecessors = [
        of_table(title, layers, (in_channels, *(size or (224, 224))))
        for title, layers in tables(num_classes).items()
    ]
    settings = {"in_channels": in_channels, "num_classes": num_classes}
    family = [of_network(name, settings, size) for name in catalogue.NETWORKS]
    return predecessors + family


def of_table(title: str, layers: Sequence[Layer], shape: tuple[int, int, int]) -> Row:
    """Return the size of a network that is a table of layers.

    Raises:
        InputError: the image is too small.
    """
    channels, height, width = shape
    parameters = dense = multiply_adds = activations = 0
    for position, layer in enumerate(layers):
        if isinstance(layer, Dense):
            inputs, (channels, height, width) = channels * height * width, (layer.features, 1, 1)
            dense += (inputs + 1) * layer.features
            multiply_adds += inputs * layer.features
        elif isinstance(layer, Conv):
            kernel = layer.kernel**2 * channels
            channels = layer.channels
            height = _windows(height + 2 * layer.padding, layer.kernel, layer.stride)
            width = _windows(width + 2 * layer.padding, layer.kernel, layer.stride)
            parameters += (kernel + 1) * channels
            multiply_adds += kernel * channels * height * width
        elif layer.kernel:
            height = _windows(height, layer.kernel, layer.stride)
            width = _windows(width, layer.kernel, layer.stride)
        else:
            height = width = 1
        if min(height, width) < 1:
            raise InputError(f"{title}: {shape[1]}x{shape[2]} is too small an image")
        rectified = isinstance(layer, Conv) or (
            isinstance(layer, Dense) and position < len(layers) - 1
        )
        activations += (1 + rectified) * channels * height * width
    return Row(title, shape, parameters + dense, dense, 0, multiply_adds, activations)


def _windows(size: int, kernel: int, stride: int) -> int:
    return (size - kernel) // stride + 1


def of_network(
    name: str, settings: Mapping[str, Any] | None = None, size: tuple[int, int] | None = None
) -> Row:
    """Return the size of a network of the catalogue.

    Args:
        name: its name.
        settings: options that aren't the defaults.
        size: (height, width) of the images; None for the network's own.

    Raises:
        InputError: no such network or option, or an image too small for it.
    """
    network = catalogue.network(name)
    options = network.resolve(settings or {})
    if "use_aux" in options:
        options |= {"use_aux": True, "return_aux": False}
    whole = network.build("inception_np", options)
    if "use_aux" in options:
        options |= {"use_aux": False}
    net = network.build("inception_np", options)
    shape = (int(options["in_channels"]), *(size or network.size))
    try:
        dense, multiply_adds, activations = _measure(net, shape)
    except ValueError as error:
        raise InputError(
            f"{name}: {shape[1]}x{shape[2]} is too small an image ({error})"
        ) from error
    parameters = _parameters(net)
    heads = _parameters(whole) - parameters
    return Row(network.class_name, shape, parameters, dense, heads, multiply_adds, activations)


def _parameters(net: Any) -> int:
    return sum(
        array.size
        for _, module in net.named_modules()
        for key, array in module.arrays().items()
        if key not in module.buffers
    )


def _measure(net: Any, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Run `net` on no images; return dense parameters, multiply-adds and activations."""
    import numpy as np

    from inception_np.layers import Conv2d, Dropout, Flatten, Linear

    counts = {"dense": 0, "multiply_adds": 0, "activations": 0}

    def count(module: Any, _: Any, output: Any) -> None:
        if isinstance(module, (Conv2d, Linear)):
            positions = math.prod(output.shape[2:])
            counts["multiply_adds"] += module.weight.size * positions
        if isinstance(module, Linear):
            counts["dense"] += module.weight.size + module.bias.size
        if not isinstance(module, (Dropout, Flatten)):  # what they leave is their input
            counts["activations"] += math.prod(output.shape[1:])

    for _, module in net.named_modules():
        if next(module.children(), None) is None:
            module.hooks.append(count)
    net(np.zeros((0, *shape)))
    return counts["dense"], counts["multiply_adds"], counts["activations"]
